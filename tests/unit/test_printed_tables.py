"""The readings of the printed tables, and HOA's budgets."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from taskgroup_core.errors import InputError
from taskgroup_core.grouping.best_served import BestServedGrouper, member_scores
from taskgroup_core.problems.published import published_matrix
from taskgroup_core.runs.half_steps import best_within_budget
from taskgroup_core.runs.printed_tables import printed_groups, summed_errors


def test_the_known_slips_and_nothing_else_among_the_baselines() -> None:
    audit = summed_errors({})
    off = (audit["nearest"] - audit["printed"]).abs() > audit["slack"]
    baselines = audit.index.get_level_values(0).isin(["TAG 4", "TAG 9"])
    assert set(audit.index[off & baselines]) == {("TAG 4", "STL"), ("TAG 9", "MTL")}
    assert audit.loc[("TAG 4", "STL"), "lowest"] == pytest.approx(50.96)
    assert audit.loc[("TAG 9", "MTL"), "lowest"] == pytest.approx(0.6048)
    assert audit.loc[("TAG 10", "Optimal"), "lowest"] == pytest.approx(0.5144)
    assert audit.loc[("Principled 1", "TAG-4"), "lowest"] == pytest.approx(3.416)
    assert ("TAG 5", "HOA") not in audit.index  # a value that cannot be read
    assert audit["as served"].isna().all()


def test_served_by_its_own_affinity_tags_row_of_four_networks_gives_its_total() -> None:
    row = summed_errors({("TAG 7", "TAG"): published_matrix("tag_celeba")}).loc[("TAG 7", "TAG")]
    assert row["as served"] == pytest.approx(6.39 + 11.08 + 4.07 + 12.20 + 2.63 + 2.99 + 4.79 + 4.62 + 0.72)
    assert abs(row["as served"] - row["printed"]) <= row["slack"] < row["printed"] - row["lowest"]


@pytest.mark.parametrize(
    ("data", "table", "budget"),
    [
        ("celeba", "TAG 5", 2),
        ("celeba", "TAG 6", 3),
        ("celeba", "TAG 7", 4),
        ("taskonomy", "TAG 10", 2),
        ("taskonomy", "TAG 11", 3),
    ],
)
def test_hoas_printed_groups_follow_from_its_pairs(data: str, table: str, budget: int) -> None:
    pairs = published_matrix(f"hoa_{data}")
    grouper = BestServedGrouper(budget, singletons="diagonal", minimise=data == "taskonomy").fit(pairs)
    assert sorted(printed_groups(table, "HOA", pairs["target"].values.tolist())) == list(grouper.groups_)


def test_the_best_within_a_budget_is_that_of_the_grouper() -> None:
    generator = np.random.default_rng(0)
    pairs, small = generator.integers(1, 9, (4, 4)).astype(float), generator.integers(1, 9, 4).astype(float)
    groups = [list(group) for size in (1, 2, 3, 4) for group in combinations(range(4), size)]
    table = member_scores(pairs, groups, singletons="diagonal").T
    for budget in (1, 1.5, 2, 2.5, 3):
        total, full, alone = best_within_budget(table, small, budget)
        grouper = BestServedGrouper(budget, singletons="diagonal", minimise=True, cheaper=small).fit(pairs)
        assert total == pytest.approx(4 * grouper.objective_)
        served = np.nanmin([*table[full], np.where(np.isin(np.arange(4), alone), small, np.nan)], axis=0)
        assert served.sum() == pytest.approx(total) and len(full) + len(alone) / 2 <= budget
    assert best_within_budget(table, small, 0.5)[0] == np.inf


def test_what_cannot_be() -> None:
    with pytest.raises(InputError, match="table, method"):
        printed_groups("TAG 5", "nobody", ["a1"])
    with pytest.raises(InputError, match="budget"):
        best_within_budget(np.ones((1, 2)), np.ones(2), 0.7)
    with pytest.raises(InputError, match="small"):
        best_within_budget(np.ones((1, 2)), np.ones(3), 1)
