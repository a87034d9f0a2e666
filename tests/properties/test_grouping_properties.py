"""What must hold for every affinity: bounds, permutations, shifts and scales, repeatability."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from taskgroup_core.grouping.exhaustive import ExhaustiveGrouper
from taskgroup_core.grouping.grouping import Grouper, average_density
from taskgroup_core.grouping.lloyd import LloydGrouper
from taskgroup_core.grouping.random import RandomGrouper
from taskgroup_core.grouping.rounding import round_by_threshold
from taskgroup_core.grouping.sdp import SDPGrouper
from taskgroup_core.grouping.spectral import SpectralGrouper
from taskgroup_core.matrices import FloatArray

# Integers make ties common; asymmetric and negative entries come by themselves.
affinities = st.integers(2, 7).flatmap(
    lambda n: arrays(np.float64, (n, n), elements=st.integers(-3, 3).map(float) | st.floats(-3, 3, width=16))
)
few = settings(max_examples=25, deadline=None, derandomize=True)


def planted(seed: int, n: int = 12, k: int = 3, noise: float = 0.4) -> FloatArray:
    labels = np.arange(n) % k
    return (labels[:, None] == labels) + noise * np.random.default_rng(seed).standard_normal((n, n))


def parts(grouper: Grouper) -> set[frozenset[int]]:
    return {frozenset(group) for group in grouper.groups_}


@few
@given(affinities, st.data())
def test_bound_optimum_and_rounded_groups_are_in_order(values: FloatArray, data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(values)))
    sdp, best = SDPGrouper(k).fit(values), ExhaustiveGrouper(k).fit(values)
    rest = [SpectralGrouper(k), RandomGrouper(k), SDPGrouper(k, rounding="average_linkage")]
    assert len(sdp.groups_) == len(best.groups_) == k
    assert sdp.bound_ >= best.objective_ - 1e-5
    for grouper in [sdp, *(one.fit(values) for one in rest)]:
        if len(grouper.groups_) == k:
            assert best.objective_ >= grouper.objective_ - 1e-9


@few
@given(affinities)
def test_every_grouper_returns_a_partition(values: FloatArray) -> None:
    for grouper in (SDPGrouper(2), ExhaustiveGrouper(2), SpectralGrouper(2), LloydGrouper(2), RandomGrouper(2)):
        grouper.fit(values)
        assert sorted(task for group in grouper.groups_ for task in group) == list(range(len(values)))
        assert [group[0] for group in grouper.groups_] == sorted(group[0] for group in grouper.groups_)


@pytest.mark.parametrize("seed", range(5))
def test_groups_follow_a_permutation_of_the_tasks(seed: int) -> None:
    values = planted(seed)
    order = np.random.default_rng(seed).permutation(len(values))
    for make in (SDPGrouper, ExhaustiveGrouper, SpectralGrouper):
        before, after = make(3).fit(values), make(3).fit(values[np.ix_(order, order)])
        assert {frozenset(order[list(group)].tolist()) for group in after.groups_} == parts(before)
        assert after.objective_ == pytest.approx(before.objective_, rel=1e-12)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("a", "b"), [(1.0, -100.0), (1e-3, 0.5), (1e6, 3.0)])
def test_shift_and_scale_leave_x_and_move_the_objective_by_the_law(seed: int, a: float, b: float) -> None:
    values, k = planted(seed, noise=1.0), 3
    plain, moved = SDPGrouper(k).fit(values), SDPGrouper(k).fit(a * values + b)
    # <e e', X> = e'X e = n for every feasible X, so a shift by b adds b n / k to the average density.
    assert np.abs(moved.relaxation_ - plain.relaxation_).max() < 1e-6
    assert moved.bound_ == pytest.approx(a * plain.bound_ + b * len(values) / k, rel=1e-9)
    assert moved.objective_ == pytest.approx(a * plain.objective_ + b * len(values) / k, rel=1e-9)
    assert moved.groups_ == plain.groups_
    assert moved.gap_ == pytest.approx(plain.gap_, abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_constants_of_rows_and_columns_leave_x(seed: int) -> None:
    generator = np.random.default_rng(seed)
    values, k = planted(seed, noise=1.0), 3
    rows, columns = generator.standard_normal((12, 1)), generator.standard_normal((1, 12))
    plain, moved = SDPGrouper(k).fit(values), SDPGrouper(k).fit(values + 5 * rows + 5 * columns)
    assert np.abs(moved.relaxation_ - plain.relaxation_).max() < 1e-6
    assert moved.bound_ == pytest.approx(plain.bound_ + 5 * float(rows.sum() + columns.sum()) / k, abs=1e-8)


@pytest.mark.parametrize("seed", range(3))
def test_the_transpose_gives_the_same_groups(seed: int) -> None:
    values = planted(seed, noise=1.0)
    assert SDPGrouper(3).fit(values.T).groups_ == SDPGrouper(3).fit(values).groups_
    assert ExhaustiveGrouper(3).fit(values.T).groups_ == ExhaustiveGrouper(3).fit(values).groups_


@few
@given(affinities)
def test_groups_by_threshold_never_fall_apart_differently(values: FloatArray) -> None:
    """Groups for k + 1 refine those for k: both cut the same tree, unless one fell back."""
    symmetric = (values + values.T) / 2
    roundings = [round_by_threshold(symmetric, k) for k in range(1, len(values) + 1)]
    kept = [one.labels for one in roundings if not one.fallback]
    for coarse, fine in pairwise(kept):
        assert all(len(set(coarse[fine == group])) == 1 for group in set(fine.tolist()))


@few
@given(affinities)
def test_one_group_has_the_density_of_the_whole(values: FloatArray) -> None:
    whole = average_density(values, [range(len(values))])
    assert whole == pytest.approx(values.sum() / len(values), abs=1e-9)
    assert SDPGrouper(1).fit(values).objective_ == pytest.approx(whole, abs=1e-9)
