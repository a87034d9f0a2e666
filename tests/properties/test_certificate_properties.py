"""What must hold of bounds for every affinity: they never cross, whatever the multipliers and whatever the solver."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from taskgroup_core.grouping.certificate import certify
from taskgroup_core.grouping.exhaustive import ExhaustiveGrouper
from taskgroup_core.grouping.sdp import SDPGrouper
from taskgroup_core.matrices import FloatArray

entries = st.integers(-3, 3).map(float) | st.floats(-3, 3, width=16)


def square(n: int) -> st.SearchStrategy[FloatArray]:
    return arrays(np.float64, (n, n), elements=entries)


pairs = st.integers(1, 6).flatmap(lambda n: st.tuples(square(n), square(n), st.integers(1, n)))
few = settings(max_examples=40, deadline=None, derandomize=True)
ROUNDING = 1e-12  # of the objective on the left, which is computed without an allowance


@few
@given(pairs)
def test_any_multipliers_bound_the_best_partition(drawn: tuple[FloatArray, FloatArray, int]) -> None:
    values, multipliers, k = drawn
    best = ExhaustiveGrouper(k).fit(values)
    assert certify(values, k, multipliers).bound >= k * best.objective_ - ROUNDING


@few
@given(pairs, st.sampled_from(["CLARABEL", "ADMM"]))
def test_groups_optimum_and_certified_bound_are_in_order(
    drawn: tuple[FloatArray, FloatArray, int], solver: str
) -> None:
    values, _, k = drawn
    sdp, best = SDPGrouper(k, solver=solver).fit(values), ExhaustiveGrouper(k).fit(values)
    assert sdp.objective_ <= best.objective_ + ROUNDING
    assert best.objective_ <= sdp.certified_bound_ + ROUNDING
    assert sdp.certified_gap_ >= -1e-9
    if solver == "ADMM":  # its X is feasible, so that its value is a bound from below
        assert sdp.relaxation_objective_ <= sdp.certified_bound_ + ROUNDING


@few
@given(pairs, st.sampled_from([1e-3, 1.0, 1e3]), st.sampled_from([-10.0, 0.0, 7.5]))
def test_the_bound_follows_scale_and_shift(
    drawn: tuple[FloatArray, FloatArray, int], scale: float, constant: float
) -> None:
    values, multipliers, k = drawn
    plain = certify(values, k, multipliers).bound
    moved = certify(scale * values + constant, k, scale * multipliers).bound
    assert moved == pytest.approx(scale * plain + constant * len(values), rel=1e-9, abs=1e-9)
