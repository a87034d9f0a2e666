"""Training of all tasks together, observed at regular steps."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from taskgroup_core.device import resolve_device
from taskgroup_core.errors import InputError
from taskgroup_core.problems.problem import Problem
from taskgroup_core.scores import elementwise_loss, present
from taskgroup_core.seeds import seeded, torch_generator
from taskgroup_core.tasks import Task
from taskgroup_core.training.batches import batch_sizes, smallest_batch
from taskgroup_core.training.fit import (
    Fitted,
    check_losses,
    copied,
    labelled_rows,
    own_tensors,
    put_back,
    training_flops,
)
from taskgroup_core.training.recipe import Recipe, make_optimiser, make_schedule
from taskgroup_core.training.row_parts import in_parts
from taskgroup_core.training.validation import Validation


@dataclass(frozen=True)
class Moment:
    """The state of a training just before one of its steps.

    Parameters
    ----------
    step, epoch : counted from 0.
    network : in training mode, with the parameters before the step; an observer leaves both as they are.
    optimiser : the recipe's, with its state before the step.
    inputs : the batch of this step, with shape (B, ...).
    labels : with shape (B, n), or (B, n, H) where each is H numbers; NaN where missing.
    """

    step: int
    epoch: int
    network: nn.Module
    optimiser: torch.optim.Optimizer
    inputs: Tensor
    labels: Tensor


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
    begun = time.perf_counter()
    place = resolve_device(device)
    everything = range(problem.n_tasks)
    network = problem.network(seed).to(place)
    used, labels = labelled_rows(problem, everything)
    inputs, labels = problem.inputs[used].to(place), labels.to(place)
    optimiser = make_optimiser(recipe, network.parameters())
    schedule = make_schedule(recipe, optimiser)
    order = torch_generator(seed, "order", *everything)
    validation = Validation(problem, [everything], recipe, place) if recipe.validates else None
    sizes = batch_sizes(len(inputs), recipe.batch_size, smallest_batch(network, inputs[:1]))
    losses, validation_losses, step, best = [], [], 0, own_tensors(network)
    with seeded(seed, "dropout", *everything):
        for epoch in range(recipe.epochs):
            network.train()
            total = torch.zeros((), device=place)
            for batch in torch.randperm(len(inputs), generator=order).to(place).split(sizes):
                if observe is not None and step % every == 0:
                    observe(Moment(step, epoch, network, optimiser, inputs[batch], labels[batch]))
                optimiser.zero_grad(set_to_none=True)
                loss = task_losses(network(inputs[batch]), labels[batch], problem.tasks).sum()
                loss.backward()
                optimiser.step()
                total += loss.detach() * len(batch)
                step += 1
            schedule.step()
            losses.append(total / len(inputs))
            if validation is not None:
                with torch.no_grad():
                    outputs = in_parts(network.eval(), validation.inputs)
                    validation_losses.append(validation.losses(outputs[None]))
                improved, stopped = validation.see(validation_losses[-1])
                if improved and recipe.keep == "best":
                    best = copied(own_tensors(network))
                if stopped:
                    break
    curve = check_losses(torch.stack(losses).tolist())
    if validation is not None:
        validation.check()
        if recipe.keep == "best":
            put_back(network, best)
    flops = training_flops(problem, everything, recipe, len(curve))
    seconds = time.perf_counter() - begun
    return Fitted(network.eval(), curve, flops, seconds, tuple(float(loss) for loss in validation_losses))
