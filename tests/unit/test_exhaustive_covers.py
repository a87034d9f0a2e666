"""The best cover against plain enumeration, and the exact groupers against the best cover."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone

from taskgroup_core.errors import InputError
from taskgroup_core.grouping.best_served import BestServedGrouper
from taskgroup_core.grouping.exhaustive import ExhaustiveGrouper
from taskgroup_core.grouping.exhaustive_covers import OBJECTIVES, ExhaustiveCoverGrouper
from taskgroup_core.grouping.group_selection import InfeasibleError
from taskgroup_core.grouping.grouping import average_density
from taskgroup_core.grouping.programming import ProgrammingGrouper
from taskgroup_core.matrices import FloatArray
from tests.covers import all_gains, best_choice, draw, network_gains


def enumerated(values: FloatArray, k: int, objective: str, singletons: str) -> float:
    """The objective of the best of all choices of exactly k sets ("every_group") or at most k (the others)."""
    if objective == "every_group":
        return best_choice(all_gains(values, True, "size"), k, "every_group") / k
    gains = all_gains(values, True, "size") if objective == "served_rows" else network_gains(values, singletons)
    return max(best_choice(gains, min(j, len(gains)), "best_served") for j in range(1, k + 1)) / len(values)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_optimum_is_that_of_enumeration(objective: str) -> None:
    rng = np.random.default_rng(11)
    for case in range(40):
        n = int(rng.integers(2, 6))
        k, singletons = int(rng.integers(1, min(n, 4 if n < 5 else 3) + 1)), ("excluded", "diagonal")[case % 2]
        values = draw(rng, n)
        found = ExhaustiveCoverGrouper(k, objective=objective, singletons=singletons).fit(values)
        best = enumerated(values, k, objective, singletons)
        assert found.objective_ == pytest.approx(best, rel=1e-9, abs=1e-9 * np.abs(values).max()), (case, n, k)
        assert set().union(*map(set, found.groups_)) == set(range(n)) and found.gap_ == 0
        assert len(set(found.groups_)) == len(found.groups_) <= k
        assert objective != "every_group" or len(found.groups_) == k


def test_fewer_groups_may_be_denser() -> None:
    values = np.ones((4, 4))  # a group's density is its size
    exactly, fewer = (ExhaustiveCoverGrouper(3, fewer=one).fit(values) for one in (False, True))
    assert fewer.groups_ == ((0, 1, 2, 3),) and fewer.objective_ == 4
    assert len(exactly.groups_) == 3 and exactly.objective_ == pytest.approx((4 + 3 + 3) / 3)


@pytest.mark.parametrize("seed", range(3))
def test_programming_and_best_served_reach_it_with_eight_tasks(seed: int) -> None:
    values, k = np.random.default_rng(seed).standard_normal((8, 8)), 3
    every, rows, others = (ExhaustiveCoverGrouper(k, objective=one).fit(values) for one in OBJECTIVES)
    assert ProgrammingGrouper(k).fit(values).objective_ == pytest.approx(k * every.objective_)
    assert ProgrammingGrouper(k, overlap="best_served").fit(values).objective_ == pytest.approx(8 * rows.objective_)
    assert BestServedGrouper(k).fit(values).objective_ == pytest.approx(others.objective_)
    assert every.objective_ >= ExhaustiveGrouper(k).fit(values).objective_


def test_overlap_pays_where_one_task_helps_everybody() -> None:
    values = np.kron(np.eye(2), np.ones((2, 2))) - np.kron(1 - np.eye(2), np.ones((2, 2)))
    values = np.pad(values, (0, 1), constant_values=1.0)  # the fifth task is good for both pairs, which harm each other
    found = ExhaustiveCoverGrouper(2).fit(values)
    assert found.groups_ == ((0, 1, 4), (2, 3, 4)) and found.objective_ == average_density(values, found.groups_) == 3
    assert found.labels_ is None and "Proved" in found.status_ and clone(found).n_groups == 2
    served = ExhaustiveCoverGrouper(2, objective="served_others").fit(values)
    assert served.objective_ == 1 and all(task in served.groups_[g] for task, g in enumerate(served.served_by_))


@pytest.mark.parametrize(
    ("n", "options", "named"),
    [(11, {"n_groups": 2}, "affinity"), (4, {"n_groups": 5}, "n_groups"), (4, {"n_groups": 2, "fewer": 1}, "fewer"),
     (4, {"n_groups": 2, "objective": "density"}, "objective"), (4, {"n_groups": 2, "singletons": "no"}, "singletons")],
)  # fmt: skip
def test_bad_arguments(n: int, options: dict[str, object], named: str) -> None:
    with pytest.raises(InputError, match=named):
        ExhaustiveCoverGrouper(**options).fit(np.eye(n))  # type: ignore[arg-type]


def test_one_task_has_no_other() -> None:
    with pytest.raises(InfeasibleError, match="one task"):
        ExhaustiveCoverGrouper(1, objective="served_others").fit([[1.0]])
    alone = ExhaustiveCoverGrouper(1, objective="served_others", singletons="diagonal").fit([[3.0]])
    assert alone.groups_ == ((0,),) and alone.objective_ == 3
