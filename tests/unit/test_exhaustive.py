"""The exact best partition, against plain enumeration."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from taskgroup_core.grouping.exhaustive import ExhaustiveGrouper
from taskgroup_core.grouping.grouping import Grouping, average_density


def partitions(n: int, k: int) -> Iterator[list[int]]:
    """Labels of all partitions of n tasks into k groups (restricted growth strings)."""

    def extend(labels: list[int], used: int) -> Iterator[list[int]]:
        if len(labels) == n:
            if used == k:
                yield labels
            return
        for label in range(min(used + 1, k)):
            yield from extend([*labels, label], max(used, label + 1))

    yield from extend([], 0)


def test_the_reference_counts_partitions_rightly() -> None:
    assert [sum(1 for _ in partitions(6, k)) for k in range(1, 7)] == [1, 31, 90, 65, 15, 1]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("k", range(1, 7))
def test_the_best_partition_is_found(seed: int, k: int) -> None:
    values = np.random.default_rng(seed).standard_normal((6, 6))
    best = max(average_density(values, Grouping.from_labels(labels).groups) for labels in partitions(6, k))
    grouper = ExhaustiveGrouper(k).fit(values)
    assert len(grouper.groups_) == k
    assert grouper.objective_ == pytest.approx(best, rel=1e-12)


def test_ties_are_broken_the_same_way_every_time() -> None:
    first, second = (ExhaustiveGrouper(3).fit(np.ones((6, 6))) for _ in range(2))
    assert first.groups_ == second.groups_ and len(first.groups_) == 3
