"""Groups from transfer gains under a largest or a smallest size, against random groups within the same limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from taskgroup_core.affinity.transfer_gain import TransferGainAffinity
from taskgroup_core.errors import InputError
from taskgroup_core.grouping.grouping import Grouping, average_density
from taskgroup_core.grouping.programming import ProgrammingGrouper
from taskgroup_core.grouping.random_choice import random_groups
from taskgroup_core.matrices import FloatArray
from taskgroup_core.problems.problem import Problem
from taskgroup_core.runs.checkpoint import Checkpoint
from taskgroup_core.runs.provenance import measured, provenance
from taskgroup_core.runs.record import Arrays, RunRecord
from taskgroup_core.runs.served_scores import served_scores
from taskgroup_core.runs.stages import stages
from taskgroup_core.seeds import derive
from taskgroup_core.training.recipe import Recipe


@dataclass(frozen=True)
class SizeLimitParameters:
    """What the study is asked.

    Parameters
    ----------
    n_groups : m.
    largest, smallest : size limits to try, one at a time.
    epochs, batch_size, every : of the joint training, and the steps between two collections of gains.
    learning_rate : of Adam, in every training, and of the gradient steps that are tried.
    steps : full-batch steps that each group's network trains for.
    replicates : trainings of every group.
    random_groupings : random choices for each limit.
    seed : decides everything random.

    Raises
    ------
    InputError : no limit, or fewer than 2 replicates.
    """

    n_groups: int
    largest: tuple[int, ...]
    smallest: tuple[int, ...]
    epochs: int = 30
    batch_size: int = 100
    every: int = 5
    learning_rate: float = 0.01
    steps: int = 100
    replicates: int = 3
    random_groupings: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.largest or not self.smallest:
            raise InputError("largest, smallest", "no size", "Give at least one of each.")
        if self.replicates < 2:
            raise InputError("replicates", str(self.replicates), "Train every group twice or more.")


def size_limit_study(
    problem: Problem,
    parameters: SizeLimitParameters,
    device: torch.device,
    *,
    progress: bool = True,
    data: Sequence[Path | str] = (),
    checkpoint: Checkpoint | None = None,
) -> RunRecord:
    """Choose groups under each limit by the programme and at random, train them, and score every task.

    Parameters
    ----------
    problem, parameters, device : what is asked, and where to compute.
    progress : show a text bar.
    data : the files the problem was read from, for the provenance.
    checkpoint : where finished slices are kept.

    Returns
    -------
    A record with the arrays `gain` (transfer gain [target, source] with the double step on the diagonal, shape (n, n)),
    `objective` (of each choice, equation (6), with shape (choices,)) and `served` (test score of every task in the
    group that serves it, with shape (choices, replicates, n)). The result `choices` lists "limit" ("largest" or
    "smallest"), "size", "by" ("programme" or "random") and "groups".

    Raises
    ------
    InputError : see `CollectedAffinity.affinity`, `ProgrammingGrouper` and `random_groups`.

    References
    ----------
    Principled task grouping, Section 5.4, Equation (7) and Figure 2.

    Deviations
    ----------
    1. A task in several groups is served by the one where its row of the gains is highest, for random groups too; the
       paper takes the best outcome on the test examples.
    2. The paper does not say for how many groups its figure is.
    """
    p = parameters
    with measured(device) as cost, stages(checkpoint, 2, progress) as stage:
        gain = stage("gain", partial(_collect, problem, p, device))["gain"]
        choices = _choose(p, gain)
        groupings = [_grouping(gain, choice["groups"]) for choice in choices]
        recipe = Recipe(epochs=p.steps, batch_size=len(problem.inputs), learning_rate=p.learning_rate)
        seeds = [derive(p.seed, "groups", r) for r in range(p.replicates)]
        served = stage("groups", lambda: {"served": served_scores(problem, groupings, recipe, seeds, device)})
    objective = np.array([p.n_groups * average_density(gain, choice["groups"]) for choice in choices])
    results = {"tasks": list(problem.task_names), "choices": choices}
    arrays = {"gain": gain, "objective": objective} | served
    return RunRecord("size_limits", asdict(p), results, arrays, provenance(device, cost, p.seed, data))


def _collect(problem: Problem, p: SizeLimitParameters, device: torch.device) -> Arrays:
    joint = Recipe(epochs=p.epochs, batch_size=p.batch_size, learning_rate=p.learning_rate)
    estimator = TransferGainAffinity(joint, p.seed, device, every=p.every, diagonal="double")
    return {"gain": estimator.affinity(problem).values}


def _choose(p: SizeLimitParameters, gain: FloatArray) -> list[dict[str, Any]]:
    choices: list[dict[str, Any]] = []
    for limit, argument in (("largest", "max_size"), ("smallest", "min_size")):
        for size in getattr(p, limit):
            best = ProgrammingGrouper(p.n_groups, **{argument: size}).fit(gain)
            choices.append({"limit": limit, "size": size, "by": "programme", "groups": best.groups_})
            for number in range(p.random_groupings):
                seed = derive(p.seed, limit, size, number)
                groups = random_groups(len(gain), p.n_groups, **{argument: size}, random_state=seed)
                choices.append({"limit": limit, "size": size, "by": "random", "groups": groups})
    return choices


def _grouping(gain: FloatArray, groups: tuple[tuple[int, ...], ...]) -> Grouping:
    rows = np.full((len(gain), len(groups)), -np.inf)
    for place, group in enumerate(groups):
        rows[group, place] = gain[np.ix_(group, group)].mean(axis=1)
    return Grouping(groups, tuple(rows.argmax(axis=1).tolist()))
