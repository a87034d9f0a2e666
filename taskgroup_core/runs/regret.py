"""What an affinity estimate costs in the end: the test score of the groups that are chosen from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from taskgroup_core.errors import InputError
from taskgroup_core.grouping.exhaustive import ExhaustiveGrouper
from taskgroup_core.grouping.grouping import check_n_groups
from taskgroup_core.matrices import FloatArray
from taskgroup_core.subsets import check_subsets

MOST_TASKS = 9  # S(9, 4) = 7,770 partitions; 2^9 - 1 = 511 trainings a replicate


def all_partitions(n_tasks: int, n_groups: int) -> NDArray[np.int64]:
    """Labels of all partitions into k groups that are not empty, with shape (S(n, k), n); the first task has label 0.

    Raises
    ------
    InputError : more than nine tasks, or a number of groups outside 1 to n.
    """
    if n_tasks > MOST_TASKS:
        raise InputError("n_tasks", str(n_tasks), f"Enumerate the partitions of at most {MOST_TASKS} tasks.")
    check_n_groups(n_groups, n_tasks)
    rows = [[0]]
    for _ in range(n_tasks - 1):  # a new label is the next one that is free: each partition is written once
        rows = [[*row, label] for row in rows for label in range(min(max(row) + 2, n_groups))]
    return np.array([row for row in rows if max(row) == n_groups - 1])


def score_partitions(table: xr.DataArray, labels: NDArray[np.int64]) -> FloatArray:
    """The mean over tasks of f(the task's group, task), with shape (P,), read from a table of all subsets.

    Parameters
    ----------
    table : one metric of `MultitaskAlgorithm.scores(all_subsets(n))`, dims ("subset", "task").
    labels : groups of each partition, with shape (P, n).

    Raises
    ------
    InputError : a group that is not in the table.
    """
    member = check_subsets(table["member"].values, table.sizes["task"])
    bits = 1 << np.arange(member.shape[1])
    row_of = np.full(1 << member.shape[1], -1)
    row_of[member @ bits] = np.arange(len(member))
    together = labels[:, :, None] == labels[:, None, :]  # [partition, task, member of the task's group]
    rows = row_of[together @ bits]
    if (rows < 0).any():
        raise InputError("table", "no score of some group", "Score all the subsets of `all_subsets(n)`.")
    scores: FloatArray = table.values[rows, np.arange(member.shape[1])].mean(axis=1)
    return scores


def regret_rows(
    estimates: Mapping[str, xr.DataArray], validation: xr.DataArray, test: xr.DataArray, n_groups: int
) -> list[dict[str, Any]]:
    """The test score of the groups that the exhaustive grouper takes from each estimate, beside what there was to gain.

    Parameters
    ----------
    estimates : name -> affinity.
    validation, test : f(S, t) of all subsets on the two splits, one metric, mean over replicates.
    n_groups : k.

    Returns
    -------
    A row for each estimate: "chosen by", "groups", "test_score", "regret" (the test score of the groups that are best
    on the validation examples, minus this one's) and "beaten" (the share of all partitions into k groups that score
    less). Then rows for "best on validation" (the search that T* stands in for), for "best on test" (an upper bound: it
    has seen the test examples) and for "random": the mean over all partitions, without groups, with its "spread" (the
    standard deviation over them).

    Raises
    ------
    InputError : see `all_partitions`, `score_partitions` and `ExhaustiveGrouper`.
    """
    labels = all_partitions(test.sizes["task"], n_groups)
    on_validation, on_test = score_partitions(validation, labels), score_partitions(test, labels)
    reference = on_test[on_validation.argmax()]

    def row(name: str, chosen: NDArray[np.int64]) -> dict[str, Any]:
        score = float(score_partitions(test, chosen[None])[0])
        groups = [np.flatnonzero(chosen == group).tolist() for group in range(n_groups)]
        regret, beaten = float(reference - score), float((on_test < score).mean())
        return {"chosen by": name, "groups": groups, "test_score": score, "regret": regret, "beaten": beaten}

    rows = [row(name, ExhaustiveGrouper(n_groups).fit(estimate).labels_) for name, estimate in estimates.items()]
    rows.append(row("best on validation", labels[on_validation.argmax()]))
    rows.append(row("best on test", labels[on_test.argmax()]))
    mean = float(on_test.mean())
    below = float((on_test < mean).mean())
    random = {"test_score": mean, "regret": float(reference - mean), "beaten": below, "spread": float(on_test.std())}
    return [*rows, {"chosen by": "random", "groups": None, **random}]
