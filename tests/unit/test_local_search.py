"""Rounding by local search: its gains against the objective's definition, its groups against the best of all."""

from __future__ import annotations

import numpy as np
import pytest

from taskgroup_core.errors import InputError
from taskgroup_core.grouping.exhaustive import ExhaustiveGrouper
from taskgroup_core.grouping.grouping import Grouping, Labels, average_density
from taskgroup_core.grouping.local_search import improve, round_by_local_search
from taskgroup_core.grouping.sdp import SDPGrouper
from taskgroup_core.matrices import FloatArray


def noise(n: int, seed: int) -> FloatArray:
    return np.random.default_rng(seed).standard_normal((n, n))


def density(values: FloatArray, labels: Labels) -> float:
    return average_density(values, Grouping.from_labels(labels).groups)


def neighbours(labels: Labels, k: int) -> list[Labels]:
    """Every labelling one move or one exchange away that keeps all k groups."""
    found = []
    for i in range(len(labels)):
        for group in range(k):
            found.append(labels.copy())
            found[-1][i] = group
        for j in range(i):
            found.append(labels.copy())
            found[-1][[i, j]] = labels[[j, i]]
    return [one for one in found if len(set(one.tolist())) == k]


@pytest.mark.parametrize("seed", range(5))
def test_no_single_step_improves_the_result(seed: int) -> None:
    values, labels = noise(9, seed), np.arange(9) % 3
    found, steps = improve(values, labels, 3)
    assert steps > 0 and density(values, found) > density(values, labels)
    assert density(values, found) >= max(density(values, one) for one in neighbours(found, 3)) - 1e-12
    assert np.array_equal(labels, np.arange(9) % 3)


@pytest.mark.parametrize("seed", range(8))
def test_groups_lie_between_the_other_roundings_and_the_best(seed: int) -> None:
    values = noise(10, seed)
    found = {
        name: SDPGrouper(3, rounding=name).fit(values) for name in ("threshold", "average_linkage", "local_search")
    }
    ours = found["local_search"].objective_
    assert ours >= max(found["threshold"].objective_, found["average_linkage"].objective_) - 1e-12
    assert ours <= ExhaustiveGrouper(3).fit(values).objective_ + 1e-12
    assert len(found["local_search"].groups_) == 3
    assert "local search" in found["local_search"].status_


@pytest.mark.parametrize("constant", [0.0, -7.3, 1e6])
def test_a_constant_affinity_gives_nothing_to_search(constant: float) -> None:
    labels, steps = improve(np.full((6, 6), constant), np.arange(6) % 3, 3)
    assert steps == 0 and np.array_equal(labels, np.arange(6) % 3)


@pytest.mark.parametrize("k", [1, 6])
def test_one_group_and_one_group_each_stay(k: int) -> None:
    assert len(SDPGrouper(k, rounding="local_search").fit(noise(6, 0)).groups_) == k


def test_a_shift_changes_no_step() -> None:
    values, labels = noise(12, 3), np.arange(12) % 4
    assert np.array_equal(improve(values, labels, 4)[0], improve(2 * values + 50, labels, 4)[0])


def test_matrices_that_cannot_be_searched() -> None:
    with pytest.raises(InputError, match="affinity"):
        round_by_local_search(np.eye(4), 2, np.full((4, 4), np.nan))
    with pytest.raises(InputError, match="affinity"):
        round_by_local_search(np.eye(4), 2, np.eye(5))
    with pytest.raises(InputError, match="n_groups"):
        round_by_local_search(np.eye(4), 5, np.eye(4))
