"""Groups and scores from the affinities that TAG's authors published, where a copy of those is at hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from taskgroup_core.grouping.best_served import BestServedGrouper, member_scores
from taskgroup_core.matrices import FloatArray

PUBLISHED = Path(__file__).resolve().parents[2].parent / "shared" / "reference" / "tag_published_affinities.json"


def published(name: str) -> FloatArray:
    if not PUBLISHED.is_file():
        pytest.skip("the published affinities, tag_published_affinities.json, are not beside this repository")
    table = json.loads(PUBLISHED.read_text())[name]
    return np.array([[table[target][source] for source in table] for target in table])


@pytest.mark.parametrize(
    ("name", "budget", "groups", "score"),
    [
        ("celeba_tag", 2, ((0, 6), (1, 2, 3, 4, 5, 6, 7, 8)), -99.44182),
        ("celeba_tag", 3, ((0, 6), (1, 2, 4, 5, 6, 7, 8), (1, 3)), -92.43843),
        ("taskonomy_tag", 2, ((0, 1, 2), (3, 4)), 0.32170),
        ("taskonomy_tag", 3, ((0, 1), (1, 2), (3, 4)), 0.34867),
    ],
)
def test_the_groups_of_the_published_affinities(
    name: str, budget: int, groups: tuple[tuple[int, ...], ...], score: float
) -> None:
    grouper = BestServedGrouper(budget).fit(published(name))
    assert grouper.groups_ == groups
    assert grouper.objective_ == pytest.approx(score, abs=6e-6)
    assert grouper.gap_ == 0


def test_the_printed_two_celeba_groups_score_lower() -> None:
    values = published("celeba_tag")
    printed = np.nanmax(member_scores(values, [(0, 6), (1, 2, 3, 4, 5, 7, 8)]), axis=1).mean()
    assert printed == pytest.approx(-100.342, abs=6e-4)
    assert printed < BestServedGrouper(2).fit(values).objective_
