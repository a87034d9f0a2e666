"""Affinities that are collected along one joint training: what they have in common."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Literal

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from taskgroup_core.device import resolve_device
from taskgroup_core.errors import InputError
from taskgroup_core.matrices import make_affinity
from taskgroup_core.problems.problem import Problem
from taskgroup_core.seeds import torch_generator
from taskgroup_core.training.epochs import Moment
from taskgroup_core.training.joint import joint_steps, joint_training
from taskgroup_core.training.recipe import Recipe
from taskgroup_core.training.shared_parameters import Shared, shared_parameters

Window = Literal["all", "first", "middle", "final"]
WINDOWS: dict[str, tuple[float, float]] = {
    "all": (0, 1),
    "first": (0, 0.25),
    "middle": (0.375, 0.625),
    "final": (0.75, 1),
}


class CollectedAffinity(ABC):
    """Trains all tasks together, measures a matrix every few steps, and averages.

    Subclasses name their `method` and measure one matrix. A task without a label in a batch leaves NaN in its row
    and column; the average is over the steps that have a number. Windows are shares of the recipe's steps, also where
    its `patience` ends the training before them.
    """

    method: str
    trace_: xr.DataArray

    def __init__(
        self,
        recipe: Recipe,
        seed: int = 0,
        device: str | torch.device = "auto",
        *,
        every: int = 10,
        window: Window | tuple[float, float] = "all",
        shared: Shared | None = None,
    ) -> None:
        self.recipe, self.seed, self.device = recipe, seed, device
        self.every, self.window, self.shared = every, window, shared
        self.flops = 0

    @abstractmethod
    def _measure(self, problem: Problem, moment: Moment, names: list[str]) -> Tensor:
        """The matrix [target, source] of one moment, NaN where it cannot be had; adds its cost to `flops`."""

    def affinity(self, problem: Problem) -> xr.DataArray:
        """Train on all tasks of `problem` and return the averaged T[target, source]; sets `trace_`.

        Raises
        ------
        InputError : see `joint_training` and `shared_parameters`; a window that holds no collection; a pair that was
            never measured.
        """
        steps = joint_steps(problem, self.recipe)
        start, stop = (share * steps for share in self._window())
        moments: list[tuple[int, int]] = []
        matrices: list[Tensor] = []
        names = shared_parameters(problem.network(self.seed), problem.n_outputs, self.shared)
        self._draw = torch_generator(self.seed, "validation batches")

        def observe(moment: Moment) -> None:
            if start <= moment.step < stop:
                moment.network.eval()
                matrices.append(self._measure(problem, moment, names).cpu())
                moment.network.train()
                moments.append((moment.step, moment.epoch))

        fitted = joint_training(problem, self.recipe, self.seed, self.device, observe=observe, every=self.every)
        self.flops += fitted.flops
        if not matrices:
            raise InputError(
                "window", f"{self.window!r}: none of the {steps} steps", "Widen it, or collect more often."
            )
        self.trace_ = xr.DataArray(
            torch.stack(matrices).double().numpy(),
            dims=("step", "target", "source"),
            coords={
                "step": [step for step, _ in moments],
                "epoch": ("step", [epoch for _, epoch in moments]),
                "target": list(problem.task_names),
                "source": list(problem.task_names),
            },
        )
        mean = self.trace_.mean("step", skipna=True).values
        if not np.isfinite(mean).all():
            target, source = np.argwhere(~np.isfinite(mean))[0]
            raise InputError(
                "recipe",
                f"no batch that measures target {target} and source {source}",
                "Raise batch_size or epochs, or collect more often.",
            )
        return make_affinity(mean, problem.task_names, method=self.method, **self._attributes())

    def _window(self) -> tuple[float, float]:
        window = WINDOWS.get(self.window) if isinstance(self.window, str) else self.window
        if not isinstance(window, (tuple, list)) or len(window) != 2 or not 0 <= window[0] < window[1] <= 1:
            raise InputError("window", repr(self.window), f"Use one of {', '.join(WINDOWS)}, or two shares of 1.")
        return window[0], window[1]

    def _attributes(self) -> dict[str, str | int | float]:
        window = self._window()
        return {
            "seed": self.seed,
            "every": self.every,
            "window": f"{window[0]:g} to {window[1]:g}",
            "optimiser": self.recipe.optimiser,
            "momentum": self.recipe.momentum,
        }

    def _validation_batch(self, problem: Problem) -> tuple[Tensor, Tensor]:
        """As many validation inputs as a training batch has, drawn anew at each call."""
        used, labels = problem.table("val")
        rows = torch.randperm(len(used), generator=self._draw)[: self.recipe.batch_size]
        place = resolve_device(self.device)
        return problem.inputs[used[rows]].to(place), labels[rows].to(place)


def check_choice(argument: str, value: str, choices: tuple[str, ...]) -> None:
    """Refuse a value that is not among the choices."""
    if value not in choices:
        raise InputError(argument, repr(value), f"Use one of {', '.join(choices)}.")


def step_size(learning_rate: float | None, recipe: Recipe, epoch: int = 0) -> float:
    """The step size eta of a trial step: the one given, or the recipe's in this epoch.

    Raises
    ------
    InputError : a step size that is not positive and finite.
    """
    if learning_rate is None:
        return recipe.learning_rate * recipe.rate_factor(epoch)
    if not 0 < learning_rate < math.inf:
        raise InputError("learning_rate", repr(learning_rate), "Use a positive number, or None for the recipe's.")
    return learning_rate
