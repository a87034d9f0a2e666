"""What a probe tells of a network before it is trained in a stack: how its rows, numbers and memory behave."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from itertools import chain

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.modules.dropout import _DropoutNd

from taskgroup_core.seeds import seeded

COPIES_OF_PARAMETERS = 7  # in the network, in the stack and of the best epoch, gradients, Adam's moments, its step
COPIES_OF_ACTIVATIONS = 2  # backward makes a gradient of the size of what the forward pass kept


def flattened(tensors: Iterable[Tensor | None], n_networks: int = 1) -> Tensor:
    """All the numbers of each network in float64, with shape (B, numbers), from tensors led by an axis B."""
    rows = [tensor.detach().double().reshape(n_networks, -1) for tensor in tensors if tensor is not None]
    return torch.cat([torch.zeros(n_networks, 0).double(), *rows], dim=1)


def agree(first: Tensor, second: Tensor, dtype: torch.dtype) -> bool:
    """Whether two passes gave the same, but for the rounding of `dtype`."""
    if first.shape != second.shape:
        return False
    # Against the largest entry: gradients that cancel to zero, as a bias before batch norm has, are rounding only.
    allowed = torch.finfo(dtype).eps ** 0.5 * (float(first.abs().max()) if first.numel() else 0.0)
    return bool(((first - second).abs() <= allowed).all())


def rows_mix(network: nn.Module, inputs: Tensor) -> bool:
    """Whether in training mode the outputs of some rows, or the buffers, depend on which other rows are there.

    Batch norm and attention over the batch do; then no row may be added to fill a batch up. So may modules that
    are random in another way than by a dropout layer: what cannot be told is taken to mix. So is a dropout layer that
    reads a tensor whose first axis is not the rows, as with time steps first: which part of its mask belongs to the
    rows that were added could not be told.

    Parameters
    ----------
    network : on the CPU; left unchanged.
    inputs : a few inputs, with shape (rows, ...); where all are equal, nothing can be told.
    """
    if bool((inputs == inputs[:1]).all()):
        return True

    def after(rows: Tensor) -> tuple[bool, list[Tensor], Tensor]:
        """Whether dropout and outputs have rows first, what they are for the first rows, and the buffers."""
        probe, seen = copy.deepcopy(network).train(), []
        for module in probe.modules():
            if isinstance(module, _DropoutNd):
                module.eval()  # its output is then its input
            if type(module) is nn.Dropout:
                module.register_forward_hook(lambda _module, _inputs, output: seen.append(output.clone()))
        with torch.no_grad():
            seen.append(probe(rows))
        # Several entries a row are fine, side by side, as of rows that are taken apart into series.
        rows_first = all(tensor.ndim > 0 and len(tensor) % len(rows) == 0 for tensor in seen)
        parts = [tensor[: len(tensor) // len(rows) * len(inputs)] for tensor in seen if rows_first]
        return rows_first, parts, flattened(probe.buffers())

    first, alone, buffers = after(inputs)
    still, filled, others = after(torch.cat([inputs, inputs[:1], inputs[:1]]))
    if not (first and still and len(alone) == len(filled)):
        return True
    pairs = zip([*alone, buffers], [*filled, others], strict=True)
    return not all(agree(one, other, alone[-1].dtype) for one, other in pairs)


def draws_elsewhere(network: nn.Module, inputs: Tensor) -> bool:
    """Whether a pass in training mode draws random numbers by other means than dropout layers (`nn.Dropout`)."""
    probe = copy.deepcopy(network).train()
    for module in probe.modules():
        if type(module) is nn.Dropout:
            module.eval()
    with seeded(0, "probe"), torch.no_grad():
        before = torch.get_rng_state()
        probe(inputs)
        return not torch.equal(before, torch.get_rng_state())


def bytes_per_network(network: nn.Module, inputs: Tensor, n_rows: int) -> int:
    """Estimate of the memory that one network of a stack takes while it trains on batches of `n_rows` inputs.

    Parameters
    ----------
    network : on the CPU; left unchanged.
    inputs : a few inputs with shape (rows, ...): what backward keeps of them is measured and scaled to `n_rows`.
    """
    probe = copy.deepcopy(network).train()
    state = list(chain(probe.parameters(), probe.buffers()))
    known = {tensor.untyped_storage().data_ptr() for tensor in state}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor), seeded(0, "probe"):
        outputs = probe(inputs)
    activations: int = sum(size for place, size in kept.items() if place not in known)
    activations += 3 * outputs.untyped_storage().nbytes()  # the labels, which of them are there, and the losses
    parameters: int = sum(tensor.numel() * tensor.element_size() for tensor in state)
    return COPIES_OF_PARAMETERS * parameters + COPIES_OF_ACTIVATIONS * activations * n_rows // len(inputs)
