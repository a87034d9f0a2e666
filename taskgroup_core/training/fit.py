"""Training of one network on the tasks of one subset."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from taskgroup_core.device import resolve_device
from taskgroup_core.errors import InputError
from taskgroup_core.problems.problem import Problem
from taskgroup_core.scores import elementwise_loss, present
from taskgroup_core.tasks import Task
from taskgroup_core.training.epochs import Fitted, Moment, run_epochs
from taskgroup_core.training.recipe import Recipe


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


def output_columns(problem: Problem, members: Sequence[int], place: torch.device) -> Tensor | slice:
    """The columns of the output that belong to some tasks, as an index; for all tasks one that copies nothing."""
    return slice(None) if len(members) == problem.n_tasks else problem.columns(members).to(place)


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
    place = resolve_device(device)
    network = problem.network(seed)
    if start is not None:
        network.load_state_dict(start.state_dict())
    network = network.to(place)
    tasks = tuple(problem.tasks[index] for index in members)
    columns = output_columns(problem, members, place)

    def backward(moment: Moment) -> Tensor:
        moment.optimiser.zero_grad(set_to_none=True)
        loss = mean_loss(network(moment.inputs)[:, columns], moment.labels, tasks)
        loss.backward()
        return loss.detach()

    return run_epochs(problem, members, recipe, seed, network, place, backward)
