"""All groupers side by side: the rows, the agreement, and the regret in f, by brute force where n is small."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import xarray as xr

from taskgroup_core.affinity.grad_tae import GradTAE, meta_initialisations
from taskgroup_core.errors import InputError
from taskgroup_core.grouping.grouping import Grouping
from taskgroup_core.grouping.selection import BackwardSelection, ForwardSelection
from taskgroup_core.matrices import make_scores
from taskgroup_core.runs.grouper_comparison import ScoreTable, agreement, all_groupers, compare_groupers
from taskgroup_core.runs.regret import all_partitions, score_partitions
from taskgroup_core.subsets import all_subsets, pairs
from taskgroup_core.training.recipe import Recipe
from tests.small import small_problem

FAMILIES = np.kron(np.eye(2), np.ones((3, 3))) + 0.05 * np.random.default_rng(0).random((6, 6))


def random_table(seed: int, n: int = 5, subsets: np.ndarray | None = None) -> xr.DataArray:
    member = all_subsets(n) if subsets is None else subsets
    values = np.random.default_rng(seed).standard_normal(member.shape)
    return make_scores({"score": values}, member, [f"t{t}" for t in range(n)])["score"]


@pytest.fixture(scope="module")
def compared():
    return compare_groupers(FAMILIES, all_groupers(6, 2, draws=2, restarts=2))


def test_every_grouper_has_a_row_with_its_objectives(compared) -> None:
    rows, groupings = compared
    assert {"SDP", "SCA", "best served", "exhaustive, covers", "random 1"} < set(rows.index) == set(groupings)
    best = Grouping.from_labels([0, 0, 0, 1, 1, 1])
    assert groupings["SDP"].groups == groupings["exhaustive, partitions"].groups == best.groups
    assert rows.density["exhaustive, covers"] == rows.density.max() and rows.gap["SDP"] < 1e-4
    assert rows.served["best served"] == pytest.approx(rows.served.max()) and np.isnan(rows.gap["Lloyd"])
    blocks = [FAMILIES[:3, :3], FAMILIES[3:, 3:]]
    others = [(block.sum() - np.trace(block)) / 2 for block in blocks]
    assert rows.served["SDP"] == pytest.approx(sum(others) / 6)
    assert rows.density["SDP"] == pytest.approx(sum(block.sum() / 3 for block in blocks) / 2)
    assert (rows.memberships >= 1).all() and rows.memberships["SDP"] == 1


def test_agreement_is_symmetric_and_one_with_itself(compared) -> None:
    found = agreement(compared[1])
    assert np.allclose(found, found.T) and (np.diag(found) == 1).all() and (found <= 1).all().all()


def test_large_problems_leave_out_what_cannot_list_all_sets() -> None:
    assert "best served" not in all_groupers(21, 3) and "exhaustive, partitions" not in all_groupers(21, 3)
    assert "exhaustive, covers" not in all_groupers(11, 3) and "exhaustive, partitions" in all_groupers(11, 3)


def test_a_table_answers_as_it_was_scored() -> None:
    table = random_table(0)
    read, labels = ScoreTable(table), all_partitions(5, 2)
    for row, expected in zip(labels, score_partitions(table, labels), strict=True):
        assert read.of_grouping(Grouping.from_labels(row)) == pytest.approx(expected)
    order = np.random.default_rng(1).permutation(len(table))
    xr.testing.assert_equal(read.scores(table["member"].values[order])["score"].drop_vars("subset", errors="ignore"),
                            table[{"subset": order}].drop_vars("subset", errors="ignore"))  # fmt: skip
    assert ForwardSelection(2).fit(read).objective_ <= ScoreTable(table).of_grouping(read.best_cover(2)) + 1e-12
    with pytest.raises(InputError, match="table"):
        ScoreTable(random_table(0, subsets=pairs(5)))


@pytest.mark.parametrize(("seed", "k"), [(0, 1), (1, 2), (2, 2), (3, 3)])
def test_the_best_cover_of_a_table_by_enumeration(seed: int, k: int) -> None:
    table = random_table(seed, n=4)
    scores = np.where(table["member"].values, table.values, -np.inf)
    best = max(
        scores[list(rows)].max(axis=0).mean()
        for size in range(1, k + 1)
        for rows in combinations(range(len(scores)), size)
    )
    found = ScoreTable(table).best_cover(k)
    assert ScoreTable(table).of_grouping(found) == pytest.approx(best) and len(found.groups) <= k


@pytest.mark.parametrize("order", ["given", "best"])
@pytest.mark.parametrize("selection", [ForwardSelection, BackwardSelection])
def test_selection_by_an_estimate_scores_subsets_without_training_them(selection, order: str) -> None:
    problem = small_problem("sign")
    meta, spent = meta_initialisations(problem, Recipe(epochs=2), 1, 0, "cpu")
    estimate = GradTAE(problem, meta, dimension=6, C=0.1, device="cpu", meta_flops=spent[0])
    found = selection(2, order=order, metric="negative_loss").fit(estimate)
    again = estimate.scores(np.stack([found.labels_ == g for g in range(len(found.groups_))]))["negative_loss"]
    assert found.objective_ == pytest.approx(float(again.sum() / problem.n_tasks))
    assert 2 < found.n_scored_ <= 2**problem.n_tasks - 1  # trainings saved: one was made, for theta*
