"""What is promised of every grouper that reads an affinity: none is left out, and each is asked the same."""

from __future__ import annotations

import inspect
import pkgutil
from importlib import import_module
from typing import Any

import numpy as np
import pytest

import taskgroup_core.grouping
from taskgroup_core.grouping import branch_and_bound
from taskgroup_core.grouping.best_served import BestServedGrouper
from taskgroup_core.grouping.branch_and_bound import BranchAndBoundGrouper
from taskgroup_core.grouping.choice_of_k import ChoiceOfK
from taskgroup_core.grouping.exhaustive import ExhaustiveGrouper
from taskgroup_core.grouping.grouping import Grouper, Grouping
from taskgroup_core.grouping.overlapping import OverlappingGrouper
from taskgroup_core.grouping.sdp import SDPGrouper
from taskgroup_core.matrices import FloatArray
from tests.groupers import EVERY

PARTITIONS = [name for name in EVERY if name.split("G")[0] in ("SDP", "Exhaustive", "Spectral", "Lloyd")]
SERVED = ["BestServedGrouper", "BranchAndBoundGrouper", "ExhaustiveCoverGrouper, served", "ProgrammingGrouper, served"]
BOUNDED = ["BestServedGrouper", "BranchAndBoundGrouper", "ExhaustiveCoverGrouper", "ExhaustiveCoverGrouper, served"]
BOUNDED += ["ProgrammingGrouper", "ProgrammingGrouper, served"]
every = pytest.mark.parametrize("name", EVERY)


def planted(seed: int, n: int = 8, k: int = 2, noise: float = 0.1) -> FloatArray:
    labels = np.arange(n) % k
    return (labels[:, None] == labels) + noise * np.random.default_rng(seed).standard_normal((n, n))


def grouping_of(grouper: Any) -> Grouping:
    found: Grouping = (grouper.grouper_ if isinstance(grouper, ChoiceOfK) else grouper).grouping_
    return found


def sets(grouping: Grouping) -> set[frozenset[int]]:
    return {frozenset(group) for group in grouping.groups}


def test_no_grouper_is_left_out() -> None:
    found = set()
    for module in pkgutil.iter_modules(taskgroup_core.grouping.__path__, "taskgroup_core.grouping."):
        for name, one in inspect.getmembers(import_module(module.name), inspect.isclass):
            reads = hasattr(one, "fit") and "affinity" in inspect.signature(one.fit).parameters
            if one.__module__ == module.name and reads and one not in (Grouper, OverlappingGrouper):
                found.add(name)
    assert found == {name.split(",")[0] for name in EVERY}


@every
def test_two_runs_agree_bit_for_bit_and_leave_the_affinity_alone(name: str) -> None:
    values = planted(3, noise=1.0)
    given = values.copy()
    one, two = (EVERY[name](2).fit(values) for _ in range(2))
    assert grouping_of(one) == grouping_of(two) and np.array_equal(values, given)
    for word in ("objective_", "bound_", "relaxation_", "embedding_", "labels_", "null_gains_", "status_"):
        if hasattr(one, word):
            assert np.array_equal(getattr(one, word), getattr(two, word)), word


@every
@pytest.mark.parametrize(
    "values", [np.zeros((6, 6)), np.full((6, 6), -2.5), np.eye(6), np.kron(np.eye(3), np.ones((2, 2)))]
)
def test_ties_are_broken_the_same_way_every_time_and_by_a_whole_cover(name: str, values: FloatArray) -> None:
    one, two = (grouping_of(EVERY[name](3).fit(values)) for _ in range(2))
    assert one == two and {task for group in one.groups for task in group} == set(range(6))
    assert all(task in one.groups[group] for task, group in enumerate(one.served_by))


@pytest.mark.parametrize("name", [name for name in EVERY if name != "RandomGrouper"])
@pytest.mark.parametrize("seed", range(2))
def test_groups_follow_a_permutation_of_the_tasks(name: str, seed: int) -> None:
    values, order = planted(seed), np.random.default_rng(seed).permutation(8)
    before, after = (EVERY[name](2).fit(one) for one in (values, values[np.ix_(order, order)]))
    moved = {frozenset(order[list(group)].tolist()) for group in grouping_of(after).groups}
    assert moved == sets(grouping_of(before))
    if hasattr(before, "objective_"):
        assert after.objective_ == pytest.approx(before.objective_, rel=1e-9)


