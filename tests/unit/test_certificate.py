"""The certificate: dual feasibility and weak duality checked apart from the code, exactly where it counts."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from taskgroup_core.errors import InputError
from taskgroup_core.grouping.certificate import certify
from taskgroup_core.grouping.exhaustive import ExhaustiveGrouper
from taskgroup_core.grouping.sdp import SDPGrouper
from taskgroup_core.matrices import FloatArray


def planted(n: int, k: int, noise: float, seed: int) -> FloatArray:
    labels = np.arange(n) % k
    return (labels[:, None] == labels) + noise * np.random.default_rng(seed).standard_normal((n, n))


def exact_value(values: FloatArray, groups: tuple[tuple[int, ...], ...]) -> Fraction:
    """<T, X> of a partition, without rounding."""
    return sum(
        (sum((Fraction(values[i, j]) for i in group for j in group), Fraction(0)) / len(group) for group in groups),
        Fraction(0),
    )


def weak_duality(values: FloatArray, k: int, multipliers: FloatArray, shift: FloatArray) -> float:
    """The bound of a dual point, from its definition."""
    slack_matrix = (values + values.T) / 2 + multipliers - np.add.outer(shift, shift)
    return float(2 * shift.sum() + np.sort(np.linalg.eigvalsh(slack_matrix))[-k:].sum())


@pytest.mark.parametrize("solver", ["CLARABEL", "SCS", "ADMM"])
@pytest.mark.parametrize(("n", "k", "noise", "seed"), [(8, 3, 1.0, 0), (10, 2, 2.0, 1), (11, 4, 0.3, 2)])
def test_the_dual_point_of_every_solver_is_feasible_and_bounds_the_optimum(
    solver: str, n: int, k: int, noise: float, seed: int
) -> None:
    values = planted(n, k, noise, seed)
    grouper, best = SDPGrouper(k, solver=solver).fit(values), ExhaustiveGrouper(k).fit(values)
    proof = grouper.certificate_
    assert proof.multipliers.min() >= 0 and np.array_equal(proof.multipliers, proof.multipliers.T)
    assert proof.bound == pytest.approx(weak_duality(values, k, proof.multipliers, proof.shift), rel=1e-11)
    assert Fraction(proof.bound) >= exact_value(values, best.groups_)
    assert Fraction(grouper.certified_bound_) * k >= Fraction(proof.bound)
    clarabel = SDPGrouper(k, solver="CLARABEL").fit(values)
    assert grouper.certified_bound_ == pytest.approx(clarabel.relaxation_objective_, rel=1e-5)
    assert grouper.certified_gap_ >= 0
    assert grouper.certified_gap_ == pytest.approx(grouper.gap_, abs=1e-4)


@pytest.mark.parametrize("seed", range(5))
def test_any_multipliers_prove_a_bound(seed: int) -> None:
    generator = np.random.default_rng(seed)
    values = generator.standard_normal((7, 7))
    exact = exact_value(values, ExhaustiveGrouper(3).fit(values).groups_)
    for size in (0.0, 0.1, 10.0):
        assert Fraction(certify(values, 3, size * generator.standard_normal((7, 7))).bound) >= exact


def test_good_multipliers_beat_none() -> None:
    values = planted(10, 3, 1.0, 0)
    none = certify(values, 3, np.zeros((10, 10))).bound
    assert none / 3 > SDPGrouper(3).fit(values).certified_bound_ + 0.1


@pytest.mark.parametrize("offset", [0.0, 1e3, -1e8])
def test_a_tight_bound_holds_in_exact_arithmetic(offset: float) -> None:
    """For blocks N = 0 is optimal: the bound equals the optimum, and only the allowance for rounding keeps it above."""
    labels = np.arange(12) % 3
    groups = tuple(tuple(range(first, 12, 3)) for first in range(3))
    for factor in np.random.default_rng(0).uniform(0.1, 10, 40):
        values = factor * (labels[:, None] == labels) + offset
        proof, exact = certify(values, 3, np.zeros((12, 12))), exact_value(values, groups)
        assert Fraction(proof.bound) >= exact
        assert proof.bound - float(exact) <= 1e-11 * (abs(offset) + 1) * 12
        assert 0 < proof.rounding_error <= 1e-11 * (abs(offset) + 1) * 12


@pytest.mark.parametrize("k", [1, 5])
def test_where_one_x_is_feasible_the_bound_is_its_value(k: int) -> None:
    values = planted(5, 2, 1.0, 3)
    only = values.sum() / 5 if k == 1 else np.trace(values)
    assert certify(values, k, np.zeros((5, 5))).bound == pytest.approx(only, rel=1e-10)
    assert SDPGrouper(k).fit(values).certified_bound_ == pytest.approx(only / k, rel=1e-10)


def test_one_task() -> None:
    assert certify([[2.5]], 1, [[0.0]]).bound == pytest.approx(2.5, rel=1e-12)


def test_multipliers_are_made_symmetric_and_clipped() -> None:
    values, given = planted(6, 2, 1.0, 4), np.random.default_rng(4).standard_normal((6, 6))
    proof = certify(values, 2, given)
    clipped = np.maximum(given, 0)
    assert np.array_equal(proof.multipliers, (clipped + clipped.T) / 2)


def test_a_solver_that_stops_early_still_proves_something() -> None:
    values = planted(9, 3, 1.0, 6)
    grouper = SDPGrouper(3, solver="SCS", solver_options={"max_iters": 20}).fit(values)
    assert grouper.solver_status_ == "optimal_inaccurate"
    assert grouper.certified_bound_ >= ExhaustiveGrouper(3).fit(values).objective_


@pytest.mark.parametrize("multipliers", [np.zeros((3, 3)), np.zeros(4), np.full((4, 4), np.nan)])
def test_multipliers_that_cannot_be(multipliers: FloatArray) -> None:
    with pytest.raises(InputError, match="multipliers"):
        certify(np.eye(4), 2, multipliers)


@pytest.mark.parametrize("k", [0, 5, 2.0])
def test_a_number_of_groups_that_cannot_be_certified(k: object) -> None:
    with pytest.raises(InputError, match="n_groups"):
        certify(np.eye(4), k, np.zeros((4, 4)))  # type: ignore[arg-type]
