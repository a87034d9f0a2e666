"""f(S, t) as it is defined: train a network on the subset, then score it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
import xarray as xr

from taskgroup_core.device import resolve_device
from taskgroup_core.errors import InputError
from taskgroup_core.matrices import FloatArray, make_scores
from taskgroup_core.problems.problem import Problem, Split
from taskgroup_core.subsets import Subsets, check_subsets
from taskgroup_core.training.evaluate import evaluate
from taskgroup_core.training.recipe import Recipe
from taskgroup_core.training.stacked import fit_each


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
        InputError : see `check_subsets` and `fit_many`.

        Warns
        -----
        NotStackedWarning : see `fit_many`.
        """
        member = check_subsets(subsets, self.problem.n_tasks)
        new = [row for row in np.unique(member, axis=0) if row.tobytes() not in self._known]
        for row, scores, flops in _each_score(
            self.problem, new, self.recipe, [self.seed] * len(new), self.device, self.split
        ):
            self._known[new[row].tobytes()] = scores
            self.flops += flops
        rows = [self._known[row.tobytes()] for row in member]
        values = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
        return make_scores(values, member, self.task_names, method="full training", seed=self.seed, split=self.split)


def replicated_scores(
    problem: Problem,
    subsets: Subsets,
    recipe: Recipe,
    seeds: Sequence[int],
    device: str | torch.device = "auto",
    split: Split = "val",
) -> xr.Dataset:
    """Replicates of `FullTraining`, one a seed: "score" and "negative_loss", dims ("replicate", "subset", "task").

    All networks are trained together, so that R replicates share their stacks; the attribute "flops" is their cost.

    Parameters
    ----------
    problem, recipe, device, split : as of `FullTraining`.
    subsets : membership matrix with shape (m, n).
    seeds : one a replicate, all different; they are the coordinate "replicate".

    Raises
    ------
    InputError : no seed or a repeated one; see `check_subsets` and `fit_many`.

    Warns
    -----
    NotStackedWarning : see `fit_many`.
    """
    if not len(seeds) or len(set(seeds)) < len(seeds):
        raise InputError("seeds", str(list(seeds)), "Give one seed or more, all different.")
    member = check_subsets(subsets, problem.n_tasks)
    distinct, which = np.unique(member, axis=0, return_inverse=True)
    rows, own = list(distinct) * len(seeds), [seed for seed in seeds for _ in distinct]
    found, total = {}, 0
    for row, scores, flops in _each_score(problem, rows, recipe, own, resolve_device(device), split):
        found[row] = scores
        total += flops
    parts = []
    for start in range(0, len(rows), len(distinct)):
        values = {name: np.stack([found[start + row][name] for row in which.ravel().tolist()]) for name in found[0]}
        parts.append(make_scores(values, member, problem.task_names))
    replicates = xr.concat(parts, xr.DataArray(list(seeds), dims="replicate", name="replicate"))
    replicates = replicates.assign_coords(member=parts[0]["member"])
    return replicates.assign_attrs(method="full training", split=split, flops=total)


def mean_and_error(replicates: xr.Dataset) -> xr.Dataset:
    """Mean over the replicates of every metric, and its standard error under the metric's name with "_error".

    Parameters
    ----------
    replicates : of `replicated_scores`, with R replicates.

    Raises
    ------
    InputError : fewer than two replicates, which have no standard error.
    """
    count = replicates.sizes.get("replicate", 0)
    if count < 2:
        raise InputError("replicates", f"{count} of them", "Train two or more seeds.")
    error = replicates.std("replicate", ddof=1) / count**0.5
    return replicates.mean("replicate").merge(error.rename({name: f"{name}_error" for name in error.data_vars}))


def _each_score(
    problem: Problem, rows: Sequence[Subsets], recipe: Recipe, seeds: Sequence[int], device: torch.device, split: Split
) -> Iterator[tuple[int, dict[str, FloatArray], int]]:
    """Train every row and score it: its position, its scores and its FLOPs; networks are not kept."""
    if rows:
        members = [np.flatnonzero(row).tolist() for row in rows]
        for row, fitted in fit_each(problem, members, recipe, seeds, device):
            yield row, evaluate(fitted.network, problem, split, members[row], device), fitted.flops