@pytest.mark.parametrize("name", [name for name in EVERY if name != "RandomGrouper"])
@pytest.mark.parametrize("scale", [1e-3, 1e4])
def test_a_positive_scale_leaves_the_groups(name: str, scale: float) -> None:
    values = planted(1, noise=0.3)
    plain, scaled = (EVERY[name](2).fit(one) for one in (values, scale * values))
    assert grouping_of(plain) == grouping_of(scaled)
    for word in ("objective_", "bound_", "certified_bound_"):
        if hasattr(plain, word):
            assert getattr(scaled, word) == pytest.approx(scale * getattr(plain, word), rel=1e-5)


@pytest.mark.parametrize("name", [*PARTITIONS, *SERVED, "GATMixtureGrouper", "ChoiceOfK"])
@pytest.mark.parametrize("constant", [-50.0, 3.0])
def test_a_constant_leaves_the_groups_where_every_task_is_paid_once(name: str, constant: float) -> None:
    values = planted(2, noise=0.3)
    plain, moved = (EVERY[name](2).fit(one) for one in (values, values + constant))
    assert grouping_of(plain) == grouping_of(moved)
    if name in SERVED:
        paid = 8 * constant if name.startswith("Programming") else constant  # a sum over tasks, or a mean
        assert moved.objective_ == pytest.approx(plain.objective_ + paid, abs=1e-9)
    elif hasattr(plain, "objective_"):
        assert moved.objective_ == pytest.approx(plain.objective_ + constant * 8 / len(plain.groups_), abs=1e-9)


def test_a_constant_buys_overlap_where_every_group_is_paid() -> None:
    values = planted(2, noise=0.3)
    for name in ("ProgrammingGrouper", "ExhaustiveCoverGrouper"):
        few, many = (sum(map(len, EVERY[name](2).fit(values + shift).groups_)) for shift in (-50, 50))
        assert few == 8 < many


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("k", [1, 2, 3])
def test_bounds_never_cross_and_exact_groupers_agree(seed: int, k: int) -> None:
    values = np.random.default_rng(seed).standard_normal((6, 6)) - 3 * (seed % 3)
    found = {name: EVERY[name](k).fit(values) for name in [*BOUNDED, "ExhaustiveGrouper", "SDPGrouper, ADMM"]}
    for name in BOUNDED:
        assert found[name].objective_ <= found[name].bound_ and found[name].gap_ == 0, name
    best, sdp = found["ExhaustiveGrouper"].objective_, found["SDPGrouper, ADMM"]
    assert sdp.objective_ <= best + 1e-12 and best <= sdp.certified_bound_ and sdp.certified_gap_ >= 0
    covers = found["ExhaustiveCoverGrouper"].objective_
    assert best <= covers + 1e-12
    assert found["ProgrammingGrouper"].objective_ / k == pytest.approx(covers)
    once = found["ExhaustiveCoverGrouper, served"].objective_
    assert found["BestServedGrouper"].objective_ == pytest.approx(once)
    assert found["BranchAndBoundGrouper"].objective_ == pytest.approx(once)


def test_a_tree_cut_short_says_so_and_its_bound_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(5).standard_normal((8, 8))
    ticks = iter(range(10**6))
    monkeypatch.setattr(branch_and_bound, "perf_counter", lambda: float(next(ticks)))
    short = BranchAndBoundGrouper(3, time_limit=30).fit(values)
    exact = BestServedGrouper(3).fit(values)
    assert "Time limit reached" in short.status_ and short.gap_ > 0
    assert short.objective_ <= exact.objective_ + 1e-12 <= short.bound_ + 1e-9


@pytest.mark.parametrize("max_iterations", [1, 20])
def test_a_solver_cut_short_says_so_and_its_certificate_holds(max_iterations: int) -> None:
    values = planted(4, noise=1.0)
    options = {"max_iterations": max_iterations, "tolerance": 1e-12}
    short = SDPGrouper(3, solver="ADMM", solver_options=options).fit(values)
    assert short.solver_status_ == "optimal_inaccurate" and "give up at most" in short.status_
    assert short.objective_ <= ExhaustiveGrouper(3).fit(values).objective_ + 1e-12 <= short.certified_bound_ + 2e-12
