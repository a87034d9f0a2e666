"""Training of all tasks together, observed at regular steps."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from taskgroup_core.device import resolve_device
from taskgroup_core.errors import InputError
from taskgroup_core.problems.problem import Problem
from taskgroup_core.scores import elementwise_loss, present
from taskgroup_core.tasks import Task
from taskgroup_core.training.batches import batch_sizes, smallest_batch
from taskgroup_core.training.epochs import Fitted, Moment, labelled_rows, run_epochs
from taskgroup_core.training.recipe import Recipe


def task_losses(output: Tensor, labels: Tensor, tasks: tuple[Task, ...]) -> Tensor:
    """L_1 to L_n, with shape (n,): the mean loss of each task over its labels, 0 where it has none.

    Parameters
    ----------
    output : with shape (B, number of outputs), see `elementwise_loss`.
    labels : with shape (B, n), or (B, n, H) where each is H numbers; NaN where missing.
    tasks : the n tasks.
    """
    there = present(labels)
    loss = elementwise_loss(output, labels.nan_to_num().to(output.dtype), tasks)
    return (loss * there).sum(dim=0) / there.sum(dim=0).clamp_min(1)


def joint_steps(problem: Problem, recipe: Recipe) -> int:
    """Number of optimiser steps that `joint_training` takes, unless it stops early."""
    used = labelled_rows(problem, range(problem.n_tasks))[0]
    smallest = smallest_batch(problem.network(0), problem.inputs[used[:1]])
    return recipe.epochs * len(batch_sizes(len(used), recipe.batch_size, smallest))


def joint_training(
    problem: Problem,
    recipe: Recipe,
    seed: int,
    device: str | torch.device = "auto",
    observe: Callable[[Moment], None] | None = None,
    every: int = 1,
) -> Fitted:
    """Train one network on all tasks, with the sum of the tasks' mean losses (TAG, section 4.1), and show its steps.

    Parameters
    ----------
    problem : the tasks, inputs and network.
    recipe : optimiser settings, as of `fit`.
    seed : decides the initialisation, the order of the inputs and the dropout.
    device : where to train.
    observe : called before the steps 0, `every`, 2 `every`, ...; it changes nothing about the training.
    every : interval between two calls, in steps.

    Raises
    ------
    InputError : a bad interval, a batch of one row for a network with batch norm (see `batch_sizes`), or a loss that
        turned NaN or infinite.
    """
    if isinstance(every, bool) or not isinstance(every, int) or every < 1:
        raise InputError("every", repr(every), "Use a whole number of steps, 1 or more.")
    place = resolve_device(device)
    network = problem.network(seed).to(place)

    def backward(moment: Moment) -> Tensor:
        if observe is not None and moment.step % every == 0:
            observe(moment)
        moment.optimiser.zero_grad(set_to_none=True)
        loss = task_losses(network(moment.inputs), moment.labels, problem.tasks).sum()
        loss.backward()
        return loss.detach()

    return run_epochs(problem, range(problem.n_tasks), recipe, seed, network, place, backward)
