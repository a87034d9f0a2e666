"""Reptile: first-order meta-learning of the shared parameters, beside heads that are trained as usual."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from taskgroup_core.device import resolve_device
from taskgroup_core.errors import InputError
from taskgroup_core.problems.problem import Problem
from taskgroup_core.seeds import seeded, torch_generator
from taskgroup_core.training.epochs import Fitted, check_losses
from taskgroup_core.training.fit import mean_loss
from taskgroup_core.training.shared_parameters import Shared, shared_parameters


@dataclass(frozen=True)
class ReptileRecipe:
    """In a round, every task takes some steps of gradient descent from the same shared parameters.

    Parameters
    ----------
    rounds : passes over all tasks.
    inner_steps, batch_size : batches that a task takes in a round, each drawn anew from its training inputs (at most
        all of them).
    inner_rate : learning rate of these steps, for shared parameters and heads.
    outer_rate : share of the tasks' mean move that the shared parameters follow at the end of a round.

    References
    ----------
    SCA's supplement, Table 2 (images): the defaults, its alpha and beta being the rates that Algorithm 1 calls so.
    """

    rounds: int = 100
    inner_steps: int = 25
    batch_size: int = 128
    inner_rate: float = 0.1
    outer_rate: float = 0.001

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise InputError(name, str(value), "Use a positive number.")


def reptile(
    problem: Problem,
    recipe: ReptileRecipe,
    seed: int,
    device: str | torch.device = "auto",
    shared: Shared | None = None,
    observe: Callable[[int, nn.Module], None] | None = None,
    every: int = 1,
) -> Fitted:
    """Train one network on all tasks by Reptile; `losses` are each round's mean over its batches.

    Parameters
    ----------
    shared : which parameters are shared, see `shared_parameters`; each other one must belong to one task.
    observe : called with the rounds done and the network, which it leaves as it is: at the start, after each `every`
        rounds, and at the end.

    Raises
    ------
    InputError : a bad interval, a network with no shared parameter, or a loss that turned NaN or infinite.

    References
    ----------
    Thakur et al., Efficient Task Grouping Through Sample-wise Optimisation Landscape Analysis, 2024, supplement,
    Algorithm 1.
    """
    if isinstance(every, bool) or not isinstance(every, int) or every < 1:
        raise InputError("every", repr(every), "Use a whole number of rounds, 1 or more.")
    begun, place = time.perf_counter(), resolve_device(device)
    network = problem.network(seed).to(place).train()
    names = shared_parameters(network, problem.n_outputs, shared)
    named = {name: value for name, value in network.named_parameters() if value.requires_grad}
    # A head moves for its own task alone: the sum over tasks is that move, and it is kept whole.
    kept = {name: recipe.outer_rate / problem.n_tasks if name in names else 1.0 for name in named}
    share = torch.cat([torch.full_like(value.detach(), kept[name]).flatten() for name, value in named.items()])
    parameters = list(named.values())
    theta = parameters_to_vector(parameters).detach().clone()
    optimiser = torch.optim.SGD(parameters, recipe.inner_rate)
    generator, losses, rows = torch_generator(seed, "batches"), [], 0
    with seeded(seed, "dropout"):
        for done in range(recipe.rounds):
            if observe is not None and done % every == 0:
                observe(done, network)
            move, total = torch.zeros_like(theta), torch.tensor(0, device=place)
            for task in range(problem.n_tasks):
                own, column = problem.train.of_tasks([task]), problem.columns([task]).to(place)
                vector_to_parameters(theta.clone(), parameters)  # a copy, because steps are taken in place
                for _ in range(recipe.inner_steps):
                    batch = torch.randperm(len(own), generator=generator)[: recipe.batch_size]
                    inputs, labels = problem.inputs[own.input_index[batch]].to(place), own.label[batch].to(place)
                    optimiser.zero_grad(set_to_none=True)
                    loss = mean_loss(network(inputs)[:, column], labels[:, None], (problem.tasks[task],))
                    loss.backward()
                    optimiser.step()
                    total, rows = total + loss.detach(), rows + len(batch)
                move += parameters_to_vector(parameters).detach() - theta
            theta = theta + share * move
            vector_to_parameters(theta, parameters)
            losses.append(total / (problem.n_tasks * recipe.inner_steps))
    if observe is not None:
        observe(recipe.rounds, network)
    curve = check_losses(torch.stack(losses).tolist())
    return Fitted(network.eval(), curve, rows * problem.row_flops[1], time.perf_counter() - begun)
