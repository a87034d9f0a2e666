"""Branch and bound against the exact selection, and its limits."""

from __future__ import annotations

import numpy as np
import pytest

from taskgroup_core.errors import InputError
from taskgroup_core.grouping.best_served import BestServedGrouper
from taskgroup_core.grouping.branch_and_bound import BranchAndBoundGrouper


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("singletons", ["excluded", "diagonal"])
def test_the_same_optimum_as_best_served(seed: int, singletons: str) -> None:
    generator = np.random.default_rng(seed)
    n, b = int(generator.integers(3, 7)), int(generator.integers(1, 4))
    affinity = generator.standard_normal((n, n)) - 100 * (seed % 3 == 0)
    if seed % 4 == 0:
        affinity = affinity.round()  # ties
    tree = BranchAndBoundGrouper(min(b, n), singletons=singletons).fit(affinity)
    exact = BestServedGrouper(min(b, n), singletons=singletons).fit(affinity)
    assert tree.objective_ == pytest.approx(exact.objective_)
    assert tree.gap_ == 0 and tree.nodes_ >= 1 and len(tree.groups_) <= b


@pytest.mark.parametrize("unit", [1.0, 1e-16, 1e-100, 1e17])
def test_two_tasks_and_any_unit_of_the_affinity(unit: float) -> None:
    pair = BranchAndBoundGrouper(1).fit(unit * np.array([[0.0, 1.0], [2.0, 0.0]]))
    assert pair.groups_ == ((0, 1),) and pair.objective_ == pytest.approx(1.5 * unit, abs=0)
    assert BranchAndBoundGrouper(2).fit(np.full((4, 4), unit)).groups_
    for seed in range(5):
        affinity = unit * np.random.default_rng(seed).standard_normal((4, 4))
        tree, exact = BranchAndBoundGrouper(3).fit(affinity), BestServedGrouper(3).fit(affinity)
        assert tree.objective_ == pytest.approx(exact.objective_, abs=0)


def test_every_task_is_served_by_a_group_that_holds_it() -> None:
    tree = BranchAndBoundGrouper(2).fit(np.kron(np.eye(2), np.ones((3, 3))))
    assert tree.groups_ == ((0, 1, 2), (3, 4, 5)) and tree.labels_.tolist() == [0, 0, 0, 1, 1, 1]


def test_out_of_time_there_is_a_bound() -> None:
    affinity = np.random.default_rng(5).standard_normal((9, 9))
    short = BranchAndBoundGrouper(5, time_limit=0.02).fit(affinity)
    exact = BestServedGrouper(5).fit(affinity)
    assert short.objective_ <= exact.objective_ + 1e-12 <= short.bound_ + 1e-9
    assert "Time limit" in short.status_ or short.gap_ == 0


@pytest.mark.parametrize(
    ("n", "options", "named"),
    [(13, {"n_groups": 2}, "affinity"), (1, {"n_groups": 1}, "affinity"), (4, {"n_groups": 5}, "n_groups"),
     (4, {"n_groups": 2, "singletons": "maybe"}, "singletons"), (4, {"n_groups": 2, "time_limit": 0}, "time_limit")],
)  # fmt: skip
def test_bad_arguments(n: int, options: dict[str, object], named: str) -> None:
    with pytest.raises(InputError, match=named):
        BranchAndBoundGrouper(**options).fit(np.eye(n))  # type: ignore[arg-type]
