"""TAG: how one step for task i changes the loss of task j (Task Affinity Groupings)."""

from __future__ import annotations

from typing import Literal

import torch
import xarray as xr
from torch import Tensor

from taskgroup_core.affinity.collected import CollectedAffinity, Window, check_choice, step_size
from taskgroup_core.affinity.dense_layers import dense_layers
from taskgroup_core.affinity.task_gradients import gradient_flops, gradient_parts, gradient_rows
from taskgroup_core.affinity.trial_steps import losses_after, losses_after_steps, optimiser_steps
from taskgroup_core.problems.problem import Problem
from taskgroup_core.scores import present
from taskgroup_core.training.epochs import Moment
from taskgroup_core.training.recipe import Recipe
from taskgroup_core.training.shared_parameters import Shared, shared_parameters


class LookaheadAffinity(CollectedAffinity):
    """T[j, i], the mean over steps of Z(i -> j) = 1 - L_j(theta_s after a step for task i, theta_j) / L_j(theta).

    Parameters
    ----------
    recipe : how all tasks are trained together.
    seed : decides the initialisation, the order of the inputs, the dropout and the validation batches.
    device : where to train.
    every : interval between two collections, in steps; the paper takes 10.
    window : part of the training in which to collect: "all", the "first", "middle" or "final" quarter of its steps,
        or two shares of it, as (0, 0.5).
    shared : which parameters are shared, see `shared_parameters`.
    learning_rate : eta of the trial step; None for the training's present one. Not used with step="optimiser".
    step : "gradient" for the paper's theta_s - eta grad L_i; "optimiser" for the step that the training's optimiser
        would make on that gradient from its present state, which holds the moments of the summed loss.
    split : the batch on which the losses of the ratio are taken: "train", the one of the step, or "val", one drawn
        anew from the validation examples.

    Attributes
    ----------
    flops : operations spent so far, the training included.
    trace_ : Z of every collection, dims ("step", "target", "source"), with the coordinate "epoch":
        `trace_.groupby("epoch").mean()` is the course over epochs.

    Raises
    ------
    InputError : a bad argument (when `affinity` is called), or see `CollectedAffinity.affinity`.

    References
    ----------
    Fifty et al., Efficiently Identifying Task Groupings for Multi-Task Learning, 2021, Eq. (1), section 5.2 and
    Table 2 (intervals and quarters); the authors' released code for step="optimiser".

    Deviations
    ----------
    1. The network that is looked at is in evaluation mode: no dropout, and batch norm with its running statistics.
       The paper does not say; the released code normalises with the batch.
    2. The released code divides Z by the learning rate, which is only a scale where the rate is constant.
    3. Training uses the optimiser of the recipe, by default Adam; the paper writes SGD, for simplicity.
    4. Steps at which a task has no label in the batch, or a loss of exactly 0, do not count for that task.
    5. Where that costs less, plain gradient steps of linear layers are made on their outputs (see `dense_layers`),
       which is the same but for rounding.
    """

    method = "TAG"

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
        split: Literal["train", "val"] = "train",
    ) -> None:
        super().__init__(recipe, seed, device, every=every, window=window, shared=shared)
        self.learning_rate, self.step, self.split = learning_rate, step, split

    def affinity(self, problem: Problem) -> xr.DataArray:
        """Train on all tasks of `problem` and return the averaged T[target, source]; sets `trace_`.

        Raises
        ------
        InputError : see the class.
        """
        check_choice("step", self.step, ("gradient", "optimiser"))
        check_choice("split", self.split, ("train", "val"))
        self._dense = {}
        if self.step == "gradient":
            network = problem.network(self.seed).eval()
            names = shared_parameters(network, problem.n_outputs, self.shared)
            self._dense = dense_layers(network, names, problem.inputs[:3])
        return super().affinity(problem)

    def _measure(self, problem: Problem, moment: Moment, names: list[str]) -> Tensor:
        rate = step_size(self.learning_rate, self.recipe, moment.epoch)
        network, tasks, inputs, labels = moment.network, problem.tasks, moment.inputs, moment.labels
        forward = problem.row_flops[0]
        judged = (inputs, labels) if self.split == "train" else self._validation_batch(problem)
        sizes = len(tasks), gradient_rows(labels), len(judged[0])
        saved = {name: layer.saved_flops(*sizes) for name, layer in self._dense.items()}
        dense = {name: layer for name, layer in self._dense.items() if saved[name] > 0}
        self.flops += gradient_flops(problem.row_flops, labels) + len(judged[0]) * forward * len(tasks)
        self.flops -= sum(saved[name] for name in dense)
        losses, after = [], []
        # Part by part, so that the gradients of all tasks never lie in memory together.
        for gradients, values in gradient_parts(network, names, tasks, inputs, labels, dense):
            losses.append(values)
            if self.step == "gradient":
                after.append(losses_after_steps(network, tasks, gradients, rate, *judged))
            else:
                moved = optimiser_steps(network, gradients.parameters, moment.optimiser)
                after.append(losses_after(network, tasks, moved, *judged))
        before = torch.cat(losses)
        if self.split == "val":
            here = {name: network.get_parameter(name).detach()[None] for name in names}
            before = losses_after(network, tasks, here, *judged)[0]
            self.flops += len(judged[0]) * forward
        source_present = present(labels).any(dim=0)
        target_present = present(judged[1]).any(dim=0) & (before > 0)
        # Rows of `after` are sources.
        ratio = (torch.cat(after) / before).T
        return torch.where(target_present[:, None] & source_present, 1 - ratio, torch.nan)

    def _attributes(self) -> dict[str, str | int | float]:
        rate = step_size(self.learning_rate, self.recipe)
        return super()._attributes() | {"step": self.step, "split": self.split, "learning_rate": rate}
