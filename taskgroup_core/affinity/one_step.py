"""One trial step for many tasks at once: gradients of every task, and every task's loss after every step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vjp, vmap

from taskgroup_core.scores import present
from taskgroup_core.tasks import Task
from taskgroup_core.training.joint import task_losses

Named = dict[str, Tensor]
_FLOATS_AT_ONCE = 2**26  # 256 MiB in float32
_FLOATS_IN_CACHE = 2**23  # on a CPU, blocks beyond the last cache are slower than a loop
_ACTIVATIONS = 1024  # a guess of the numbers that one input row leaves behind in a network


def _losses(network: nn.Module, tasks: tuple[Task, ...], inputs: Tensor, labels: Tensor, moved: Named) -> Tensor:
    parameters = {name: value.detach() for name, value in network.named_parameters()}
    # In float64 from the outputs on: affinities are small differences of losses, and so few numbers cost nothing.
    return task_losses(functional_call(network, parameters | moved, (inputs,)).double(), labels, tasks)


def at_once(network: nn.Module, names: Sequence[str], n_rows: int) -> int:
    """How many copies of the named parameters, each with the activations of `n_rows` inputs, to work on at once."""
    parameters = [network.get_parameter(name) for name in names]
    room = min(_FLOATS_AT_ONCE, _FLOATS_IN_CACHE) if parameters[0].device.type == "cpu" else _FLOATS_AT_ONCE
    return max(1, room // max(sum(value.numel() for value in parameters), _ACTIVATIONS * n_rows))


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
    return {name: _join([part[name] for part in parts]) for name in names}, _join(losses)


def gradient_parts(
    network: nn.Module, names: Sequence[str], tasks: tuple[Task, ...], inputs: Tensor, labels: Tensor
) -> Iterator[tuple[Named, Tensor]]:
    """`task_gradients` of a few tasks at a time, as many as are best held at once, in the order of the tasks."""
    here = {name: network.get_parameter(name).detach() for name in names}
    most, n_tasks = _most_labels(labels), len(tasks)
    if most is None:
        losses, pull = vjp(partial(_losses, network, tasks, inputs, labels), here)[:2]
        basis = torch.eye(n_tasks, device=losses.device, dtype=losses.dtype)
        size = at_once(network, names, len(inputs))
        for rows, values in zip(basis.split(size), losses.detach().split(size), strict=True):
            yield vmap(pull)(rows)[0], values
        return

    def loss(parameters: Named, rows: Tensor, known: Tensor) -> Tensor:
        return _losses(network, tasks, rows, known, parameters).sum()

    # Each task's labelled rows come first; the rest of its `most` rows carry no label of it, and no weight.
    own = (~present(labels)).int().argsort(dim=0, stable=True)[:most].T
    others = ~torch.eye(n_tasks, dtype=torch.bool, device=labels.device)
    known = labels[own].masked_fill(others.view(n_tasks, 1, n_tasks, *[1] * (labels.ndim - 2)), torch.nan)
    run = vmap(grad_and_value(loss), in_dims=(None, 0, 0))
    for chosen in torch.arange(n_tasks, device=labels.device).split(at_once(network, names, most)):
        gradients, losses = run(here, inputs[own[chosen]], known[chosen])
        yield gradients, losses.detach()


def losses_after(network: nn.Module, tasks: tuple[Task, ...], moved: Named, inputs: Tensor, labels: Tensor) -> Tensor:
    """The n losses of s networks that differ in the `moved` parameters, with shape (s, n), in batched passes.

    Parameters
    ----------
    network : in evaluation mode; gives the parameters that are not in `moved`.
    tasks : the n tasks.
    moved : name -> s values of the parameter, with shape (s, *shape).
    inputs, labels : a batch with shapes (B, ...) and (B, n), NaN where a label is missing.
    """
    size, n_networks = at_once(network, list(moved), len(inputs)), len(next(iter(moved.values())))
    run = vmap(partial(_losses, network, tasks, inputs, labels))
    with torch.no_grad():
        slices = [slice(start, start + size) for start in range(0, n_networks, size)]
        return _join([run({name: value[part] for name, value in moved.items()}) for part in slices])


def gradient_steps(network: nn.Module, gradients: Named, learning_rate: float) -> Named:
    """The parameters after one plain gradient step with each of s gradients, (s, *shape): theta - eta g."""
    return {
        name: torch.sub(network.get_parameter(name).detach(), gradient, alpha=learning_rate)
        for name, gradient in gradients.items()
    }


def optimiser_steps(network: nn.Module, gradients: Named, optimiser: torch.optim.Optimizer) -> Named:
    """The parameters after the step that `optimiser` would make with each of s gradients, from its present state.

    Parameters
    ----------
    network : whose parameters the optimiser trains.
    gradients : name -> gradients with shape (s, *shape).
    optimiser : one that `make_optimiser` makes: SGD, Adam or AdamW; it is left unchanged.
    """
    group, moved = optimiser.param_groups[0], {}
    rate, decay = group["lr"], group["weight_decay"]
    decoupled = isinstance(optimiser, torch.optim.AdamW)
    for name, gradient in gradients.items():
        parameter = network.get_parameter(name)
        state, here = optimiser.state.get(parameter, {}), parameter.detach()
        if decay and not decoupled:
            gradient = gradient + decay * here
        if isinstance(optimiser, torch.optim.SGD):
            buffer = state.get("momentum_buffer")
            direction = gradient if buffer is None else gradient + group["momentum"] * buffer
        else:
            (first, second), count = group["betas"], float(state.get("step", 0)) + 1
            mean = (1 - first) * gradient + first * state.get("exp_avg", 0)
            square = (1 - second) * gradient.square() + second * state.get("exp_avg_sq", 0)
            direction = mean / (1 - first**count) / ((square / (1 - second**count)).sqrt() + group["eps"])
        moved[name] = (here * (1 - rate * decay) if decoupled else here) - rate * direction
    return moved
