"""Training of one network on the tasks of one subset."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor, nn

from taskgroup_core.device import resolve_device
from taskgroup_core.errors import InputError
from taskgroup_core.problems.problem import Problem
from taskgroup_core.scores import elementwise_loss, present
from taskgroup_core.seeds import seeded, torch_generator
from taskgroup_core.tasks import Task
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


def mean_loss(output: Tensor, label: Tensor, tasks: tuple[Task, ...]) -> Tensor:
    """Mean loss over the labels that are there; `label` has NaN where one is missing (see `elementwise_loss`)."""
    there = present(label)
    loss = elementwise_loss(output, label.nan_to_num(), tasks)
    return (loss * there).sum() / there.sum()


def check_members(problem: Problem, subset: Sequence[int], argument: str = "subset") -> list[int]:
    """The tasks of a subset, sorted, each once.

    Raises
    ------
    InputError : an empty subset, or an unknown task index.
    """
    members = sorted(set(subset))
    if not members or not 0 <= members[0] <= members[-1] < problem.n_tasks:
        raise InputError(argument, str(list(subset)), f"Give task indices from 0 to {problem.n_tasks - 1}.")
    return members


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


def copied(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copies without a graph, for `put_back`."""
    return {name: value.detach().clone() for name, value in tensors.items()}


@torch.no_grad()
def put_back(network: nn.Module, kept: dict[str, Tensor]) -> None:
    """Write copies of a network's own tensors into it again."""
    for name, value in own_tensors(network).items():
        value.copy_(kept[name])


def labelled_rows(problem: Problem, members: Sequence[int]) -> tuple[Tensor, Tensor]:
    """The u inputs with a training label of some member, int64 (u,), and their labels (u, members[, H])."""
    used, labels = problem.table("train")
    labels = labels[:, list(members)]
    known = present(labels).any(dim=1)
    return used[known], labels[known]


def training_flops(problem: Problem, subset: Sequence[int], recipe: Recipe, epochs: int | None = None) -> int:
    """What `fit` counts for this subset, without training: for all epochs of the recipe, or for so many."""
    forward, forward_backward = problem.row_flops
    flops = forward_backward * len(labelled_rows(problem, sorted(set(subset)))[0])
    if recipe.validates:
        flops += forward * len(problem.table("val")[0])
    return flops * (recipe.epochs if epochs is None else epochs)


def fit(
    problem: Problem,
    subset: Sequence[int],
    recipe: Recipe,
    seed: int,
    device: str | torch.device = "auto",
    start: nn.Module | None = None,
) -> Fitted:
    """Train one network on the training examples of the tasks in `subset`, all combined (GRAD-TAG, Definition 2.1).

    Parameters
    ----------
    problem : the tasks, inputs and network.
    subset : task indices.
    recipe : optimiser settings.
    seed : decides the initialisation, the order of the inputs and the dropout.
    device : where to train.
    start : a network to fine-tune, left unchanged; without it a new one is initialised from `seed`.

    Raises
    ------
    InputError : an empty subset, an unknown task index, one input or a batch size of 1 for a network with batch norm
        (see `batch_sizes`), or a loss that turned NaN or infinite.

    Notes
    -----
    A network that cannot be trained on one row, as batch norm over rows cannot, takes a remainder of one row together
    with the batch before it.

    Where the recipe keeps the best epoch or stops early, every epoch ends with one pass in evaluation mode over all
    validation inputs. Scores on the validation split are then a little too good: the epoch was chosen by them.
    """
    members = check_members(problem, subset)
    begun = time.perf_counter()
    place = resolve_device(device)
    network = problem.network(seed)
    if start is not None:
        network.load_state_dict(start.state_dict())
    network = network.to(place)
    tasks = tuple(problem.tasks[index] for index in members)
    used, labels = labelled_rows(problem, members)
    inputs, labels = problem.inputs[used].to(place), labels.to(place)
    columns = slice(None) if len(members) == problem.n_tasks else problem.columns(members).to(place)
    optimiser = make_optimiser(recipe, network.parameters())
    schedule = make_schedule(recipe, optimiser)
    order = torch_generator(seed, "order", *members)
    validation = Validation(problem, [members], recipe, place) if recipe.validates else None
    sizes = batch_sizes(len(inputs), recipe.batch_size, smallest_batch(network, inputs[:1]))
    losses, validation_losses, best = [], [], own_tensors(network)
    with seeded(seed, "dropout", *members):
        for _ in range(recipe.epochs):
            network.train()
            total = torch.zeros((), device=place)
            for batch in torch.randperm(len(inputs), generator=order).to(place).split(sizes):
                optimiser.zero_grad(set_to_none=True)
                loss = mean_loss(network(inputs[batch])[:, columns], labels[batch], tasks)
                loss.backward()
                optimiser.step()
                total += loss.detach() * len(batch)
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
    return Fitted(
        network.eval(),
        curve,
        training_flops(problem, members, recipe, len(curve)),
        time.perf_counter() - begun,
        tuple(float(loss) for loss in validation_losses),
    )
