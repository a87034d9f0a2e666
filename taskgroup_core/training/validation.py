"""Validation losses along a training, and what follows from them: the best epoch, and when to stop."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from taskgroup_core.errors import InputError
from taskgroup_core.problems.problem import Problem
from taskgroup_core.scores import elementwise_loss, present
from taskgroup_core.training.recipe import Recipe


class Validation:
    """Follows the validation losses of B networks, and says which improved and which have waited long enough.

    A network's validation loss is the mean over its tasks of each task's mean loss. All networks see all validation
    inputs, whichever tasks have labels there, as `evaluate` does.

    Parameters
    ----------
    problem, recipe : as of `fit`; the recipe's `patience` and `keep` are used.
    members : the tasks of each network.
    place : where the networks are.

    Attributes
    ----------
    inputs : the V validation inputs, with shape (V, ...).
    lowest : lowest loss of each network so far, float64 with shape (B,), infinite at first; a loss that is not
        finite never counts.
    """

    def __init__(self, problem: Problem, members: Sequence[Sequence[int]], recipe: Recipe, place: torch.device) -> None:
        used, labels = problem.table("val")
        self.recipe, self.tasks = recipe, problem.tasks
        self.inputs, self.labels = problem.inputs[used].to(place), labels.to(place)
        self.member = torch.zeros(len(members), problem.n_tasks, dtype=torch.bool)
        for row, tasks in zip(self.member, members, strict=True):
            row[list(tasks)] = True
        self.member = self.member.to(place)
        self.lowest = torch.full((len(members),), math.inf, dtype=torch.float64)
        self.waited = torch.zeros(len(members), dtype=torch.int64)

    def losses(self, outputs: Tensor, part: slice = slice(None)) -> Tensor:
        """Losses with shape (b,) of some of the networks from their outputs, with shape (b, V, number of outputs)."""
        there, member = present(self.labels), self.member[part]
        known = self.labels.nan_to_num().to(outputs.dtype).expand(len(outputs), *self.labels.shape)
        of_task = (elementwise_loss(outputs, known, self.tasks) * there).sum(dim=1) / there.sum(dim=0)
        return torch.where(member, of_task, 0).sum(dim=1) / member.sum(dim=1)

    def see(self, losses: Tensor) -> tuple[Tensor, Tensor]:
        """After an epoch: which losses are new lowest ones, and which networks shall stop, both boolean (B,)."""
        losses = losses.cpu().double()
        improved = losses < self.lowest
        self.lowest = torch.where(improved, losses, self.lowest)
        self.waited = torch.where(improved, 0, self.waited + 1)
        patience = self.recipe.patience
        return improved, torch.zeros_like(improved) if patience is None else self.waited >= patience

    def go_on_with(self, networks: Tensor) -> None:
        """Follow some of the networks only (indices, on the CPU)."""
        self.lowest, self.waited = self.lowest[networks], self.waited[networks]
        self.member = self.member[networks.to(self.member.device)]

    def check(self) -> None:
        """Refuse to keep the best epoch where there is none.

        Raises
        ------
        InputError : a network that never had a finite validation loss.
        """
        if self.recipe.keep == "best" and self.lowest.isinf().any():
            found = "a network whose validation loss never was finite"
            raise InputError("recipe", found, "Lower the learning rate or rescale the inputs.")
