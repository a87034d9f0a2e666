"""Transfer gain: what training i along with j saves on the loss of j (Principled task grouping)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Literal

import torch
import xarray as xr
from torch import Tensor

from taskgroup_core.affinity.collected import CollectedAffinity, Window, check_choice, step_size
from taskgroup_core.affinity.task_gradients import at_once, gradient_flops, task_gradients
from taskgroup_core.affinity.trial_steps import gradient_steps, losses_after, optimiser_steps
from taskgroup_core.errors import InputError
from taskgroup_core.problems.problem import Problem
from taskgroup_core.scores import present
from taskgroup_core.training.epochs import Moment
from taskgroup_core.training.recipe import Recipe
from taskgroup_core.training.shared_parameters import Shared
from taskgroup_core.training.stackable import Named


class TransferGainAffinity(CollectedAffinity):
    """T[j, i], the mean over steps of S(i -> j) = 1 - L_j after a step for i and j / L_j after a step for j alone.

    The step moves the shared parameters against the sum of the gradients, and each task's own against its own. A
    collection takes n(n + 1)/2 forward passes where TAG's takes n; to first order in the step both measure the same.

    Parameters
    ----------
    recipe : how all tasks are trained together.
    seed : decides the initialisation, the order of the inputs and the dropout.
    device : where to train.
    every : interval between two collections, in steps; the paper recommends 5 to 50.
    window : part of the training in which to collect: "all", the "first", "middle" or "final" quarter of its steps,
        or two shares of it, as (0, 0.5) for the first half of the epochs.
    shared : which parameters are shared, see `shared_parameters`.
    learning_rate : eta of the trial step; None for the training's present one. Not used with step="optimiser".
    step : "gradient" for a plain gradient step; "optimiser" for the one that the training's optimiser would make from
        its present state, as in the released code. To first order no T[j, i] is above 0 at Adam's first step, where
        the step for j alone is the best of its length in every coordinate.
    diagonal : "zero", what Eq. (3) gives for A = {j}; or "double", the gain of a task from itself as if it were a
        second one: the shared parameters get its gradient twice, its own parameters once.
    groups : sets A of task indices whose gain S(A -> j) is measured directly, beside the pairs.

    Attributes
    ----------
    flops : operations spent so far, the training included.
    trace_ : S of every collection, dims ("step", "target", "source"), with the coordinate "epoch".
    group_gains_ : S(A -> j) of Eq. (3), averaged over the steps, dims ("group", "target"): its sum over the targets
        in B is S(A -> B) of Eq. (4). Eq. (5) puts the mean of T[j, i] over i in A in its place; to first order in the
        step it is their sum over the i in A other than j.

    Raises
    ------
    InputError : a bad argument (when `affinity` is called), or see `CollectedAffinity.affinity`.

    References
    ----------
    Wang, Pan and Yu, Towards Principled Task Grouping for Multi-Task Learning, 2024, Definition 4.1, Eq. (2) to (5),
    Appendix D; the released code for step="optimiser".

    Deviations
    ----------
    1. The definition is for i and j that differ, while Eq. (6) uses the diagonal and Fig. 4 shows it at its largest:
       see `diagonal`. The released code takes a double step there; how often the head moves is our choice.
    2. Losses are taken in evaluation mode on the batch of the step, as for TAG.
    3. Training uses the optimiser of the recipe, by default Adam.
    4. Steps at which a task has no label in the batch, or a loss of exactly 0, do not count for that task.
    """

    method = "transfer gain"
    group_gains_: xr.DataArray

    def __init__(
        self,
        recipe: Recipe,
        seed: int = 0,
        device: str | torch.device = "auto",
        *,
        every: int = 10,
        window: Window | tuple[float, float] = "all",
        shared: Shared | None = None,
        learning_rate: float | None = None,
        step: Literal["gradient", "optimiser"] = "gradient",
        diagonal: Literal["zero", "double"] = "zero",
        groups: Sequence[Sequence[int]] = (),
    ) -> None:
        super().__init__(recipe, seed, device, every=every, window=window, shared=shared)
        self.learning_rate, self.step, self.diagonal, self.groups = learning_rate, step, diagonal, groups

    def affinity(self, problem: Problem) -> xr.DataArray:
        """Train on all tasks of `problem` and return the averaged T[target, source]; sets the results.

        Raises
        ------
        InputError : see the class.
        """
        check_choice("step", self.step, ("gradient", "optimiser"))
        check_choice("diagonal", self.diagonal, ("zero", "double"))
        known = set(range(problem.n_tasks))
        for group in self.groups:
            if not group or not set(group) <= known or len(set(group)) < len(group):
                raise InputError("groups", str(list(group)), f"Give distinct task indices below {problem.n_tasks}.")
        self._group_gains: list[Tensor] = []
        result = super().affinity(problem)
        gains = torch.stack(self._group_gains).double().nanmean(dim=0).numpy()
        names = ["+".join(problem.task_names[index] for index in group) for group in self.groups]
        self.group_gains_ = xr.DataArray(
            gains, dims=("group", "target"), coords={"group": names, "target": list(problem.task_names)}
        )
        return result

    def _measure(self, problem: Problem, moment: Moment, names: list[str]) -> Tensor:
        rate = step_size(self.learning_rate, self.recipe, moment.epoch)
        network, inputs, labels, n_tasks = moment.network, moment.inputs, moment.labels, problem.n_tasks
        trainable = [name for name, value in network.named_parameters() if value.requires_grad]
        gradients, _ = task_gradients(network, trainable, problem.tasks, inputs, labels)
        first, second = torch.tensor(list(combinations(range(n_tasks), 2)), dtype=torch.int64).reshape(-1, 2).T
        eye = torch.eye(n_tasks)
        # One row a trial step, one column a task: how often the task's gradient is in the step. A group's rows are
        # the group along with j, for every j.
        joined = [(eye[list(group)].sum(dim=0) + eye).clamp(max=1) for group in self.groups]
        twice = 2 * eye if self.diagonal == "double" else eye[:0]
        parts = [eye, eye[first] + eye[second], twice, *joined]
        weights = torch.cat(parts).to(inputs.device)
        slices = weights.split(at_once(network, trainable, len(inputs)))
        after = torch.cat([self._losses_after(problem, moment, names, gradients, rows, rate) for rows in slices])
        self.flops += gradient_flops(problem.row_flops, labels) + len(weights) * len(inputs) * problem.row_flops[0]
        there = present(labels).any(dim=0)
        single, pairs, doubled, *groups = after.split([len(part) for part in parts])
        alone = single.diagonal()
        # Eq. (3) for A = {j} compares the step for j with itself.
        values = torch.diag(doubled.diagonal() if self.diagonal == "double" else alone)
        row = range(len(pairs))
        values[first, second], values[second, first] = pairs[row, first], pairs[row, second]
        measured = there & (alone > 0)
        gains = [
            torch.where(measured & there[list(group)].all(), 1 - losses.diagonal() / alone, torch.nan).cpu()
            for group, losses in zip(self.groups, groups, strict=True)
        ]
        self._group_gains.append(torch.stack(gains) if gains else torch.empty(0, n_tasks))
        return torch.where(measured[:, None] & there, 1 - values / alone[:, None], torch.nan)

    def _losses_after(
        self, problem: Problem, moment: Moment, names: list[str], gradients: Named, weights: Tensor, rate: float
    ) -> Tensor:
        """The n losses after the trial steps whose gradients `weights` add up, with shape (rows of weights, n)."""
        combined = {
            # Its own parameters get a task's gradient once at most.
            name: torch.tensordot((weights if name in names else weights.clamp(max=1)).to(gradient), gradient, dims=1)
            for name, gradient in gradients.items()
        }
        moved = (
            gradient_steps(moment.network, combined, rate)
            if self.step == "gradient"
            else optimiser_steps(moment.network, combined, moment.optimiser)
        )
        return losses_after(moment.network, problem.tasks, moved, moment.inputs, moment.labels)

    def _attributes(self) -> dict[str, str | int | float]:
        rate = step_size(self.learning_rate, self.recipe)
        return super()._attributes() | {"step": self.step, "diagonal": self.diagonal, "learning_rate": rate}
