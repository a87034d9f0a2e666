"""One network for each group of some groupings, and the test score of every task where it is served."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from taskgroup_core.grouping.grouping import Grouping
from taskgroup_core.matrices import FloatArray
from taskgroup_core.problems.problem import Problem
from taskgroup_core.training.evaluate import evaluate
from taskgroup_core.training.recipe import Recipe
from taskgroup_core.training.stacked import fit_many


def served_scores(
    problem: Problem, groupings: Sequence[Grouping], recipe: Recipe, seeds: Sequence[int], device: torch.device
) -> FloatArray:
    """The test score of each task in the group that serves it; a group that several groupings share is trained once.

    Parameters
    ----------
    problem, recipe, device : what is trained, how and where.
    groupings : of the problem's tasks.
    seeds : one for each replicate; all networks of a replicate start from it.

    Returns
    -------
    Scores with shape (groupings, replicates, n).

    References
    ----------
    Principled task grouping, Section 5.
    """
    groups = sorted({group for grouping in groupings for group in grouping.groups})
    served = np.empty((len(groupings), len(seeds), problem.n_tasks))
    for r, seed in enumerate(seeds):
        fitted = fit_many(problem, groups, recipe, [seed] * len(groups), device)
        score = {
            group: evaluate(one.network, problem, "test", group, device)["score"]
            for group, one in zip(groups, fitted, strict=True)
        }
        for row, choice in enumerate(groupings):
            served[row, r] = [score[choice.groups[group]][task] for task, group in enumerate(choice.served_by)]
    return served
