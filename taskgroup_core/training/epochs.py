"""The epochs of one training: batches in a drawn order, optimiser steps, validation, and the weights that are kept."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor, nn

from taskgroup_core.errors import InputError
from taskgroup_core.problems.problem import Problem
from taskgroup_core.scores import present
from taskgroup_core.seeds import seeded, torch_generator
from taskgroup_core.training.batches import batch_sizes, smallest_batch
from taskgroup_core.training.recipe import Recipe, make_optimiser, make_schedule
from taskgroup_core.training.row_parts import in_parts
from taskgroup_core.training.validation import Validation


@dataclass(frozen=True)
class Fitted:
    """A trained network (in evaluation mode), the losses of each epoch that was run, and what it cost.

    Parameters
    ----------
    network : with the weights that the recipe keeps.
    losses : mean training loss of every epoch.
    flops, seconds : operations, those of validation included, and wall time.
    validation_losses : of every epoch, where the recipe asks for them: mean over the tasks of each one's mean loss.
    """

    network: nn.Module
    losses: tuple[float, ...]
    flops: int
    seconds: float
    validation_losses: tuple[float, ...] = ()


@dataclass(frozen=True)
class Moment:
    """The state of a training just before one of its steps.

    Parameters
    ----------
    step, epoch : counted from 0.
    network : in training mode, with the parameters before the step; an observer leaves both as they are.
    optimiser : the recipe's, with its state before the step.
    inputs : the batch of this step, with shape (B, ...).
    labels : of the tasks that are trained, with shape (B, n), or (B, n, H) where each is H numbers; NaN where missing.
    """

    step: int
    epoch: int
    network: nn.Module
    optimiser: torch.optim.Optimizer
    inputs: Tensor
    labels: Tensor


def check_losses(losses: Sequence[float], of: str = "") -> tuple[float, ...]:
    """The losses of a training, as they are; `of` says whose they are, for the message.

    Raises
    ------
    InputError : a loss that turned NaN or infinite.
    """
    if not all(map(math.isfinite, losses)):
        found = f"a training loss of {losses[-1]}{of}"
        raise InputError("recipe", found, "Lower the learning rate or rescale the inputs.")
    return tuple(losses)


def own_tensors(network: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name; unlike `state_dict` with the buffers that are not persistent."""
    return dict(chain(network.named_parameters(), network.named_buffers()))


def labelled_rows(problem: Problem, members: Sequence[int]) -> tuple[Tensor, Tensor]:
    """The u inputs with a training label of some member, int64 (u,), and their labels (u, members[, H])."""
    used, labels = problem.table("train")
    labels = labels[:, list(members)]
    known = present(labels).any(dim=1)
    return used[known], labels[known]


def training_flops(
    problem: Problem, subset: Sequence[int], recipe: Recipe, epochs: int | None = None, of_row: int | None = None
) -> int:
    """What `fit` counts for this subset, without training: for all epochs of the recipe, or for so many.

    Parameters
    ----------
    of_row : operations of a step for each input; None for those of one pass forward and back.
    """
    forward, forward_backward = problem.row_flops
    forward_backward = forward_backward if of_row is None else of_row
    flops = forward_backward * len(labelled_rows(problem, sorted(set(subset)))[0])
    if recipe.validates:
        flops += forward * len(problem.table("val")[0])
    return flops * (recipe.epochs if epochs is None else epochs)


def run_epochs(
    problem: Problem,
    members: Sequence[int],
    recipe: Recipe,
    seed: int,
    network: nn.Module,
    place: torch.device,
    backward: Callable[[Moment], Tensor],
    beside: Sequence[nn.Parameter] = (),
) -> Fitted:
    """Train a network, already at its place, on the inputs with a label of some member.

    Parameters
    ----------
    problem, recipe : the inputs, labels and settings.
    members : the tasks, ascending.
    seed : decides the order of the inputs and the dropout.
    network : trained in place; put into training mode at every epoch.
    place : the device it is on.
    backward : clears and fills the gradients of the parameters, and returns the batch's loss, detached.
    beside : parameters that are no part of the network and trained with it.

    Raises
    ------
    InputError : a batch of one row for a network with batch norm (see `batch_sizes`), or a loss that turned NaN or
        infinite.
    """
    begun = time.perf_counter()
    used, labels = labelled_rows(problem, members)
    inputs, labels = problem.inputs[used].to(place), labels.to(place)
    optimiser = make_optimiser(recipe, chain(network.parameters(), beside))
    schedule = make_schedule(recipe, optimiser)
    order = torch_generator(seed, "order", *members)
    validation = Validation(problem, [members], recipe, place) if recipe.validates else None
    sizes = batch_sizes(len(inputs), recipe.batch_size, smallest_batch(network, inputs[:1]))
    losses, validation_losses, step, best = [], [], 0, own_tensors(network)
    with seeded(seed, "dropout", *members):
        for epoch in range(recipe.epochs):
            network.train()
            total = torch.tensor(0, device=place)  # an integer, so that the sum has the losses' dtype
            for batch in torch.randperm(len(inputs), generator=order).to(place).split(sizes):
                loss = backward(Moment(step, epoch, network, optimiser, inputs[batch], labels[batch]))
                optimiser.step()
                total = total + loss * len(batch)
                step += 1
            schedule.step()
            losses.append(total / len(inputs))
            if validation is not None:
                with torch.no_grad():
                    outputs = in_parts(network.eval(), validation.inputs)
                    validation_losses.append(validation.losses(outputs[None]))
                improved, stopped = validation.see(validation_losses[-1])
                if improved and recipe.keep == "best":
                    best = {name: value.detach().clone() for name, value in own_tensors(network).items()}
                if stopped:
                    break
    curve = check_losses(torch.stack(losses).tolist())
    if validation is not None:
        validation.check()
        if recipe.keep == "best":
            with torch.no_grad():
                for name, value in own_tensors(network).items():
                    value.copy_(best[name])
    flops = training_flops(problem, members, recipe, len(curve))
    seconds = time.perf_counter() - begun
    return Fitted(network.eval(), curve, flops, seconds, tuple(float(loss) for loss in validation_losses))
