"""Trial steps for many tasks at once, and every task's loss after every step, in batched passes."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.func import vmap

from taskgroup_core.affinity.dense_layers import changed_outputs
from taskgroup_core.affinity.task_gradients import Gradients, at_once, losses_of
from taskgroup_core.tasks import Task
from taskgroup_core.training.stackable import Named


def losses_after(network: nn.Module, tasks: tuple[Task, ...], moved: Named, inputs: Tensor, labels: Tensor) -> Tensor:
    """The n losses of s networks that differ in the `moved` parameters, with shape (s, n), in batched passes.

    Parameters
    ----------
    network : in evaluation mode; gives the parameters that are not in `moved`.
    tasks : the n tasks.
    moved : name -> s values of the parameter, with shape (s, *shape).
    inputs, labels : a batch with shapes (B, ...) and (B, n), NaN where a label is missing.
    """
    size = at_once(network, list(moved), len(inputs))
    with torch.no_grad():
        after: Tensor = vmap(partial(losses_of, network, tasks, inputs, labels), chunk_size=size)(moved)
    return after


def losses_after_steps(
    network: nn.Module,
    tasks: tuple[Task, ...],
    gradients: Gradients,
    learning_rate: float,
    inputs: Tensor,
    labels: Tensor,
) -> Tensor:
    """`losses_after` one plain gradient step with each of s gradients, dense layers' steps made on their outputs."""

    def losses(moved: Named, outputs: Named, given: Named) -> Tensor:
        def step(name: str, inputs: Tensor, before: Tensor) -> Tensor:
            gradient, rows = outputs[name].flatten(0, -2), given[name].flatten(0, -2)
            alike = inputs @ rows.T
            if network.get_submodule(name).bias is not None:
                alike = alike + 1  # to a bias every row has the input 1
            return torch.sub(before, alike @ gradient, alpha=learning_rate)

        with changed_outputs(network, outputs, step):
            return losses_of(network, tasks, inputs, labels, moved)

    moved = gradient_steps(network, gradients.parameters, learning_rate)
    size, in_dims = at_once(network, list(moved), len(inputs)), (0, 0, 0 if gradients.own_rows else None)
    with torch.no_grad():
        run = vmap(losses, in_dims, chunk_size=size)
        after: Tensor = run(moved, gradients.outputs, gradients.inputs)
    return after


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
