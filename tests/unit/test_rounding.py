"""From X to groups: the exact search over thresholds, and the fallback."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest

from taskgroup_core.grouping.grouping import Grouping
from taskgroup_core.grouping.rounding import TIE, round_by_average_linkage, round_by_threshold
from taskgroup_core.matrices import FloatArray


def components(x: FloatArray, threshold: float) -> set[frozenset[int]]:
    """Reference: connected components of the graph of the pairs at or above the threshold."""
    graph = nx.Graph()
    graph.add_nodes_from(range(len(x)))
    graph.add_edges_from((u, v) for u in range(len(x)) for v in range(u) if x[u, v] >= threshold)
    return {frozenset(part) for part in nx.connected_components(graph)}


def parts(labels: np.ndarray) -> set[frozenset[int]]:
    return {frozenset(group) for group in Grouping.from_labels(labels).groups}


def random_x(seed: int, n: int = 9) -> FloatArray:
    half = np.random.default_rng(seed).random((n, n))
    return (half + half.T) / 2


@pytest.mark.parametrize("seed", range(5))
def test_the_threshold_gives_k_groups_that_are_components(seed: int) -> None:
    x = random_x(seed)
    for k in range(1, 10):
        rounding = round_by_threshold(x, k)
        assert rounding.c is not None and len(parts(rounding.labels)) == k
        assert parts(rounding.labels) == components(x, rounding.c / len(x))


@pytest.mark.parametrize("seed", range(5))
def test_every_threshold_in_the_interval_and_none_outside_gives_k_groups(seed: int) -> None:
    x = random_x(seed)
    low, high = round_by_threshold(x, 4).interval or (np.nan, np.nan)
    for c in np.linspace(0.01, 9, 200):
        inside = len(components(x, c / len(x))) == 4
        assert inside == (low < c <= high)


def test_the_paper_range_is_preferred() -> None:
    x = np.kron(np.eye(2), np.full((3, 3), 1 / 3))
    rounding = round_by_threshold(x, 2)
    assert rounding.interval == pytest.approx((0.0, 2.0))
    assert rounding.c == pytest.approx(1.5)  # the middle of what the interval shares with [1, 10]
    assert "inside" in rounding.reason and not rounding.fallback


def test_a_threshold_outside_the_paper_range_is_taken_and_told() -> None:
    x = np.kron(np.eye(2), np.full((3, 3), 1 / 3)) * 0.3
    rounding = round_by_threshold(x, 2)
    assert rounding.c is not None and rounding.c < 1
    assert "outside" in rounding.reason and not rounding.fallback


def test_a_tie_leaves_no_threshold_and_average_linkage_stands_in() -> None:
    x = np.full((5, 5), 0.15) + 0.25 * np.eye(5)
    rounding = round_by_threshold(x, 2)
    assert rounding.fallback and rounding.c is None and rounding.interval is None
    assert len(parts(rounding.labels)) == 2
    assert "average linkage" in rounding.reason


def test_a_tie_but_for_solver_noise_counts_as_a_tie() -> None:
    noise = TIE / 10 * random_x(0, 5)
    x = np.full((5, 5), 0.15) + 0.25 * np.eye(5)
    assert round_by_threshold(x + noise, 2).fallback
    assert not round_by_threshold(x + 10_000 * noise, 2).fallback


def test_noise_on_an_integral_x_changes_nothing() -> None:
    x = np.kron(np.eye(3), np.full((2, 2), 0.5)) + TIE / 10 * (random_x(1, 6) - 0.5)
    assert parts(round_by_threshold(x, 3).labels) == {frozenset({0, 1}), frozenset({2, 3}), frozenset({4, 5})}


def test_average_linkage_withstands_a_chain_that_the_threshold_follows() -> None:
    x = np.kron(np.eye(2), np.full((4, 4), 0.2))
    x[3, 4] = x[4, 3] = 0.195  # one strong pair bridges two groups
    x[0, 1:4] = x[1:4, 0] = 0.19
    assert parts(round_by_threshold(x, 2).labels) == {frozenset({0}), frozenset(range(1, 8))}
    assert parts(round_by_average_linkage(x, 2).labels) == {frozenset(range(4)), frozenset(range(4, 8))}


@pytest.mark.parametrize("rounding", [round_by_threshold, round_by_average_linkage])
def test_one_task(rounding) -> None:  # type: ignore[no-untyped-def]
    assert rounding(np.ones((1, 1)), 1).labels.tolist() == [0]
