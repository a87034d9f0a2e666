"""Bad input to mathematical programming for more than 20 tasks: one clear error each."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.optimize import LinearConstraint

from taskgroup_core.errors import InputError
from taskgroup_core.grouping.group_selection import InfeasibleError
from taskgroup_core.grouping.programming import ProgrammingGrouper

N = 22
GOOD = np.eye(N)


@pytest.mark.parametrize(
    ("found", "arguments"),
    [
        ("no grouping, and one without max_size", {"max_size": 10}),
        ("2 distinct groups asked for where 1 sets suit group 0 under min_size", {"min_size": N}),
        ("no group for task 21 under budgets", {"costs": [*[1] * 21, 99], "budgets": 50}),
        (
            "2 distinct groups asked for where 0 sets suit group 0 under min_size, budgets",
            {"costs": 1, "budgets": 5, "min_size": 6},
        ),
        (
            "no grouping, and one without constraints",
            {"constraints": LinearConstraint(np.ones((1, 2 * N)), -np.inf, N - 1)},
        ),
        ('no grouping, and one without min_size or without overlap="none"', {"min_size": 12, "overlap": "none"}),
        ("no grouping, and none with any one of max_size, budgets left out", {"max_size": 9, "costs": 1, "budgets": 9}),
    ],
)
def test_limits_that_nothing_meets_are_named(found: str, arguments: dict[str, Any]) -> None:
    grouper = ProgrammingGrouper(2, **arguments)
    with pytest.raises(InfeasibleError) as error:
        grouper.fit(GOOD)
    assert found in str(error.value) and grouper.status_ == f"Infeasible: {found}. Loosen a limit."


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("divisor", {"divisor": "n"}),
        ("overlap", {"overlap": "soft"}),
        ("min_size", {"min_size": N + 1}),
        ("max_size", {"max_size": 1, "min_size": 2}),
        ("budgets", {"costs": 1}),
        ("costs", {"costs": [1, 2, 3], "budgets": 1}),
        ("constraints", {"constraints": LinearConstraint(np.ones((1, 7)), 0, 1)}),
    ],
)
def test_an_option_that_cannot_be(name: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=name):
        ProgrammingGrouper(2, **arguments).fit(GOOD)
