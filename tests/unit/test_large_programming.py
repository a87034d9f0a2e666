"""The search for more than 20 tasks: its bounds and groups against the exact ones of few tasks, and what it tells."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.optimize import LinearConstraint

from taskgroup_core.grouping import programming, spectral_bound
from taskgroup_core.grouping.group_limits import check_slots
from taskgroup_core.grouping.group_selection import InfeasibleError
from taskgroup_core.grouping.large_problem import LargeProgramme
from taskgroup_core.grouping.programming import OVERLAPS, ProgrammingGrouper
from taskgroup_core.grouping.row_bound import RowBound
from taskgroup_core.grouping.sdp import SDPGrouper
from taskgroup_core.grouping.spectral_bound import SpectralBound
from taskgroup_core.matrices import FloatArray


def draw(rng: np.random.Generator, n: int) -> FloatArray:
    """Asymmetric, with negative entries; some draws are small integers, so that ties are common, some are planted."""
    kind = rng.integers(3)
    if kind == 0:
        return rng.integers(-3, 4, (n, n)).astype(float)
    if kind == 1:
        return rng.standard_normal((n, n)) * 10.0 ** rng.integers(-3, 4)
    return planted(rng, n, 3, 0.4)


def planted(rng: np.random.Generator, n: int, k: int, noise: float) -> FloatArray:
    labels = np.arange(n) % k
    return np.equal.outer(labels, labels) + noise * rng.standard_normal((n, n))


def draw_options(rng: np.random.Generator, n: int, k: int) -> dict[str, Any]:
    """Options and limits of every kind, some the same for all groups, some not."""
    options: dict[str, Any] = {"diagonal": bool(rng.integers(2)), "divisor": ("size", "others")[rng.integers(2)]}
    if rng.integers(2):
        low = rng.integers(1, 3, k)
        options |= {"min_size": low.tolist(), "max_size": np.minimum(low + rng.integers(1, 4, k), n).tolist()}
    elif rng.integers(2):
        options |= {"min_size": 2, "max_size": int(min(n, 4))}
    if rng.integers(3) == 0:
        options |= {"costs": rng.integers(1, 4, (n, k)), "budgets": rng.integers(6, 14, k)}
    if rng.integers(3) == 0:
        options["constraints"] = LinearConstraint(rng.integers(-1, 2, (2, n * k)), -2, 3)
    return options


@pytest.fixture
def few_iterations(monkeypatch: pytest.MonkeyPatch) -> None:
    for stages in ("SMOOTHING", "LED"):
        monkeypatch.setattr(spectral_bound, stages, ((0.02, 60), (0.005, 60)))


@pytest.mark.parametrize("overlap", OVERLAPS)
def test_bounds_cover_the_optimum_and_groups_meet_the_limits(
    monkeypatch: pytest.MonkeyPatch, few_iterations: None, overlap: str
) -> None:
    rng = np.random.default_rng(11)
    same = infeasible = 0
    cases = 20
    for case in range(cases):
        n = int(rng.integers(4, 9))
        k = int(rng.integers(2, 4))
        values, options = draw(rng, n), draw_options(rng, n, k)
        unit = 1e-9 * np.abs(values).max()
        exact, large = (ProgrammingGrouper(k, overlap=overlap, **options) for _ in range(2))
        with monkeypatch.context() as patch:
            patch.setattr(programming, "LARGEST", 0)
            try:
                large.fit(values)
            except InfeasibleError as error:
                infeasible += 1
                with pytest.raises(InfeasibleError) as expected:
                    exact.fit(values)
                assert str(expected.value) == str(error) and exact.status_ == large.status_, case
                continue
        exact.fit(values)
        assert exact.objective_ <= large.bound_ + unit, case
        assert large.objective_ <= exact.objective_ + unit, case
        assert len(large.groups_) == len(set(large.groups_)) == k
        # Only these very groups fit limits that ask for them alone: they are worth what was said, within the limits.
        members = np.array([[task in group for group in large.groups_] for task in range(n)])
        asked = LinearConstraint(np.eye(n * k), members.ravel(), members.ravel())
        given = [options.pop("constraints")] if "constraints" in options else []
        again = ProgrammingGrouper(k, overlap=overlap, constraints=[*given, asked], **options).fit(values)
        assert again.objective_ == pytest.approx(large.objective_, rel=1e-9, abs=unit), case
        assert again.groups_ == large.groups_
        same += abs(large.objective_ - exact.objective_) <= 1e-9 * abs(exact.objective_) + unit
    assert same >= 0.9 * (cases - infeasible)
    assert infeasible < cases / 2


@pytest.mark.parametrize("divisor", ["size", "others"])
@pytest.mark.parametrize("overlap", OVERLAPS)
def test_bounds_hold_at_any_prices_and_wherever_the_descent_stops(
    few_iterations: None, overlap: str, divisor: str
) -> None:
    rng = np.random.default_rng(4)
    for _ in range(6):
        n, k = 7, 3
        values = draw(rng, n)
        limits = {"min_size": [1, 2, 2], "max_size": [3, 4, 4], "costs": rng.integers(1, 4, (n, k)), "budgets": 9}
        best = ProgrammingGrouper(k, overlap=overlap, divisor=divisor, **limits).fit(values).objective_
        slots = check_slots(n, k, *limits.values(), ())
        by_rows = RowBound(LargeProgramme(values, divisor, overlap, slots))
        unit = np.abs(values).max()
        optimal = by_rows.prices()
        assert by_rows.bound(*optimal) >= best - 1e-12 * unit
        for _ in range(5):
            cover, rows = unit * rng.standard_normal(n), unit * rng.random(len(optimal[1]))
            cover = -np.abs(cover) if overlap == "every_group" else cover
            assert by_rows.bound(cover, rows) >= by_rows.bound(*optimal) - 1e-6 * unit
            if overlap != "best_served":
                spectral = SpectralBound(by_rows.problem, by_rows, by_rows.problem.sizes)
                spectral.minimise(cover, rows, deadline=0.0)  # stops at its first look
                assert spectral.best >= best - 1e-12 * unit
                led = SpectralBound(by_rows.problem, by_rows, by_rows.problem.sizes, rng.integers(3, size=n))
                led.minimise(cover, rows, deadline=np.inf, enough=best + unit * rng.random())
                assert led.best >= best - 1e-12 * unit


@pytest.mark.parametrize(("overlap", "gap"), [("none", 0.002), ("every_group", 0.01), ("best_served", 0.002)])
def test_planted_families_are_found_with_a_small_gap_and_twice_alike(
    few_iterations: None, overlap: str, gap: float
) -> None:
    n, k = 32, 4
    values = planted(np.random.default_rng(0), n, k, 0.1)
    first, again = (ProgrammingGrouper(k, overlap=overlap, min_size=4, max_size=12).fit(values) for _ in range(2))
    assert first.groups_ == tuple(tuple(range(family, n, k)) for family in range(k))
    np.testing.assert_array_equal(first.labels_, np.arange(n) % k)
    assert 0 <= first.gap_ < gap and first.bound_ >= first.objective_
    assert first.gap_ == 0 or first.status_.startswith("Not proved best: the search ended")
    assert (first.objective_, first.bound_, first.groups_) == (again.objective_, again.bound_, again.groups_)


def test_without_overlap_the_bound_is_as_sharp_as_the_semidefinite_relaxation() -> None:
    values = planted(np.random.default_rng(1), 24, 3, 0.6)
    grouper, relaxed = ProgrammingGrouper(3, overlap="none").fit(values), SDPGrouper(3, solver="ADMM").fit(values)
    assert grouper.bound_ <= 3 * relaxed.certified_bound_ * 1.005


def test_ties_are_broken_the_same_way_every_time(few_iterations: None) -> None:
    first, again = (ProgrammingGrouper(3, overlap="none").fit(np.ones((21, 21))) for _ in range(2))
    assert first.groups_ == again.groups_ and first.gap_ == 0
    assert first.objective_ == pytest.approx(21, rel=1e-12) and "Proved" in first.status_


def test_out_of_time_there_is_a_grouping_a_bound_and_a_gap() -> None:
    values = planted(np.random.default_rng(2), 24, 3, 0.5)
    hasty = ProgrammingGrouper(3, max_size=10, time_limit=1e-9).fit(values)
    assert "Time limit" in hasty.status_ and 0 < hasty.gap_ < 1
    assert {task for group in hasty.groups_ for task in group} == set(range(24))
    assert max(map(len, hasty.groups_)) <= 10 and hasty.objective_ <= hasty.bound_


def test_single_tasks_are_worth_their_diagonal(few_iterations: None) -> None:
    values = planted(np.random.default_rng(3), 21, 3, 0.5)
    for divisor in ("size", "others"):
        grouper = ProgrammingGrouper(21, divisor=divisor, max_size=1).fit(values)
        assert grouper.gap_ == 0 and grouper.objective_ == pytest.approx(np.trace(values), rel=1e-12)


@pytest.mark.parametrize("overlap", OVERLAPS)
def test_limits_that_few_sizes_cannot_meet(few_iterations: None, overlap: str) -> None:
    n, k = 21, 2
    first = np.arange(n) < 5  # the first group is to be these: neither of 1, nor of 10, nor of 21 tasks
    only = LinearConstraint(np.eye(n * k)[::k], first, first)
    values = np.random.default_rng(0).standard_normal((n, n))
    grouper = ProgrammingGrouper(k, overlap=overlap, constraints=only).fit(values)
    assert grouper.groups_[0] == (0, 1, 2, 3, 4) and grouper.objective_ <= grouper.bound_


def test_a_group_that_may_take_few_tasks_and_needs_as_many(few_iterations: None) -> None:
    n, k = 24, 3
    some = LinearConstraint(np.eye(n * k)[::k], 0, np.arange(n) < 6)
    values = np.random.default_rng(0).standard_normal((n, n))
    grouper = ProgrammingGrouper(k, overlap="none", min_size=[5, 1, 1], constraints=some).fit(values)
    assert set(grouper.groups_[0]) < set(range(6)) and grouper.objective_ <= grouper.bound_
