"""Best-served selection, against plain enumeration."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import xarray as xr

from taskgroup_core.grouping import group_relaxation, group_search
from taskgroup_core.grouping.best_served import SINGLETONS, BestServedGrouper, member_scores
from taskgroup_core.grouping.group_selection import InfeasibleError
from taskgroup_core.matrices import FloatArray, make_affinity
from tests.covers import draw, network_gains


def enumerate_best(kinds: list[tuple[FloatArray, float]], budget: float, singletons: str) -> float:
    """The best mean served score over all affordable choices of networks."""
    rows = [network_gains(values, singletons) for values, _ in kinds]
    scores = np.concatenate(rows)
    price = np.repeat([cost for _, cost in kinds], [len(part) for part in rows])
    best = -np.inf
    for count in range(1, int(budget / price.min()) + 1):
        choices = np.array(list(combinations(range(len(scores)), min(count, len(scores)))))
        affordable = choices[price[choices].sum(axis=1) <= budget]
        if len(affordable):
            best = max(best, float(scores[affordable].max(axis=1).mean(axis=1).max()))
    return best


@pytest.mark.parametrize("enough", [3, 400])
@pytest.mark.parametrize("singletons", SINGLETONS)
def test_the_optimum_is_that_of_enumeration(monkeypatch: pytest.MonkeyPatch, singletons: str, enough: int) -> None:
    # With 3 sets in the first programme and 3 generated at a time, generation and fixing are put to work at this size.
    monkeypatch.setattr(group_relaxation, "BATCH", min(enough, group_relaxation.BATCH))
    for module in (group_relaxation, group_search):
        monkeypatch.setattr(module, "ENOUGH", enough)
    rng = np.random.default_rng(enough)
    for case in range(50):
        n, budget = int(rng.integers(2, 7)), int(rng.integers(1, 4))
        values, minimise = draw(rng, n), bool(rng.integers(2))
        sign = -1.0 if minimise else 1.0
        best = sign * enumerate_best([(sign * values, 1.0)], budget, singletons)
        grouper = BestServedGrouper(budget, singletons=singletons, minimise=minimise).fit(values)
        assert grouper.objective_ == pytest.approx(best, rel=1e-9, abs=1e-9 * np.abs(values).max()), case
        assert grouper.gap_ == 0 and len(grouper.groups_) <= budget
        assert set(grouper.served_by_) == set(range(len(grouper.groups_)))


@pytest.mark.parametrize("singletons", SINGLETONS)
@pytest.mark.parametrize("budget", [0.5, 1.0, 1.5, 2.0])
def test_cheaper_networks_are_used_as_the_budget_allows(budget: float, singletons: str) -> None:
    rng = np.random.default_rng(int(10 * budget))
    for _ in range(6):
        values, cheaper = draw(rng, 3), draw(rng, 3)
        grouper = BestServedGrouper(budget, singletons=singletons, cheaper=cheaper).fit(values)
        kinds = [(values, 1.0), (cheaper, 0.5)]
        assert grouper.objective_ == pytest.approx(enumerate_best(kinds, budget, singletons), rel=1e-9, abs=1e-9)
        assert grouper.costs_.sum() <= budget and set(grouper.costs_) <= {0.5, 1.0}


@pytest.mark.parametrize("singletons", SINGLETONS)
@pytest.mark.parametrize("budget", [0.5, 1.0, 1.5, 2.0, 2.5])
def test_cheaper_networks_of_one_task_each(budget: float, singletons: str) -> None:
    # Given all networks of full size, the best use of h cheaper ones is for the h tasks that they improve most.
    rng = np.random.default_rng(int(10 * budget))
    for case in range(8):
        n, minimise = int(rng.integers(2, 5)), bool(rng.integers(2))
        values, sign = draw(rng, n), -1.0 if minimise else 1.0
        cheaper = rng.choice(values.ravel(), n)
        groups = [
            group for size in range(1 + (singletons == "excluded"), n + 1) for group in combinations(range(n), size)
        ]
        scores = np.nan_to_num(sign * member_scores(values, groups, singletons=singletons), nan=-np.inf).T
        best = -np.inf
        for full in range(int(budget) + 1):
            for chosen in combinations(scores, full):
                served = np.max([np.full(n, -np.inf), *chosen], axis=0)
                for some in combinations(range(n), min(n, int(2 * (budget - full)))):
                    alone = np.isin(np.arange(n), some)
                    best = max(best, np.where(alone, np.maximum(served, sign * cheaper), served).mean())
        grouper = BestServedGrouper(budget, singletons=singletons, minimise=minimise, cheaper=cheaper)
        if best == -np.inf:
            with pytest.raises(InfeasibleError, match="budget"):
                grouper.fit(values)
            continue
        assert grouper.fit(values).objective_ == pytest.approx(
            sign * best, rel=1e-9, abs=1e-9 * np.abs(values).max()
        ), case
        assert grouper.costs_.sum() <= budget and grouper.gap_ == 0
        assert all(len(group) == 1 for group, cost in zip(grouper.groups_, grouper.costs_, strict=True) if cost < 1)
        assert grouper.objective_ == grouper.scores_.mean()


def test_labelled_cheaper_networks_are_matched_by_name() -> None:
    rng, names, order = np.random.default_rng(3), list("abcd"), [3, 1, 0, 2]
    values, pairs = (make_affinity(rng.standard_normal((4, 4)), names) for _ in range(2))
    alone = xr.DataArray(rng.standard_normal(4) + 1, dims="task", coords={"task": names})
    moved = pairs.isel(target=order, source=order).transpose("source", "target")
    for cheaper, other in ((pairs, moved), (alone, alone.isel(task=order))):
        first, second = (BestServedGrouper(1.5, cheaper=one).fit(values) for one in (cheaper, other))
        plain = BestServedGrouper(1.5, cheaper=cheaper.values).fit(values.values)
        assert first.groups_ == second.groups_ == plain.groups_
        assert first.objective_ == second.objective_ == plain.objective_


@pytest.mark.parametrize("limit", [np.int64(9), np.float32(9)])
def test_a_time_limit_may_be_of_numpy(limit: float) -> None:
    assert BestServedGrouper(2, time_limit=limit).fit(np.eye(4)).gap_ == 0


def test_scores_and_labels_belong_to_the_groups() -> None:
    values = np.random.default_rng(0).standard_normal((7, 7))
    grouper = BestServedGrouper(3).fit(values)
    scores = member_scores(values, grouper.groups_)
    np.testing.assert_array_equal(np.nanmax(scores, axis=1), grouper.scores_)
    np.testing.assert_array_equal(np.nanargmax(scores, axis=1), grouper.served_by_)
    assert grouper.objective_ == grouper.scores_.mean()


def test_member_scores_by_hand() -> None:
    values = np.array([[9.0, 1.0, 3.0], [2.0, 8.0, 4.0], [6.0, 5.0, 7.0]])
    scores = member_scores(values, [(0, 1, 2), (2,)], singletons="diagonal")
    np.testing.assert_array_equal(scores, [[2.0, np.nan], [3.0, np.nan], [5.5, 7.0]])
    assert np.isnan(member_scores(values, [(2,)])).all()


@pytest.mark.parametrize("offset", [0.0, -100.0])
def test_order_scale_and_the_level_of_a_row_do_not_matter(offset: float) -> None:
    rng = np.random.default_rng(4)
    values, order = rng.standard_normal((9, 9)), rng.permutation(9)
    first = BestServedGrouper(3).fit(values)
    moved = 1e3 * values + offset * np.arange(9)[:, None]
    again = BestServedGrouper(3).fit(moved[np.ix_(order, order)])
    assert again.objective_ == pytest.approx(1e3 * first.objective_ + offset * 4, rel=1e-9)
    assert {frozenset(order[list(group)]) for group in again.groups_} == {frozenset(group) for group in first.groups_}


def test_more_budget_is_never_worse_and_ties_are_broken_alike() -> None:
    values = np.random.default_rng(8).standard_normal((10, 10))
    found = [BestServedGrouper(budget).fit(values).objective_ for budget in (1, 2, 3, 4)]
    assert found == sorted(found)
    first, again = (BestServedGrouper(2).fit(np.ones((6, 6))) for _ in range(2))
    assert first.groups_ == again.groups_


def test_out_of_time_there_is_a_grouping_a_bound_and_a_gap() -> None:
    values = np.random.default_rng(2).standard_normal((12, 12))
    best = BestServedGrouper(3).fit(values)
    hasty = BestServedGrouper(3, time_limit=1e-9).fit(values)
    assert "Time limit" in hasty.status_ and hasty.gap_ >= 0
    assert hasty.objective_ <= best.objective_ + 1e-9 <= hasty.bound_ + 2e-9
