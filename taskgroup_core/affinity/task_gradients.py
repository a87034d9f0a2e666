"""Gradients of every task's loss on one batch, in batched passes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vjp, vmap

from taskgroup_core.affinity.dense_layers import DenseLayer, changed_outputs
from taskgroup_core.affinity.rectifiers import vectorised_rectifiers
from taskgroup_core.scores import present
from taskgroup_core.tasks import Task
from taskgroup_core.training.joint import task_losses
from taskgroup_core.training.stackable import Named

_FLOATS_AT_ONCE = 2**26  # 256 MiB in float32
_FLOATS_IN_CACHE = 2**23  # on a CPU, blocks beyond the last cache are slower than a loop
_ACTIVATIONS = 1024  # a guess of the numbers that one input row leaves behind in a network


@dataclass(frozen=True)
class Gradients:
    """Gradients of s losses.

    Parameters
    ----------
    parameters : name -> gradients for the parameter, with shape (s, *shape).
    outputs : dense layer -> gradients for its outputs on r rows, with shape (s, r, ...), in place of its parameters'.
    inputs : dense layer -> its inputs there, with shape (r, ...), or (s, r, ...) where every loss has its own rows.
    own_rows : whether it has.
    """

    parameters: Named
    outputs: Named = field(default_factory=dict)
    inputs: Named = field(default_factory=dict)
    own_rows: bool = False


def losses_of(network: nn.Module, tasks: tuple[Task, ...], inputs: Tensor, labels: Tensor, moved: Named) -> Tensor:
    """The n losses of `network` with other values of the `moved` parameters, in float64."""
    parameters = {name: value.detach() for name, value in network.named_parameters()}
    # In float64 from the outputs on: affinities are small differences of losses, and so few numbers cost nothing.
    return task_losses(functional_call(network, parameters | moved, (inputs,)).double(), labels, tasks)


def at_once(network: nn.Module, names: Sequence[str], n_rows: int) -> int:
    """How many copies of the named parameters, each with the activations of `n_rows` inputs, to work on at once."""
    on_cpu = next(network.parameters()).device.type == "cpu"
    room = min(_FLOATS_AT_ONCE, _FLOATS_IN_CACHE) if on_cpu else _FLOATS_AT_ONCE
    return max(1, room // max(sum(network.get_parameter(name).numel() for name in names), _ACTIVATIONS * n_rows))


def _join(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


def _most_labels(labels: Tensor) -> int | None:
    """The largest number of labels that a task has, where that is at most half the rows; None otherwise."""
    most = max(1, int(present(labels).sum(dim=0).max()))
    return most if 2 * most <= len(labels) else None


def gradient_flops(row_flops: tuple[int, int], labels: Tensor) -> int:
    """Operations of `task_gradients` on a batch with these labels; `row_flops` as in `Problem`."""
    (forward, both), (n_rows, n_tasks), most = row_flops, labels.shape[:2], _most_labels(labels)
    return n_tasks * most * both if most else n_rows * (forward + n_tasks * (both - forward))


def task_gradients(
    network: nn.Module, names: Sequence[str], tasks: tuple[Task, ...], inputs: Tensor, labels: Tensor
) -> tuple[Named, Tensor]:
    """The gradients of all n losses for the named parameters, and the losses, in batched passes.

    Where labels abound this is one forward pass and n backward ones. Where each task has its labels on few of the
    rows, every task runs forward and backward on its own rows only.

    Parameters
    ----------
    network : in evaluation mode, so that dropout does not differ between tasks.
    names : parameters to differentiate for.
    tasks : the n tasks.
    inputs, labels : a batch with shapes (B, ...) and (B, n), NaN where a label is missing.

    Returns
    -------
    name -> gradients with shape (n, *shape of the parameter); losses with shape (n,).
    """
    parts, losses = zip(*gradient_parts(network, names, tasks, inputs, labels), strict=True)
    return {name: _join([part.parameters[name] for part in parts]) for name in names}, _join(losses)


def gradient_rows(labels: Tensor) -> int:
    """On how many rows of a batch with these labels `gradient_parts` takes the gradient of one task."""
    return _most_labels(labels) or len(labels)


def gradient_parts(
    network: nn.Module,
    names: Sequence[str],
    tasks: tuple[Task, ...],
    inputs: Tensor,
    labels: Tensor,
    dense: Mapping[str, DenseLayer] | None = None,
) -> Iterator[tuple[Gradients, Tensor]]:
    """`task_gradients` of a few tasks at a time, as many as are best held at once, in the order of the tasks.

    `dense` names the layers of which the gradients for the outputs are wanted, not those for the parameters.
    """
    dense = dense or {}
    apart = {name for layer in dense.values() for name in layer.parameters}
    names = [name for name in names if name not in apart]
    here = {name: network.get_parameter(name).detach() for name in names}
    like = next(network.parameters()).detach()
    most, n_tasks = _most_labels(labels), len(tasks)
    # What is added to the outputs of a dense layer is 0, and has the gradient that is asked for.
    added = {name: like.new_zeros(most or len(labels), *layer.shape) for name, layer in dense.items()}

    def losses_and_inputs(rows: Tensor, known: Tensor, parameters: Named, added: Named) -> tuple[Tensor, Named]:
        given: Named = {}

        def add(name: str, inputs: Tensor, outputs: Tensor) -> Tensor:
            given[name] = inputs
            return outputs + added[name]

        with changed_outputs(network, dense, add):
            return losses_of(network, tasks, rows, known, parameters), given

    if most is None:
        with vectorised_rectifiers(network):
            pulled: Any = vjp(partial(losses_and_inputs, inputs, labels), here, added, has_aux=True)
        losses, pull, given = pulled
        basis = torch.eye(n_tasks, device=losses.device, dtype=losses.dtype)
        size = at_once(network, names, len(inputs))
        for rows, values in zip(basis.split(size), losses.detach().split(size), strict=True):
            slopes, of_outputs = vmap(pull)(rows)
            yield Gradients(slopes, of_outputs, given), values
        return

    def loss(rows: Tensor, known: Tensor, parameters: Named, added: Named) -> tuple[Tensor, Named]:
        losses, given = losses_and_inputs(rows, known, parameters, added)
        return losses.sum(), given

    # Each task's labelled rows come first; the rest of its `most` rows carry no label of it, and no weight.
    own = (~present(labels)).int().argsort(dim=0, stable=True)[:most].T
    others = ~torch.eye(n_tasks, dtype=torch.bool, device=labels.device)
    known = labels[own].masked_fill(others.view(n_tasks, 1, n_tasks, *[1] * (labels.ndim - 2)), torch.nan)
    run = vmap(grad_and_value(loss, argnums=(2, 3), has_aux=True), in_dims=(0, 0, None, None))
    for chosen in torch.arange(n_tasks, device=labels.device).split(at_once(network, names, most)):
        (slopes, of_outputs), (losses, given) = run(inputs[own[chosen]], known[chosen], here, added)
        yield Gradients(slopes, of_outputs, given, own_rows=True), losses.detach()
