"""The semidefinite relaxation and its rounding."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from taskgroup_core.grouping.cvxpy_relaxation import SolverError
from taskgroup_core.grouping.exhaustive import ExhaustiveGrouper
from taskgroup_core.grouping.grouping import average_density
from taskgroup_core.grouping.sdp import LARGEST_FOR_CLARABEL, SDPGrouper
from taskgroup_core.matrices import FloatArray


def planted(n: int, k: int, noise: float, seed: int) -> FloatArray:
    labels = np.arange(n) % k
    return (labels[:, None] == labels) + noise * np.random.default_rng(seed).standard_normal((n, n))


def cycle(n: int) -> FloatArray:
    """Ring of n tasks, each good for its two neighbours and itself: no partition respects its symmetry."""
    step = np.roll(np.eye(n), 1, axis=0)
    return np.eye(n) + step + step.T


@pytest.mark.parametrize("solver", ["CLARABEL", "SCS"])
def test_the_relaxation_is_feasible(solver: str) -> None:
    grouper = SDPGrouper(3, solver=solver).fit(planted(10, 3, 1.0, 0))
    x = grouper.relaxation_
    assert np.abs(x - x.T).max() < 1e-6
    assert np.abs(x.sum(axis=1) - 1).max() < 1e-5
    assert np.trace(x) == pytest.approx(3, abs=1e-5)
    assert x.min() > -1e-5 and np.linalg.eigvalsh(x)[0] > -1e-5


def test_the_solvers_agree() -> None:
    values = planted(12, 3, 1.0, 1)
    bounds = [SDPGrouper(3, solver=solver).fit(values).bound_ for solver in ("CLARABEL", "SCS")]
    assert bounds[0] == pytest.approx(bounds[1], abs=1e-5)


def test_planted_blocks_are_found_and_proved_best() -> None:
    grouper = SDPGrouper(4).fit(planted(16, 4, 0.3, 2))
    assert grouper.groups_ == tuple(tuple(range(first, 16, 4)) for first in range(4))
    assert abs(grouper.gap_) < 1e-4
    assert grouper.solver_status_ == "optimal"
    assert grouper.certified_gap_ < 1e-4 and "no partition has a higher average density" in grouper.status_


def test_admm_takes_over_above_the_size_for_clarabel() -> None:
    small = SDPGrouper(3).fit(planted(9, 3, 0.3, 0))
    large = SDPGrouper(3).fit(planted(LARGEST_FOR_CLARABEL + 3, 3, 0.3, 0))
    assert "CLARABEL" in small.status_ and "ADMM" in large.status_


def test_the_bound_is_the_relaxations_objective_in_the_affinitys_unit() -> None:
    values = 40 * planted(8, 2, 1.0, 3) - 100
    grouper = SDPGrouper(2).fit(values)
    assert grouper.bound_ == grouper.relaxation_objective_
    assert grouper.bound_ == pytest.approx(np.vdot(values, grouper.relaxation_) / 2, rel=1e-5)


def test_an_instance_without_any_threshold_falls_back_and_says_so() -> None:
    grouper = SDPGrouper(2).fit(cycle(5))
    # By symmetry X is circulant, with eigenvalue 1 on e and 1/2 on each vector of the slowest frequency.
    assert grouper.bound_ == pytest.approx((4 + 2 * np.cos(2 * np.pi / 5)) / 2, abs=1e-6)
    assert grouper.rounding_.fallback and len(grouper.groups_) == 2
    assert "no threshold gives 2 groups" in grouper.status_
    assert grouper.objective_ == pytest.approx(ExhaustiveGrouper(2).fit(cycle(5)).objective_)
    assert grouper.gap_ > 0.2  # optimal groups, and a relaxation that is not tight
    assert "not tight" in grouper.status_


def test_the_gap_is_measured_from_the_mean_over_all_relabellings() -> None:
    values = np.random.default_rng(5).standard_normal((6, 6))
    grouper = SDPGrouper(3).fit(values)
    cuts = np.cumsum([len(group) for group in grouper.groups_])[:-1]
    random = np.mean([average_density(values, np.split(np.array(order), cuts)) for order in permutations(range(6))])
    assert grouper.gap_ == pytest.approx((grouper.bound_ - grouper.objective_) / (grouper.bound_ - random), abs=1e-9)
    assert grouper.gap_ > 0.01


@pytest.mark.parametrize("k", [1, 6])
def test_one_group_and_one_group_each_need_no_solver(k: int) -> None:
    values = planted(6, 2, 1.0, 5)
    grouper = SDPGrouper(k).fit(values)
    assert grouper.solver_status_ == "closed_form"
    assert len(grouper.groups_) == k
    assert grouper.bound_ == pytest.approx(grouper.objective_, abs=1e-9)
    assert grouper.gap_ == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("constant", [0.0, -7.3, 1e6])
def test_a_constant_affinity_has_nothing_to_gain(constant: float) -> None:
    grouper = SDPGrouper(3).fit(np.full((6, 6), constant))
    assert grouper.gap_ == 0 and len(grouper.groups_) == 3
    assert grouper.bound_ == pytest.approx(2 * constant)


def test_average_linkage_may_be_chosen() -> None:
    grouper = SDPGrouper(4, rounding="average_linkage").fit(planted(16, 4, 0.3, 2))
    assert grouper.groups_ == tuple(tuple(range(first, 16, 4)) for first in range(4))
    assert "average linkage" in grouper.status_


def test_a_solver_that_stops_early_is_told() -> None:
    grouper = SDPGrouper(3, solver="SCS", solver_options={"max_iters": 20}).fit(planted(8, 3, 1.0, 6))
    assert grouper.solver_status_ == "optimal_inaccurate"
    assert "try another solver" in grouper.status_


@pytest.mark.parametrize("max_iterations", [1, 3, 20_000])
@pytest.mark.parametrize("values", [planted(9, 3, 0.3, 1), planted(9, 3, 1.5, 2), planted(9, 3, 0.3, 1) + 1e9])
def test_only_what_is_certified_counts_as_proved(values: FloatArray, max_iterations: int) -> None:
    """ADMM's X is feasible, so that its value lies below the optimum: early on the groups may even exceed it."""
    options = {"max_iterations": max_iterations, "tolerance": 1e-9}
    grouper = SDPGrouper(3, solver="ADMM", rounding="local_search", solver_options=options).fit(values)
    best = ExhaustiveGrouper(3).fit(values)
    assert grouper.objective_ <= best.objective_ * (1 + 1e-15) <= grouper.certified_bound_ * (1 + 1e-15)
    assert grouper.certified_gap_ >= max(0.0, grouper.gap_)
    proved = "reach the certified bound" in grouper.status_
    assert proved == (grouper.certified_gap_ <= 1e-4)
    if proved:
        assert grouper.objective_ == pytest.approx(best.objective_, rel=1e-12)
    if max_iterations == 1:
        assert grouper.gap_ < grouper.certified_gap_ and not proved and "give up at most" in grouper.status_


def test_a_loose_tolerance_is_told_apart_from_a_loose_relaxation() -> None:
    values, options = planted(20, 3, 1.0, 1), {"tolerance": 3e-2}
    grouper = SDPGrouper(3, solver="ADMM", rounding="local_search", solver_options=options).fit(values)
    assert grouper.solver_status_ == "optimal" and grouper.gap_ < 0  # the groups are better than the solver's X
    assert 1e-4 < grouper.certified_gap_ < 3e-2
    assert "smaller tolerance may prove them best" in grouper.status_


def test_a_solver_without_a_solution_is_an_error() -> None:
    with pytest.raises(SolverError, match="user_limit"):
        SDPGrouper(3, solver="CLARABEL", solver_options={"max_iter": 1}).fit(planted(8, 3, 1.0, 6))
