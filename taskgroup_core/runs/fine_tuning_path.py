"""The path of a network that is fine-tuned in small steps, and the points where it crosses given distances."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector

from taskgroup_core.problems.problem import Problem
from taskgroup_core.seeds import seeded
from taskgroup_core.training.epochs import labelled_rows
from taskgroup_core.training.fit import mean_loss


def fine_tuning_path(
    problem: Problem, subset: Sequence[int], start: nn.Module, rate: float, steps: int, seed: int
) -> Iterator[Tensor]:
    """Flat parameters, each with shape (p,), after every full-batch step of Adam on the training loss of a subset.

    Apart from `fit`, which keeps the end of a training only. Dropout is on, as there; `start` stays as it is.

    Parameters
    ----------
    problem : the tasks, inputs and labels.
    subset : task indices.
    start : where the path begins; it is followed on this network's device.
    rate : of Adam.
    steps : the length of the path.
    seed : decides the dropout.
    """
    network = deepcopy(start).train()
    weights = list(network.parameters())
    used, labels = labelled_rows(problem, subset)
    inputs, labels = problem.inputs[used].to(weights[0].device), labels.to(weights[0].device)
    tasks, columns = tuple(problem.tasks[task] for task in subset), problem.columns(subset).to(inputs.device)
    optimiser = torch.optim.Adam(weights, rate)
    for step in range(steps):
        with seeded(seed, "dropout", "path", *subset, step):
            optimiser.zero_grad(set_to_none=True)
            mean_loss(network(inputs)[:, columns], labels, tasks).backward()
            optimiser.step()
        yield parameters_to_vector(weights).detach().clone()


def crossings(path: Iterator[Tensor], start: Tensor, lengths: Sequence[float]) -> tuple[list[Tensor], list[int]]:
    """Displacements from `start` where a path first crosses each length that it reaches, and the steps it took.

    Parameters
    ----------
    path : points with shape (p,); no more of them are taken than needed.
    start : where the path began, with shape (p,).
    lengths : positive and ascending.

    Returns
    -------
    Displacements whose norms are the first so many of `lengths`, interpolated linearly within a step, and as many
    numbers of steps.
    """
    found: list[Tensor] = []
    steps: list[int] = []
    before = torch.zeros_like(start)
    for step, point in enumerate(path, start=1):
        after = point - start
        while len(found) < len(lengths) and float(after.norm()) >= lengths[len(found)]:
            found.append(_crossing(before, after, lengths[len(found)]))
            steps.append(step)
        if len(found) == len(lengths):
            break
        before = after
    return found, steps


def _crossing(before: Tensor, after: Tensor, length: float) -> Tensor:
    """The point of norm `length` between `before` and `after`, where |before| < length <= |after|."""
    step = after - before
    a, b, c = (float(x) for x in (step @ step, before @ step, before @ before - length**2))
    return before + (math.sqrt(max(0.0, b * b - a * c)) - b) / a * step
