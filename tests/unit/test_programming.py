"""Grouping by mathematical programming, against plain enumeration."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from scipy.optimize import LinearConstraint

from taskgroup_core.grouping import group_relaxation, group_search
from taskgroup_core.grouping.exhaustive import ExhaustiveGrouper
from taskgroup_core.grouping.group_selection import InfeasibleError
from taskgroup_core.grouping.programming import OVERLAPS, ProgrammingGrouper
from tests.covers import all_gains, best_choice, draw, payoffs


@pytest.mark.parametrize("enough", [3, 400])
@pytest.mark.parametrize("overlap", OVERLAPS)
def test_the_optimum_is_that_of_enumeration(monkeypatch: pytest.MonkeyPatch, overlap: str, enough: int) -> None:
    # With 3 sets in the first programme and 3 generated at a time, generation and fixing are put to work at this size.
    monkeypatch.setattr(group_relaxation, "BATCH", min(enough, group_relaxation.BATCH))
    for module in (group_relaxation, group_search):
        monkeypatch.setattr(module, "ENOUGH", enough)
    rng = np.random.default_rng(enough)
    for case in range(75):  # times six sets of parameters, and 60 cases with limits below: more than 500 in all
        n = int(rng.integers(2, 7))
        k = int(rng.integers(1, min(n, 3) + 1))
        values, diagonal, divisor = draw(rng, n), bool(rng.integers(2)), ("size", "others")[rng.integers(2)]
        best = best_choice(all_gains(values, diagonal, divisor), k, overlap)
        grouper = ProgrammingGrouper(k, diagonal=diagonal, divisor=divisor, overlap=overlap).fit(values)
        assert grouper.objective_ == pytest.approx(best, rel=1e-9, abs=1e-9 * np.abs(values).max()), case
        assert grouper.gap_ == 0 and grouper.bound_ == grouper.objective_ and "Proved" in grouper.status_
        assert len(set(grouper.groups_)) == k


def test_limits_of_each_group_are_met_exactly_or_found_infeasible() -> None:
    rng = np.random.default_rng(7)
    infeasible = 0
    for case in range(60):
        n, k = int(rng.integers(2, 5)), 2
        values, overlap = draw(rng, n), OVERLAPS[case % 3]
        low = rng.integers(1, 3, k)
        high = np.minimum(low + rng.integers(0, 3, k), n)
        low = np.minimum(low, high)
        costs, budgets = rng.integers(1, 4, (n, k)), rng.integers(3, 9, k)
        matrix = rng.integers(-1, 2, (1, n * k))
        grouper = ProgrammingGrouper(
            k, overlap=overlap, min_size=low.tolist(), max_size=high.tolist(), costs=costs, budgets=budgets,
            constraints=LinearConstraint(matrix, -1, 2),
        )  # fmt: skip
        gains = all_gains(values, True, "size")
        choices = np.array(list(permutations(range(len(gains)), k)))
        members = np.isfinite(gains)[choices]  # [choice, group, task]
        size, cost = members.sum(axis=2), np.einsum("cjt,tj->cj", members, costs)
        total = np.einsum("cjt,tj->c", members, matrix.reshape(n, k))
        fits = ((low <= size) & (size <= high) & (cost <= budgets)).all(axis=1) & (total >= -1) & (total <= 2)
        best = np.where(fits, payoffs(gains, choices, overlap), -np.inf).max()
        if best == -np.inf:
            infeasible += 1
            with pytest.raises(InfeasibleError):
                grouper.fit(values)
            assert grouper.status_.startswith("Infeasible")
        else:
            assert grouper.fit(values).objective_ == pytest.approx(best, rel=1e-9, abs=1e-9 * np.abs(values).max()), (
                case
            )
    assert 5 < infeasible < 55


@pytest.mark.parametrize("k", [2, 4])
def test_without_overlap_it_is_the_best_partition(k: int) -> None:
    values = np.random.default_rng(k).standard_normal((12, 12))
    grouper, best = ProgrammingGrouper(k, overlap="none").fit(values), ExhaustiveGrouper(k).fit(values)
    assert grouper.groups_ == best.groups_
    assert grouper.objective_ == pytest.approx(k * best.objective_, rel=1e-12)
    np.testing.assert_array_equal(grouper.labels_, best.labels_)


def test_the_toy_affinity_gives_its_three_pairs() -> None:
    values = np.kron([[7.0, 6.0, 5.0], [6.0, 20.0, 19.0], [5.0, 19.0, 20.0]], np.ones((2, 2)))
    grouper = ProgrammingGrouper(3, overlap="none").fit(values)
    assert grouper.groups_ == ((0, 1), (2, 3), (4, 5)) and grouper.objective_ == pytest.approx(94, rel=1e-12)


@pytest.mark.parametrize("overlap", OVERLAPS)
def test_order_and_scale_of_the_tasks_do_not_matter(overlap: str) -> None:
    rng = np.random.default_rng(3)
    values, order = rng.standard_normal((9, 9)), rng.permutation(9)
    first = ProgrammingGrouper(3, overlap=overlap).fit(values)
    again = ProgrammingGrouper(3, overlap=overlap).fit(1e5 * values[np.ix_(order, order)])
    assert again.objective_ == pytest.approx(1e5 * first.objective_, rel=1e-9)
    assert {frozenset(order[list(group)]) for group in again.groups_} == {frozenset(group) for group in first.groups_}


def test_ties_are_broken_the_same_way_every_time() -> None:
    first, again = (ProgrammingGrouper(3).fit(np.ones((7, 7))) for _ in range(2))
    assert first.groups_ == again.groups_ and first.served_by_ == again.served_by_


def test_a_task_is_served_by_the_group_where_its_row_is_highest() -> None:
    values = np.random.default_rng(5).standard_normal((6, 6))
    grouper = ProgrammingGrouper(4).fit(values)
    for task, server in enumerate(grouper.served_by_):
        rows = [values[task, list(group)].mean() for group in grouper.groups_ if task in group]
        assert values[task, list(grouper.groups_[server])].mean() == max(rows)


def test_out_of_time_there_is_a_grouping_a_bound_and_a_gap() -> None:
    values = np.random.default_rng(2).standard_normal((12, 12))
    best = ProgrammingGrouper(3).fit(values)
    hasty = ProgrammingGrouper(3, time_limit=1e-9).fit(values)
    assert "Time limit" in hasty.status_ and hasty.gap_ >= 0
    assert hasty.objective_ <= best.objective_ + 1e-9 <= hasty.bound_ + 2e-9
    assert {task for group in hasty.groups_ for task in group} == set(range(12))
