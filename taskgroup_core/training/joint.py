"""Training of all tasks together, observed at regular steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from taskgroup_core.device import resolve_device
from taskgroup_core.errors import InputError
from taskgroup_core.flops import counted
from taskgroup_core.problems.problem import Problem
from taskgroup_core.scores import elementwise_loss, present
from taskgroup_core.tasks import Task
from taskgroup_core.training.batches import batch_sizes, smallest_batch
from taskgroup_core.training.epochs import Fitted, Moment, labelled_rows, run_epochs, training_flops
from taskgroup_core.training.fit import check_members, output_columns
from taskgroup_core.training.recipe import Recipe
from taskgroup_core.training.weighting import Weighting


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
    *,
    subset: Sequence[int] | None = None,
    weighting: Weighting | None = None,
) -> Fitted:
    """Train one network with the sum of the tasks' mean losses (TAG, section 4.1), and show its steps.

    Parameters
    ----------
    problem : the tasks, inputs and network.
    recipe : optimiser settings, as of `fit`.
    seed : decides the initialisation, the order of the inputs, the dropout, and what a weighting draws.
    device : where to train.
    observe : called before the steps 0, `every`, 2 `every`, ...; it changes nothing about the training.
    every : interval between two calls, in steps.
    subset : task indices; None for all.
    weighting : what takes the place of the sum; None for the sum. Its operations are those of the first step, for each
        input, and `losses` are those of the sum all the same.

    Raises
    ------
    InputError : a bad interval, an empty subset or an unknown task index, a batch of one row for a network with batch
        norm (see `batch_sizes`), a loss that turned NaN or infinite, or with a weighting a batch without a label of
        some task.
    """
    if isinstance(every, bool) or not isinstance(every, int) or every < 1:
        raise InputError("every", repr(every), "Use a whole number of steps, 1 or more.")
    members = list(range(problem.n_tasks)) if subset is None else check_members(problem, subset)
    place = resolve_device(device)
    network = problem.network(seed).to(place)
    tasks, columns = tuple(problem.tasks[index] for index in members), output_columns(problem, members, place)
    beside = () if weighting is None else weighting.start(network, problem.n_outputs, len(members))
    of_row: list[int] = []

    def backward(moment: Moment) -> Tensor:
        if observe is not None and moment.step % every == 0:
            observe(moment)
        moment.optimiser.zero_grad(set_to_none=True)
        if weighting is None:
            total = losses(moment).sum()
            total.backward()
        elif of_row:
            total = weighted(moment, weighting)
        else:
            total, flops = counted(lambda: weighted(moment, weighting))
            of_row.append(flops // len(moment.inputs))
        return total.detach()

    def losses(moment: Moment) -> Tensor:
        return task_losses(network(moment.inputs)[:, columns], moment.labels, tasks)

    def weighted(moment: Moment, weighting: Weighting) -> Tensor:
        absent = ~present(moment.labels).any(dim=0)
        if absent.any():
            found = f"a batch without a label of task {tasks[int(absent.nonzero()[0])].name!r}"
            raise InputError("recipe", found, "Use larger batches: a weighting needs the loss of every task.")
        known = losses(moment)
        weighting.backward(known, moment.epoch)
        return known.sum()

    fitted = run_epochs(problem, members, recipe, seed, network, place, backward, beside)
    if weighting is None:
        return fitted
    return replace(fitted, flops=training_flops(problem, members, recipe, len(fitted.losses), of_row[0]))
