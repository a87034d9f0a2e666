"""What replicates of full training give: pairwise T*, and f(S, t) on the validation and the test examples at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import xarray as xr

from taskgroup_core.affinity.full_training import FullTraining
from taskgroup_core.affinity.pairwise import pairwise_affinity
from taskgroup_core.matrices import FloatArray, make_scores
from taskgroup_core.problems.problem import Problem
from taskgroup_core.runs.record import Arrays
from taskgroup_core.scores import present
from taskgroup_core.subsets import Subsets, pairs
from taskgroup_core.training.epochs import training_flops
from taskgroup_core.training.evaluate import evaluate
from taskgroup_core.training.recipe import Recipe
from taskgroup_core.training.stacked import fit_each

METRICS = ("score", "negative_loss")


def pairwise_truth(problem: Problem, recipe: Recipe, seed: int, device: torch.device) -> Arrays:
    """One replicate of pairwise T*: each metric with shape (n, n), and the "flops" of its trainings.

    Parameters
    ----------
    problem, recipe, seed, device : as of `FullTraining`.
    """
    algorithm = FullTraining(problem, recipe, seed, device)
    scores = algorithm.scores(pairs(problem.n_tasks))
    arrays = {metric: pairwise_affinity(scores[metric]).values for metric in METRICS}
    return arrays | {"flops": np.array(algorithm.flops)}


def score_both_splits(problem: Problem, subsets: Subsets, recipe: Recipe, seed: int, device: torch.device) -> Arrays:
    """One replicate: "SPLIT.METRIC" with shape (m, n), for the validation and the test examples.

    Parameters
    ----------
    problem, recipe, seed, device : as of `FullTraining`.
    subsets : membership matrix with shape (m, n).
    """
    members = [np.flatnonzero(row).tolist() for row in subsets]
    arrays: dict[str, FloatArray] = {}
    for row, fitted in fit_each(problem, members, recipe, [seed] * len(members), device):
        for split in ("val", "test"):
            for metric, values in evaluate(fitted.network, problem, split, members[row], device).items():
                arrays.setdefault(f"{split}.{metric}", np.full(subsets.shape, np.nan))[row] = values
    return arrays


def as_scores(problem: Problem, subsets: Subsets, arrays: Arrays, split: str) -> xr.Dataset:
    """The scores of one replicate on one split, labelled."""
    values = {metric: arrays[f"{split}.{metric}"] for metric in METRICS}
    return make_scores(values, subsets, problem.task_names)


def training_cost(problem: Problem, subsets: Subsets, recipe: Recipe) -> list[int]:
    """Operations of each subset's training AND of scoring it on its validation examples, with length m.

    Scoring is a fiftieth of a training of 30 epochs and most of one of a single epoch, so that a comparison of
    shortened trainings has to count it.
    """
    known = present(problem.table("val")[1])
    forward = problem.row_flops[0]

    def one(members: Sequence[int]) -> int:
        return training_flops(problem, members, recipe) + forward * int(known[:, list(members)].any(dim=1).sum())

    return [one(np.flatnonzero(row).tolist()) for row in subsets]
