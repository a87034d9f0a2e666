"""Bad input to the exact groupers whose groups may overlap: one clear error each."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.optimize import LinearConstraint

from taskgroup_core.errors import InputError
from taskgroup_core.grouping.best_served import BestServedGrouper, member_scores
from taskgroup_core.grouping.group_selection import InfeasibleError
from taskgroup_core.grouping.programming import ProgrammingGrouper
from taskgroup_core.matrices import make_affinity

GOOD = np.eye(4)
ALTERED = LinearConstraint(np.ones((2, 8)), 0, 1)
ALTERED.lb = np.zeros(3)


def test_more_tasks_than_best_served_can_list() -> None:
    with pytest.raises(InputError, match="affinity"):
        BestServedGrouper(1).fit(np.eye(21))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("diagonal", {"diagonal": 1}),
        ("divisor", {"divisor": "n"}),
        ("overlap", {"overlap": "soft"}),
        ("min_size", {"min_size": 0}),
        ("min_size", {"min_size": 5}),
        ("min_size", {"min_size": [1, 2, 3]}),
        ("min_size", {"min_size": 1.5}),
        ("max_size", {"max_size": 1, "min_size": 2}),
        ("costs", {"budgets": 1}),
        ("budgets", {"costs": 1}),
        ("costs", {"costs": [1, 2, 3], "budgets": 1}),
        ("costs", {"costs": np.nan, "budgets": 1}),
        ("budgets", {"costs": 1, "budgets": [1, 2, 3]}),
        ("budgets", {"costs": 1, "budgets": "much"}),
        ("constraints", {"constraints": LinearConstraint(np.ones((1, 7)), 0, 1)}),
        ("constraints", {"constraints": LinearConstraint(np.ones((1, 8)), 2, 1)}),
        ("constraints", {"constraints": LinearConstraint(np.full((1, 8), np.nan), 0, 1)}),
        ("constraints", {"constraints": ["x"]}),
        ("constraints", {"constraints": 5}),
        ("constraints", {"constraints": ALTERED}),
        ("time_limit", {"time_limit": 0}),
        ("time_limit", {"time_limit": "1"}),
    ],
)
def test_an_option_of_programming_that_cannot_be(name: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=name):
        ProgrammingGrouper(2, **arguments).fit(GOOD)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("max_size", {"max_size": 1}),
        ("budgets", {"costs": [1, 1, 1, 9], "budgets": 5}),
        ("constraints", {"constraints": LinearConstraint(np.ones((1, 8)), -np.inf, 3)}),
        ("overlap", {"min_size": 3, "overlap": "none"}),
    ],
)
def test_limits_that_nothing_meets_are_named(name: str, arguments: dict[str, Any]) -> None:
    grouper = ProgrammingGrouper(2, **arguments)
    with pytest.raises(InfeasibleError, match=name):
        grouper.fit(GOOD)
    assert grouper.status_.startswith("Infeasible") and name in grouper.status_


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("budget", {"budget": 0}),
        ("budget", {"budget": np.nan}),
        ("budget", {"budget": "2"}),
        ("singletons", {"singletons": "allowed"}),
        ("minimise", {"minimise": "yes"}),
        ("cheaper", {"cheaper": np.eye(3)}),
        ("cheaper", {"cheaper": [1.0, 2.0, 3.0]}),
        ("cheaper", {"cheaper": [1.0, 2.0, 3.0, np.nan]}),
        ("cheaper", {"cheaper": make_affinity(GOOD, list("abcx"))}),
        ("cheaper", {"cheaper": make_affinity(GOOD, list("abcd")).rename(source="from")}),
        ("cheaper_cost", {"cheaper": GOOD, "cheaper_cost": 0}),
        ("time_limit", {"time_limit": -1}),
    ],
)
def test_an_option_of_best_served_that_cannot_be(name: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=name):
        BestServedGrouper(**{"budget": 2, **arguments}).fit(make_affinity(GOOD, list("abcd")))


def test_best_served_limits_that_nothing_meets_are_named() -> None:
    with pytest.raises(InfeasibleError, match="budget"):
        BestServedGrouper(0.5).fit(GOOD)
    with pytest.raises(InfeasibleError, match="singletons"):
        BestServedGrouper(1).fit(np.eye(1))


def test_groups_that_cannot_be_scored() -> None:
    with pytest.raises(InputError, match="groups"):
        member_scores(GOOD, [(0, 4)])
    with pytest.raises(InputError, match="singletons"):
        member_scores(GOOD, [(0, 1)], singletons="yes")


@pytest.mark.parametrize("make", [ProgrammingGrouper, BestServedGrouper])
def test_a_misspelt_argument(make: type[Any]) -> None:
    with pytest.raises(TypeError, match="timelimit"):
        make(2, timelimit=1)
