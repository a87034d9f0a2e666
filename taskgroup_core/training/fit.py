"""Training of one network on the tasks of one subset."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from taskgroup_core.device import resolve_device
from taskgroup_core.errors import InputError
from taskgroup_core.problems.problem import Problem
from taskgroup_core.scores import elementwise_loss
from taskgroup_core.seeds import seeded, torch_generator
from taskgroup_core.tasks import Task


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: Adam on the mean loss over all labels of a batch.

    Parameters
    ----------
    epochs : passes over the inputs that carry a label of the subset.
    batch_size : inputs a step; each brings the labels it has.
    learning_rate, weight_decay : of Adam.

    References
    ----------
    The values of GRAD-TAG's released code, as the paper gives none for graphs.
    """

    epochs: int = 100
    batch_size: int = 1000
    learning_rate: float = 0.01
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "learning_rate"):
            if not getattr(self, name) > 0:
                raise InputError(name, str(getattr(self, name)), "Use a positive number.")
        if not self.weight_decay >= 0:
            raise InputError("weight_decay", str(self.weight_decay), "Use 0 or a positive number.")


@dataclass(frozen=True)
class Fitted:
    """A trained network (in evaluation mode), the mean training loss of each epoch, and what it cost."""

    network: nn.Module
    losses: tuple[float, ...]
    flops: int
    seconds: float


def mean_loss(output: Tensor, label: Tensor, tasks: tuple[Task, ...]) -> Tensor:
    """Mean loss over the labels that are there; `label` has NaN where one is missing (see `elementwise_loss`)."""
    present = ~label.isnan()
    loss = elementwise_loss(output, label.nan_to_num(), tasks)
    return (loss * present).sum() / present.sum()


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


def labelled_rows(problem: Problem, members: Sequence[int]) -> tuple[Tensor, Tensor]:
    """The u inputs with a training label of some member, int64 (u,), and their labels with shape (u, members)."""
    used, labels = problem.table("train")
    labels = labels[:, list(members)]
    known = (~labels.isnan()).any(dim=1)
    return used[known], labels[known]


def training_flops(problem: Problem, subset: Sequence[int], recipe: Recipe) -> int:
    """What `fit` will count for this subset, without training."""
    return problem.row_flops[1] * len(labelled_rows(problem, sorted(set(subset)))[0]) * recipe.epochs


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
    InputError : an empty subset, an unknown task index, or a loss that turned NaN or infinite.
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
    optimiser = torch.optim.Adam(network.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay)
    order = torch_generator(seed, "order", *members)
    losses = []
    network.train()
    with seeded(seed, "dropout", *members):
        for _ in range(recipe.epochs):
            total = torch.zeros((), device=place)
            for batch in torch.randperm(len(inputs), generator=order).to(place).split(recipe.batch_size):
                optimiser.zero_grad(set_to_none=True)
                loss = mean_loss(network(inputs[batch])[:, columns], labels[batch], tasks)
                loss.backward()
                optimiser.step()
                total += loss.detach() * len(batch)
            losses.append(total / len(inputs))
    curve = check_losses(torch.stack(losses).tolist())
    return Fitted(network.eval(), curve, training_flops(problem, members, recipe), time.perf_counter() - begun)
