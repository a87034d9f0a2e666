"""Our first-order solver, against Clarabel and against instances whose relaxation is known."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from taskgroup_core.errors import InputError
from taskgroup_core.grouping.admm import _project, _weights, solve_admm
from taskgroup_core.grouping.certificate import certify
from taskgroup_core.grouping.sdp import SDPGrouper
from taskgroup_core.matrices import FloatArray

TOY = np.kron([[7.0, 6.0, 5.0], [6.0, 20.0, 19.0], [5.0, 19.0, 20.0]], np.ones((2, 2)))


def planted(n: int, k: int, noise: float, seed: int) -> FloatArray:
    labels = np.arange(n) % k
    return (labels[:, None] == labels) + noise * np.random.default_rng(seed).standard_normal((n, n))


def assert_feasible(x: FloatArray, k: int) -> None:
    assert np.abs(x - x.T).max() < 1e-12
    assert np.abs(x.sum(axis=1) - 1).max() < 1e-11
    assert np.trace(x) == pytest.approx(k, abs=1e-11)
    assert x.min() > -1e-15 and np.linalg.eigvalsh(x)[0] > -1e-12


@pytest.mark.parametrize(
    ("n", "k", "noise", "seed"), [(4, 2, 1.0, 0), (5, 4, 1.0, 1), (12, 3, 0.3, 2), (15, 4, 2.0, 3), (24, 6, 1.0, 4)]
)
def test_the_optimum_is_clarabels_and_lies_between_the_two_bounds(n: int, k: int, noise: float, seed: int) -> None:
    values = planted(n, k, noise, seed)
    result = solve_admm(values, k, tolerance=1e-6)
    assert result.converged and result.gap <= 1e-6
    assert_feasible(result.relaxation, k)
    lower, upper = float(np.vdot(values, result.relaxation)), certify(values, k, result.multipliers).bound
    clarabel = k * SDPGrouper(k, solver="CLARABEL").fit(values).relaxation_objective_
    assert lower <= upper
    assert lower - 1e-5 <= clarabel <= upper + 1e-5
    assert upper - lower <= 1e-4


def test_the_toy_matrix_reaches_94() -> None:
    grouper = SDPGrouper(3, solver="ADMM").fit(TOY)
    assert 3 * grouper.relaxation_objective_ == pytest.approx(94, abs=1e-4)
    assert 94 <= 3 * grouper.certified_bound_ <= 94 + 1e-3
    assert grouper.groups_ == ((0, 1), (2, 3), (4, 5))
    assert grouper.solver_status_ == "optimal" and "ADMM reports optimal" in grouper.status_


def test_a_ring_whose_relaxation_is_known_and_not_tight() -> None:
    step = np.roll(np.eye(5), 1, axis=0)
    grouper = SDPGrouper(2, solver="ADMM").fit(np.eye(5) + step + step.T)
    # By symmetry X is circulant, with eigenvalue 1 on e and 1/2 on each vector of the slowest frequency.
    known = (4 + 2 * np.cos(2 * np.pi / 5)) / 2
    assert grouper.bound_ <= known + 1e-12 and grouper.certified_bound_ >= known - 1e-12
    assert grouper.bound_ == pytest.approx(known, abs=1e-5)
    assert grouper.certified_bound_ == pytest.approx(known, abs=1e-5)


@pytest.mark.parametrize(("a", "b"), [(1e-6, 0.5), (1e6, -3.0), (1.0, 100.0)])
def test_shift_and_scale_leave_x_and_scale_the_multipliers(a: float, b: float) -> None:
    values = planted(14, 3, 1.0, 5)
    plain, moved = solve_admm(values, 3), solve_admm(a * values + b, 3)
    assert np.abs(moved.relaxation - plain.relaxation).max() < 1e-5
    assert np.abs(moved.multipliers / a - plain.multipliers).max() < 1e-4


def test_tasks_may_come_in_any_order() -> None:
    values = planted(14, 3, 1.0, 6)
    order = np.random.default_rng(6).permutation(14)
    plain, moved = solve_admm(values, 3), solve_admm(values[np.ix_(order, order)], 3)
    assert np.abs(moved.relaxation - plain.relaxation[np.ix_(order, order)]).max() < 1e-4


def test_two_runs_of_the_solver_agree_bit_for_bit() -> None:
    first, second = (solve_admm(planted(40, 5, 1.0, 7), 5, tolerance=1e-3) for _ in range(2))
    assert np.array_equal(first.relaxation, second.relaxation)
    assert np.array_equal(first.multipliers, second.multipliers)


def test_a_run_cut_short_is_feasible_and_certified_and_told() -> None:
    values = planted(12, 3, 1.0, 8)
    result = solve_admm(values, 3, max_iterations=7)
    assert not result.converged and result.iterations == 7 and result.gap > 1e-5
    assert_feasible(result.relaxation, 3)
    assert np.vdot(values, result.relaxation) <= certify(values, 3, result.multipliers).bound
    grouper = SDPGrouper(3, solver="ADMM", solver_options={"max_iterations": 7}).fit(values)
    assert grouper.solver_status_ == "optimal_inaccurate" and "stopped short" in grouper.status_


@pytest.mark.parametrize("constant", [0.0, -7.3, 1e6])
def test_a_constant_affinity_needs_no_iteration(constant: float) -> None:
    result = solve_admm(np.full((6, 6), constant), 3)
    assert result.converged and result.iterations == 0
    assert_feasible(result.relaxation, 3)


@pytest.mark.parametrize("rank", [1, 30])
def test_the_projection_is_the_nearest_point(rank: int) -> None:
    """A point P of a convex set is the one nearest to W when <W - P, F - P> <= 0 for every F in the set."""
    generator = np.random.default_rng(9)
    n, k = 30, 4
    matrix = generator.standard_normal((n, n))
    matrix = (matrix + matrix.T) / 2
    nearest = _project(torch.from_numpy(matrix), k, rank)[0].numpy()
    assert np.abs(nearest.sum(axis=1) - 1).max() < 1e-12 and np.trace(nearest) == pytest.approx(k)
    eigenvalues = np.linalg.eigvalsh(nearest)
    assert eigenvalues[0] > -1e-12 and eigenvalues[-1] < 1 + 1e-12
    for draw in range(50):
        moved = matrix * (draw % 2) + generator.standard_normal((n, n)) * (draw + 1) / 10
        other = _project(torch.from_numpy(moved), k, n)[0].numpy()
        assert np.vdot(matrix - nearest, other - nearest) <= 1e-10


@pytest.mark.parametrize("total", [1, 2, 4])
@pytest.mark.parametrize("values", [[-3.0, 0.1, 0.2, 0.3, 5.0], [0.0, 0.0, 0.0, 0.0, 0.0], [-1.0, 0.0, 0.0, 1.0, 1.0]])
def test_the_weights_have_their_sum_and_follow_the_eigenvalues(values: list[float], total: int) -> None:
    weights = _weights(np.array(values), total)
    assert weights.sum() == pytest.approx(total, abs=1e-12)
    assert (np.diff(weights) >= 0).all() and weights[0] >= 0 and weights[-1] <= 1


def test_no_cvxpy_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cvxpy", None)
    assert SDPGrouper(3, solver="ADMM").fit(planted(12, 3, 0.3, 0)).gap_ == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("tolerance", [0, 1, -1e-3, np.nan, "1e-3", True])
def test_a_tolerance_that_cannot_be(tolerance: object) -> None:
    with pytest.raises(InputError, match="tolerance"):
        solve_admm(TOY, 3, tolerance=tolerance)  # type: ignore[arg-type]


@pytest.mark.parametrize("max_iterations", [0, 2.5, None, True])
def test_a_number_of_iterations_that_cannot_be(max_iterations: object) -> None:
    with pytest.raises(InputError, match="max_iterations"):
        solve_admm(TOY, 3, max_iterations=max_iterations)  # type: ignore[arg-type]


@pytest.mark.parametrize("k", [0, 1, 6, 7])
def test_a_number_of_groups_with_nothing_to_solve(k: int) -> None:
    with pytest.raises(InputError, match="n_groups"):
        solve_admm(TOY, k)


def test_an_affinity_that_cannot_be_solved() -> None:
    with pytest.raises(InputError, match="affinity"):
        solve_admm([[1.0, np.nan], [0.0, 1.0]], 1)


def test_a_misspelt_option_of_the_solver() -> None:
    with pytest.raises(InputError, match="solver_options"):
        SDPGrouper(3, solver="ADMM", solver_options={"max_iters": 10}).fit(TOY)
