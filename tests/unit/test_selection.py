"""Forward and backward selection against plain loops, and what they ask of the algorithm."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pytest
import xarray as xr

from taskgroup_core.affinity.full_training import FullTraining
from taskgroup_core.errors import InputError
from taskgroup_core.grouping.selection import BackwardSelection, ForwardSelection
from taskgroup_core.matrices import FloatArray, make_scores
from taskgroup_core.subsets import Subsets
from taskgroup_core.training.recipe import Recipe
from tests.small import small_problem


class Table:
    """f(S, t) from a table of random numbers, or from pairs: mean of T[t, s] over the members, t included."""

    flops = 0

    def __init__(self, n_tasks: int, seed: int = 0, affinity: FloatArray | None = None) -> None:
        generator = np.random.default_rng(seed)
        self.task_names: Sequence[str] = [f"t{index}" for index in range(n_tasks)]
        self.asked: list[tuple[int, ...]] = []
        sizes = range(1, n_tasks + 1)
        self.values = {
            subset: generator.standard_normal(n_tasks) if affinity is None else affinity[:, list(subset)].mean(axis=1)
            for size in sizes
            for subset in combinations(range(n_tasks), size)
        }

    def scores(self, subsets: Subsets) -> xr.Dataset:
        rows = [tuple(np.flatnonzero(row).tolist()) for row in subsets]
        self.asked += rows
        return make_scores({"score": np.stack([self.values[row] for row in rows])}, subsets, self.task_names)

    def mean(self, groups: Sequence[Sequence[int]]) -> float:
        total = sum(self.values[tuple(sorted(group))][list(group)].sum() for group in groups if group)
        return float(total) / sum(map(len, groups))


def forward_by_loops(table: Table, k: int, order: str) -> float:
    groups: list[list[int]] = [[] for _ in range(k)]
    left = list(range(len(table.task_names)))
    while left:
        tried = {}
        for task in left[:1] if order == "given" else left:
            for g in range(k):
                new = [[*group, task] if h == g else group for h, group in enumerate(groups)]
                tried[task, g] = table.mean(new)
        task, g = max(tried, key=tried.__getitem__)
        groups[g] = groups[g] + [task]
        left.remove(task)
    return table.mean(groups)


def backward_by_loops(table: Table, k: int) -> float:
    groups = [list(range(len(table.task_names)))] + [[] for _ in range(k - 1)]
    for task in range(len(table.task_names)):
        without = [[t for t in group if t != task] for group in groups]
        options = [[[*group, task] if h == g else group for h, group in enumerate(without)] for g in range(k)]
        groups = max(options, key=table.mean)
    return table.mean(groups)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("k", [1, 2, 3])
def test_against_plain_loops(seed: int, k: int) -> None:
    table = Table(5, seed)
    for order in ("given", "best"):
        assert ForwardSelection(k, order=order).fit(table).objective_ == pytest.approx(
            forward_by_loops(table, k, order)
        )
    found = BackwardSelection(k).fit(table)
    assert found.objective_ == pytest.approx(backward_by_loops(table, k))
    assert found.objective_ == pytest.approx(table.mean(found.groups_))


@pytest.mark.parametrize("selection", [ForwardSelection, BackwardSelection])
def test_planted_families_are_found_and_no_subset_is_scored_twice(selection: type[ForwardSelection]) -> None:
    affinity = np.kron(np.eye(2), np.ones((3, 3)))[[0, 3, 1, 4, 2, 5]][:, [0, 3, 1, 4, 2, 5]]
    table = Table(6, affinity=affinity)
    found = selection(2).fit(table)
    assert found.groups_ == ((0, 2, 4), (1, 3, 5)) and found.objective_ == 1
    assert len(table.asked) == len(set(table.asked)) == found.n_scored_
    assert "subsets scored" in found.status_


def test_given_order_asks_for_few_subsets() -> None:
    table = Table(7)
    ForwardSelection(3).fit(table)
    few = len(table.asked)
    ForwardSelection(3, order="best").fit(table)
    assert few <= 7 * 3 < len(table.asked) - few


def test_groups_may_stay_empty_and_the_status_says_so() -> None:
    alike = Table(4, affinity=np.ones((4, 4)) - 10 * np.eye(4))  # every further member dilutes the loss
    found = ForwardSelection(3).fit(alike)
    assert len(found.groups_) == 1 and "only 1 of 3 groups are used" in found.status_


def test_by_full_training() -> None:
    algorithm = FullTraining(small_problem(), Recipe(epochs=3), 0, "cpu")
    found = BackwardSelection(2, metric="negative_loss").fit(algorithm)
    own = algorithm.scores(np.stack([found.labels_ == g for g in range(len(found.groups_))]))["negative_loss"]
    assert found.objective_ == pytest.approx(float(own.sum() / 4))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"n_groups": 0}, "n_groups"),
        ({"n_groups": 6}, "n_groups"),
        ({"n_groups": 2, "order": "worst"}, "order"),
        ({"n_groups": 2, "metric": "f2"}, "metric"),
    ],
)
def test_bad_arguments(arguments: dict[str, object], named: str) -> None:
    with pytest.raises(InputError, match=named):
        ForwardSelection(**arguments).fit(Table(5))  # type: ignore[arg-type]
