"""The Omega index against scikit-learn's adjusted Rand index, a plain loop, and by hand."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from taskgroup_core.errors import InputError
from taskgroup_core.grouping.agreement import omega_index
from taskgroup_core.grouping.grouping import Grouping


def random_cover(rng: np.random.Generator, n: int, k: int) -> Grouping:
    labels = rng.integers(k, size=n)
    groups = {int(g): {int(t) for t in range(n) if labels[t] == g or rng.random() < 0.2} for g in labels}
    place = {g: index for index, g in enumerate(groups)}
    return Grouping(tuple(tuple(sorted(one)) for one in groups.values()), tuple(place[int(g)] for g in labels))


def by_loops(first: Grouping, second: Grouping) -> float:
    n = len(first.served_by)
    counts = [
        [sum(i in g and j in g for g in one.groups) for i, j in combinations(range(n), 2)] for one in (first, second)
    ]
    pairs = list(zip(*counts, strict=True))
    observed = sum(a == b for a, b in pairs) / len(pairs)
    chance = sum(a == b for a in counts[0] for b in counts[1]) / len(pairs) ** 2
    return (observed - chance) / (1 - chance)


@pytest.mark.parametrize("seed", range(6))
def test_for_disjoint_groups_it_is_the_adjusted_rand_index(seed: int) -> None:
    rng = np.random.default_rng(seed)
    one, two = (rng.integers(4, size=10) for _ in range(2))
    assert omega_index(Grouping.from_labels(one), Grouping.from_labels(two)) == pytest.approx(
        adjusted_rand_score(one, two)
    )


@pytest.mark.parametrize("seed", range(6))
def test_overlapping_groups_by_loops(seed: int) -> None:
    rng = np.random.default_rng(seed)
    one, two = random_cover(rng, 8, 3), random_cover(rng, 8, 3)
    assert omega_index(one, two) == pytest.approx(by_loops(one, two)) == omega_index(two, one)
    assert omega_index(one, one) == 1


def test_where_nothing_can_differ_it_is_one() -> None:
    assert omega_index(Grouping.from_labels([0, 0, 0]), Grouping.from_labels([1, 1, 1])) == 1


def test_bad_groupings() -> None:
    two = Grouping.from_labels([0, 1])
    with pytest.raises(InputError, match="first, second"):
        omega_index(two, Grouping.from_labels([0, 1, 1]))
    with pytest.raises(InputError, match="first, second"):
        omega_index(Grouping.from_labels([0]), Grouping.from_labels([0]))
