"""What has to be known about a module before several copies of it are trained as one stack."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from itertools import chain

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.func import functional_call, stack_module_state, vmap
from torch.nn.modules.dropout import _DropoutNd

from taskgroup_core.seeds import seeded, torch_generator
from taskgroup_core.training.stacked_layers import MaskSource, use_stacked_layers

Named = dict[str, Tensor]
Forward = Callable[[Named, Named, Tensor], Tensor]
Trace = dict[str, Tensor]
COPIES_OF_PARAMETERS = 7  # in the network, in the stack and of the best epoch, gradients, Adam's moments, its step
COPIES_OF_ACTIVATIONS = 2  # backward makes a gradient of the size of what the forward pass kept


class NotStackedWarning(UserWarning):
    """Networks are trained one at a time, because a stack of them would fail or give other results."""


def stacked_forward(network: nn.Module, randomness: str = "different", masks: MaskSource | None = None) -> Forward:
    """The function (parameters, buffers, inputs) -> outputs of B networks built like `network`, all led by an axis B.

    Parameters
    ----------
    network : any of them, in the mode that is wanted.
    randomness : "different" random numbers for every network, or the "same" for all.
    masks : where dropout layers take their masks from, with other layers that are faster in a stack; None for torch's
        own layers.
    """
    # A copy, because functional_call does not put back the tensors of a module that occurs twice in a network.
    skeleton = copy.deepcopy(network)
    if masks is not None:
        use_stacked_layers(skeleton, masks)

    def one(parameters: Named, buffers: Named, inputs: Tensor) -> Tensor:
        outputs: Tensor = functional_call(skeleton, (parameters, buffers), (inputs,))
        return outputs

    forward: Forward = vmap(one, randomness=randomness)
    return forward


def _flat(tensors: Iterable[Tensor | None], n_networks: int = 1) -> Tensor:
    rows = [tensor.detach().double().reshape(n_networks, -1) for tensor in tensors if tensor is not None]
    return torch.cat([torch.zeros(n_networks, 0).double(), *rows], dim=1)


def _trace(outputs: Tensor, parameters: Iterable[Tensor], buffers: Iterable[Tensor], n_networks: int = 1) -> Trace:
    """What a pass did: outputs, gradients of a weighted sum of them, and buffers, each with shape (B, numbers)."""
    weights = torch.linspace(-1, 1, outputs.numel() // n_networks, dtype=outputs.dtype)
    total = (outputs.reshape(n_networks, -1) * weights).sum()
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    gradients = torch.autograd.grad(total, trained, allow_unused=True)
    found = {"outputs": (outputs,), "gradients": gradients, "buffers": buffers}
    return {name: _flat(tensors, n_networks) for name, tensors in found.items()}


def _agree(first: Tensor, second: Tensor, dtype: torch.dtype) -> bool:
    if first.shape != second.shape:
        return False
    # Against the largest entry: gradients that cancel to zero, as a bias before batch norm has, are rounding only.
    allowed = torch.finfo(dtype).eps ** 0.5 * (float(first.abs().max()) if first.numel() else 0.0)
    return bool(((first - second).abs() <= allowed).all())


def why_not_stackable(networks: Sequence[nn.Module], inputs: Tensor, evaluation: bool = False) -> str | None:
    """Why these networks cannot be trained as one stack, in words; None where they can.

    Stacked and alone, each makes one pass in training mode: outputs, gradients and buffers must be the same, under
    the same dropout masks. That also finds what a stack would silently share or lose, such as plain attributes that
    differ from network to network, or a buffer that is assigned instead of changed in place.

    Parameters
    ----------
    networks : at least two from different seeds, on the CPU; left unchanged.
    inputs : a few inputs, with shape (rows, ...).
    evaluation : whether a pass in evaluation mode must be the same too.
    """
    draws = draws_elsewhere(networks[0], inputs)
    # Of two streams of numbers in a stack, and of one alone, only torch's own layers can be compared.
    reason = _why_not_in_mode(networks, inputs, True, MaskSource(), compare=not draws)
    if reason is None and draws:
        reason = _why_not_in_mode(networks, inputs, True)
    if reason is None and evaluation:
        reason = _why_not_in_mode(networks, inputs, False)
    return reason


def _why_not_in_mode(
    networks: Sequence[nn.Module],
    inputs: Tensor,
    training: bool,
    masks: MaskSource | None = None,
    compare: bool = True,
) -> str | None:
    copies = [copy.deepcopy(network).train(training) for network in networks]
    if masks is not None:
        masks.generators, masks.lengths = [torch_generator(0, "probe") for _ in copies], [len(inputs)] * len(copies)
    try:
        parameters, buffers = stack_module_state(copies)
        with seeded(0, "probe"):
            forward = stacked_forward(copies[0], "same", masks)
            outputs = forward(parameters, buffers, inputs.expand(len(copies), *inputs.shape))
        together = _trace(outputs, parameters.values(), buffers.values(), len(copies))
    except Exception as error:  # whatever a user's module raises under vmap is a reason not to stack it
        return str(error).strip().split("\n")[0]
    if not compare:
        return None
    alone = []
    for network in copies:
        with seeded(0, "probe"):
            outputs = network(inputs)
        alone.append(_trace(outputs, network.parameters(), network.buffers()))
    for name, stacked in together.items():
        if not _agree(torch.cat([trace[name] for trace in alone]), stacked, outputs.dtype):
            return f"its {name} differ between a stack and a network alone"
    return None


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
        return rows_first, parts, _flat(probe.buffers())

    first, alone, buffers = after(inputs)
    still, filled, others = after(torch.cat([inputs, inputs[:1], inputs[:1]]))
    if not (first and still and len(alone) == len(filled)):
        return True
    pairs = zip([*alone, buffers], [*filled, others], strict=True)
    return not all(_agree(one, other, alone[-1].dtype) for one, other in pairs)


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
