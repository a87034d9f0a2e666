"""f(S, t) as it is defined: train a network on the subset, then score it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import xarray as xr

from taskgroup_core.device import resolve_device
from taskgroup_core.matrices import FloatArray, make_scores
from taskgroup_core.problems.problem import Problem, Split
from taskgroup_core.subsets import Subsets, check_subsets
from taskgroup_core.training.evaluate import evaluate
from taskgroup_core.training.fit import Recipe, fit


class FullTraining:
    """The multitask learning algorithm f of GRAD-TAG's Definition 2.1: one training a subset.

    Parameters
    ----------
    problem : the tasks and their examples.
    recipe : how each network is trained.
    seed : one replicate of f. All subsets start from the same initialisation, so that their difference is the subset.
    device : where to train.
    split : the examples that are scored; "val" for decisions, "test" only for the final figures.

    Attributes
    ----------
    flops : operations spent on training so far; equal subsets are trained once.
    """

    def __init__(
        self,
        problem: Problem,
        recipe: Recipe,
        seed: int,
        device: str | torch.device = "auto",
        split: Split = "val",
    ) -> None:
        self.problem, self.recipe, self.seed, self.split = problem, recipe, seed, split
        self.device = resolve_device(device)
        self.flops = 0
        self._known: dict[bytes, dict[str, FloatArray]] = {}

    @property
    def task_names(self) -> Sequence[str]:
        """The n task names."""
        return self.problem.task_names

    def scores(self, subsets: Subsets) -> xr.Dataset:
        """Scores "score" and "negative_loss" of `subsets`, a membership matrix with shape (m, n).

        Raises
        ------
        InputError : see `check_subsets` and `fit`.
        """
        member = check_subsets(subsets, self.problem.n_tasks)
        rows = [self._score(row) for row in member]
        values = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
        return make_scores(values, member, self.task_names, method="full training", seed=self.seed, split=self.split)

    def _score(self, row: Subsets) -> dict[str, FloatArray]:
        key = row.tobytes()
        if key not in self._known:
            subset = np.flatnonzero(row).tolist()
            fitted = fit(self.problem, subset, self.recipe, self.seed, self.device)
            self.flops += fitted.flops
            self._known[key] = evaluate(fitted.network, self.problem, self.split, subset, self.device)
        return self._known[key]
