"""Random groups under size limits, against the list of all choices."""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from math import sqrt

import pytest

from taskgroup_core.errors import InputError
from taskgroup_core.grouping import random_choice
from taskgroup_core.grouping.random_choice import random_groups


def all_choices(n: int, m: int, low: int, high: int) -> set[tuple[tuple[int, ...], ...]]:
    sets = [group for size in range(low, high + 1) for group in combinations(range(n), size)]
    return {tuple(sorted(some)) for some in combinations(sets, m) if set().union(*some) == set(range(n))}


@pytest.mark.parametrize(("n", "m", "low", "high"), [(3, 2, 1, 2), (4, 2, 2, 3)])
def test_every_choice_is_drawn_equally_often(n: int, m: int, low: int, high: int) -> None:
    choices, draws = all_choices(n, m, low, high), 600
    drawn = [random_groups(n, m, min_size=low, max_size=high, random_state=seed) for seed in range(draws)]
    counts = Counter(drawn)
    assert set(counts) == choices
    expected = draws / len(choices)
    assert all(abs(count - expected) < 5 * sqrt(expected) for count in counts.values())


def test_the_same_seed_gives_the_same_groups_and_another_seed_others() -> None:
    first, again, other = (random_groups(9, 3, max_size=5, random_state=seed) for seed in (4, 4, 5))
    assert first == again != other
    assert set().union(*first) == set(range(9)) and max(map(len, first)) <= 5 and len(set(first)) == 3


def test_limits_that_leave_one_choice() -> None:
    assert random_groups(3, 3, max_size=1) == ((0,), (1,), (2,))
    assert random_groups(3, 1) == ((0, 1, 2),)


@pytest.mark.parametrize(
    ("named", "arguments"),
    [
        ("n_groups", {"n_groups": 0}),
        ("max_size", {"n_groups": 2, "max_size": 1}),
        ("min_size", {"n_groups": 2, "min_size": 5}),
        ("min_size", {"n_groups": 2, "min_size": 4}),
        ("random_state", {"n_groups": 2, "random_state": -1}),
    ],
)
def test_what_cannot_be_drawn(named: str, arguments: dict[str, int]) -> None:
    with pytest.raises(InputError, match=named):
        random_groups(4, **arguments)


def test_more_sets_than_floats_can_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random_choice, "BATCH", 10)
    groups = random_groups(1100, 12)
    assert len(set(groups)) == 12 and set().union(*groups) == set(range(1100))


@pytest.mark.parametrize("n_tasks", [6.0, 0, True])
def test_tasks_that_cannot_be(n_tasks: int) -> None:
    with pytest.raises(InputError, match="n_tasks"):
        random_groups(n_tasks, 1)
