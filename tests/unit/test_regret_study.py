"""Regret in f, judged by trainings that chose nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr
from scipy.stats import spearmanr

from taskgroup_core.affinity.full_training import FullTraining
from taskgroup_core.errors import InputError
from taskgroup_core.grouping.grouping import Grouping, average_density
from taskgroup_core.matrices import make_affinity, make_scores
from taskgroup_core.runs.grouper_comparison import ScoreTable
from taskgroup_core.runs.regret import all_partitions
from taskgroup_core.runs.regret_study import (
    best_partition_of,
    density_against_f,
    groups_by_scores,
    regrets,
    score_halves,
)
from taskgroup_core.seeds import derive
from taskgroup_core.subsets import all_subsets
from taskgroup_core.training.evaluate import evaluate
from taskgroup_core.training.fit import fit
from taskgroup_core.training.recipe import Recipe
from tests.small import small_problem

CPU = torch.device("cpu")
NAMES = [f"t{t}" for t in range(5)]


def random_table(seed: int) -> xr.DataArray:
    member = all_subsets(5)
    values = np.random.default_rng(seed).standard_normal(member.shape)
    return make_scores({"score": values}, member, NAMES)["score"]


def random_judges(count: int = 4) -> xr.DataArray:
    return xr.concat([random_table(seed) for seed in range(count)], "replicate")


def by_hand(judge: xr.DataArray, labels: np.ndarray) -> float:
    """The mean over tasks of f(the task's group, task), looked up one by one."""
    scores = []
    for task in range(5):
        row = (judge["member"].values == (labels == labels[task])).all(axis=1)
        scores.append(float(judge.values[row, task].item()))
    return float(np.mean(scores))


def test_regret_and_gain_are_paired_differences() -> None:
    judges, k = random_judges(), 2
    partitions = all_partitions(5, k)
    scores = np.array([[by_hand(judge, labels) for labels in partitions] for judge in judges])
    best = scores.mean(axis=0).argmax()
    one, two = (Grouping.from_labels(partitions[place]) for place in (best, 3))
    found = regrets({"one": one, "two": two}, judges, k)
    assert best != 3 and found.regret["one"] == found.error["one"] == 0
    lost, over = scores[:, best] - scores[:, 3], scores[:, 3] - scores.mean(axis=1)
    assert found.f["two"] == pytest.approx(scores[:, 3].mean())
    for word, error, difference in (("regret", "error", lost), ("over random", "error over random", over)):
        assert found[word]["two"] == pytest.approx(difference.mean())
        assert found[error]["two"] == pytest.approx(difference.std(ddof=1) / 2)
    chance = found.regret + found["over random"]
    assert chance["one"] == pytest.approx(chance["two"])  # what random partitions lose
    with pytest.raises(InputError, match="judges"):
        regrets({"one": one}, judges[:1], k)


def test_all_partitions_together_gain_nothing_over_random_ones() -> None:
    every = {str(row): Grouping.from_labels(row) for row in all_partitions(5, 3)}
    found = regrets(every, random_judges(), 3)
    assert found["over random"].mean() == pytest.approx(0, abs=1e-12) and found.regret.min() == 0


def test_one_half_chooses_on_validation_the_other_judges_on_test() -> None:
    problem, recipe = small_problem(n_tasks=3), Recipe(epochs=2, batch_size=50)
    choosing, judges = score_halves(problem, recipe, 5, 7, CPU, progress=False)
    member = all_subsets(3)
    assert choosing.dims == ("subset", "task") and judges.sizes == {"replicate": 3, "subset": 7, "task": 3}
    seeds = [derive(7, "replicate", r) for r in range(5)]
    tables = [FullTraining(problem, recipe, seed, CPU).scores(member)["negative_loss"].values for seed in seeds[:2]]
    np.testing.assert_allclose(choosing.values, np.mean(tables, axis=0), rtol=1e-5)
    pair = np.flatnonzero(member[4]).tolist()
    trained = fit(problem, pair, recipe, seeds[4], CPU)
    expected = evaluate(trained.network, problem, "test", pair, CPU)["negative_loss"]
    np.testing.assert_allclose(judges.values[2, 4], expected, rtol=1e-5)
    with pytest.raises(InputError, match="replicates"):
        score_halves(problem, recipe, 3, 7, CPU)


def test_groups_of_the_choosing_half_are_its_best() -> None:
    table, other = random_table(0), random_table(1)
    groupings, asked = groups_by_scores(table.rename("negative_loss"), ScoreTable(other.rename("negative_loss")), 2)
    partitions = all_partitions(5, 2)
    best = partitions[np.argmax([by_hand(table, labels) for labels in partitions])]
    assert groupings["best partition, same half"] == best_partition_of(table, 2) == Grouping.from_labels(best)
    values = {name: ScoreTable(table).of_grouping(one) for name, one in groupings.items()}
    assert values["best cover, same half"] == max(values.values())
    assert set(asked) == set(groupings) - {"best partition, same half", "best cover, same half"}
    assert all(2 <= count <= 31 for count in asked.values())
    assert groupings["forward, full training"] != groupings["forward, GRAD-TAE"]


def test_density_is_ranked_against_f_over_all_partitions() -> None:
    values = np.random.default_rng(3).standard_normal((5, 5))
    affinity, judges = make_affinity(values, NAMES), random_judges()
    partitions = all_partitions(5, 3)
    density = [average_density(values, Grouping.from_labels(row).groups) for row in partitions]
    scores = np.array([[by_hand(judge, labels) for labels in partitions] for judge in judges])
    found, ceiling = density_against_f(affinity, judges, 3)
    assert found == pytest.approx(spearmanr(density, scores.mean(axis=0)).statistic)
    assert ceiling == pytest.approx(spearmanr(scores[:2].mean(axis=0), scores[2:].mean(axis=0)).statistic)
