"""What every way of grouping loses in f where f is known: half of the trainings choose, the other half judge."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import pandas as pd
import torch
import xarray as xr
from scipy.stats import spearmanr

from taskgroup_core.algorithm import MultitaskAlgorithm
from taskgroup_core.errors import InputError
from taskgroup_core.grouping.grouping import Grouping, average_density
from taskgroup_core.grouping.selection import BackwardSelection, ForwardSelection
from taskgroup_core.problems.problem import Problem
from taskgroup_core.runs.checkpoint import Checkpoint
from taskgroup_core.runs.grouper_comparison import ScoreTable
from taskgroup_core.runs.regret import all_partitions, score_partitions
from taskgroup_core.runs.stages import stages
from taskgroup_core.runs.true_scores import as_scores, score_both_splits
from taskgroup_core.seeds import derive
from taskgroup_core.subsets import all_subsets
from taskgroup_core.training.recipe import Recipe

METRIC = "negative_loss"
SELECTIONS = {"forward": ForwardSelection, "backward": BackwardSelection}


def score_halves(
    problem: Problem,
    recipe: Recipe,
    replicates: int,
    seed: int,
    device: torch.device,
    *,
    checkpoint: Checkpoint | None = None,
    progress: bool = True,
) -> tuple[xr.DataArray, xr.DataArray]:
    """Train every subset of the tasks several times, and split the trainings into those that choose and that judge.

    Parameters
    ----------
    problem, recipe, seed, device : as of `FullTraining`; at most nine tasks.
    replicates : trainings of every subset; half of them, rounded down, choose.
    checkpoint, progress : where finished replicates are kept, and whether to show a text bar.

    Returns
    -------
    Negative losses: of the first half on the validation examples, mean over replicates, dims ("subset", "task"); and of
    the second half on the TEST examples, dims ("replicate", "subset", "task"). Nothing that was drawn for the one
    enters the other, but the training examples are the same.

    Raises
    ------
    InputError : fewer than four replicates: two that judge are the least from which an error can be had.
    """
    if replicates < 4:
        raise InputError("replicates", str(replicates), "Train every subset four times or more.")
    member, half = all_subsets(problem.n_tasks), replicates // 2
    tables = []
    with stages(checkpoint, replicates, progress) as stage:
        for r in range(replicates):
            train_all = partial(score_both_splits, problem, member, recipe, derive(seed, "replicate", r), device)
            split = "val" if r < half else "test"
            tables.append(as_scores(problem, member, stage(f"all {r}", train_all), split)[METRIC])
    return xr.concat(tables[:half], "replicate").mean("replicate"), xr.concat(tables[half:], "replicate")


def best_partition_of(table: xr.DataArray, n_groups: int) -> Grouping:
    """The partition into k groups with the highest f in a table of all subsets."""
    labels = all_partitions(table.sizes["task"], n_groups)
    return Grouping.from_labels(labels[score_partitions(table, labels).argmax()])


def groups_by_scores(
    choosing: xr.DataArray, estimate: MultitaskAlgorithm, n_groups: int
) -> tuple[dict[str, Grouping], dict[str, int]]:
    """Groups of the ways that ask f itself and no affinity, and how many subsets the selections asked for.

    Parameters
    ----------
    choosing : f(S, t) of all subsets, dims ("subset", "task").
    estimate : another source of f, such as `GradTAE`.
    n_groups : k.

    Returns
    -------
    The groupings "forward, full training", "backward, full training", the same with "GRAD-TAE", "best partition, same
    half" and "best cover, same half"; and the counts of the first four.
    """
    groupings, asked = {}, {}
    for name, algorithm in {"full training": ScoreTable(choosing), "GRAD-TAE": estimate}.items():
        for word, selection in SELECTIONS.items():
            found = selection(n_groups, order="best", metric=METRIC).fit(algorithm)
            groupings[f"{word}, {name}"], asked[f"{word}, {name}"] = found.grouping_, found.n_scored_
    groupings["best partition, same half"] = best_partition_of(choosing, n_groups)
    groupings["best cover, same half"] = ScoreTable(choosing).best_cover(n_groups)
    return groupings, asked


def regrets(groupings: Mapping[str, Grouping], judges: xr.DataArray, n_groups: int) -> pd.DataFrame:
    """What each grouping loses in f against the best partition, and gains over random ones, by replicates that judge.

    Parameters
    ----------
    groupings : name -> groups.
    judges : f(S, t) of all subsets, dims ("replicate", "subset", "task"): replicates that chose none of the groups.
    n_groups : k of the partitions to compare with.

    Returns
    -------
    Columns "f" (mean over replicates and tasks); "regret" against the partition into k groups that is best by the mean
    of the judges, which flatters it; "over random": f less the mean over ALL partitions into k groups, which nothing
    flatters; and the standard error over replicates of each difference, "error" and "error over random".

    Raises
    ------
    InputError : fewer than two replicates, or see `ScoreTable` and `all_partitions`.
    """
    count = judges.sizes["replicate"]
    if count < 2:
        raise InputError("judges", f"{count} replicates", "Give two or more: the error is taken over them.")
    tables = [ScoreTable(judges[{"replicate": replicate}]) for replicate in range(count)]
    reference = best_partition_of(judges.mean("replicate"), n_groups)
    labels = all_partitions(judges.sizes["task"], n_groups)
    best = np.array([one.of_grouping(reference) for one in tables])
    random = np.array([score_partitions(one.table, labels).mean() for one in tables])
    rows = {}
    for name, grouping in groupings.items():
        found = np.array([one.of_grouping(grouping) for one in tables])
        rows[name] = {"f": found.mean()}
        for word, error, difference in (
            ("regret", "error", best - found),
            ("over random", "error over random", found - random),
        ):
            rows[name] |= {word: difference.mean(), error: difference.std(ddof=1) / count**0.5}
    return pd.DataFrame(rows).T


def density_against_f(affinity: xr.DataArray, judges: xr.DataArray, n_groups: int) -> tuple[float, float]:
    """Whether denser partitions have a higher f: rank correlation over ALL partitions into k groups, and its ceiling.

    Parameters
    ----------
    affinity : T[target, source], which gives the density.
    judges : f(S, t) of all subsets, dims ("replicate", "subset", "task").
    n_groups : k.

    Returns
    -------
    Spearman's correlation of average density and f, mean over replicates and tasks; and that of f by the first half of
    the replicates with f by the second: how far f agrees with itself.

    Raises
    ------
    InputError : see `all_partitions` and `score_partitions`.
    """
    labels = all_partitions(judges.sizes["task"], n_groups)
    density = [average_density(affinity, Grouping.from_labels(row).groups) for row in labels]
    scores = np.array([score_partitions(judge, labels) for judge in judges])
    halves = [part.mean(axis=0) for part in np.array_split(scores, 2)]
    return float(spearmanr(density, scores.mean(axis=0)).statistic), float(spearmanr(*halves).statistic)
