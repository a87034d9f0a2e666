"""The study of size limits, and the scores of served tasks that it shares with the study of transfer gain."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from taskgroup_core.affinity.transfer_gain import TransferGainAffinity
from taskgroup_core.errors import InputError
from taskgroup_core.grouping.grouping import Grouping
from taskgroup_core.grouping.programming import ProgrammingGrouper
from taskgroup_core.problems.planted import planted_problem
from taskgroup_core.runs.served_scores import served_scores
from taskgroup_core.runs.size_limit_study import SizeLimitParameters, size_limit_study
from taskgroup_core.seeds import derive
from taskgroup_core.training.evaluate import evaluate
from taskgroup_core.training.fit import fit
from taskgroup_core.training.recipe import Recipe

CPU = torch.device("cpu")
ASKED = SizeLimitParameters(
    n_groups=2, largest=(2, 4), smallest=(1, 2), epochs=2, batch_size=30, steps=4, replicates=2, random_groupings=2
)


def problem():
    return planted_problem(2, tasks_per_family=2, n_examples=120, n_features=6, width=5, conflict=0.5)


@pytest.fixture(scope="module")
def record():
    return size_limit_study(problem(), ASKED, CPU, progress=False)


def test_every_choice_keeps_its_limit_and_the_programme_is_never_beaten(record):
    objective = record.arrays["objective"]
    for place, choice in enumerate(record.results["choices"]):
        sizes = [len(group) for group in choice["groups"]]
        fits = max(sizes) <= choice["size"] if choice["limit"] == "largest" else min(sizes) >= choice["size"]
        assert fits and len(sizes) == 2 and {task for group in choice["groups"] for task in group} == {0, 1, 2, 3}
        alike = [
            row
            for row, other in enumerate(record.results["choices"])
            if (other["limit"], other["size"], other["by"]) == (choice["limit"], choice["size"], "programme")
        ]
        assert objective[alike[0]] >= objective[place] - 1e-12
    assert len(objective) == 4 * (1 + ASKED.random_groupings) == len(record.arrays["served"])


def test_gains_and_groups_are_those_of_estimator_and_grouper(record):
    recipe = Recipe(ASKED.epochs, ASKED.batch_size, ASKED.learning_rate)
    gain = TransferGainAffinity(recipe, 0, "cpu", every=ASKED.every, diagonal="double").affinity(problem()).values
    np.testing.assert_allclose(record.arrays["gain"], gain, atol=1e-12)
    best = ProgrammingGrouper(2, max_size=2).fit(gain)
    assert [tuple(group) for group in record.results["choices"][0]["groups"]] == list(best.groups_)
    assert record.arrays["objective"][0] == pytest.approx(best.objective_)


def test_a_served_score_is_that_of_its_groups_network(record):
    group = tuple(record.results["choices"][0]["groups"][0])
    recipe = Recipe(ASKED.steps, 1000, ASKED.learning_rate)
    seeds = [derive(0, "groups", r) for r in range(2)]
    rest = tuple(sorted(set(range(4)) - set(group)))
    grouping = Grouping((group, rest), tuple(int(task not in group) for task in range(4)))
    served = served_scores(problem(), [grouping], recipe, seeds, CPU)
    assert served.shape == (1, 2, 4)
    for r, seed in enumerate(seeds):
        network = fit(problem(), list(group), recipe, seed, "cpu").network
        score = evaluate(network, problem(), "test", list(group), CPU)["score"]
        np.testing.assert_allclose(served[0, r, list(group)], score[list(group)], atol=1e-4)


def test_the_same_seed_gives_the_same_record(record):
    again = size_limit_study(problem(), ASKED, CPU, progress=False)
    np.testing.assert_array_equal(again.arrays["served"], record.arrays["served"])
    assert again.results["choices"] == record.results["choices"]


@pytest.mark.parametrize(
    ("named", "change"),
    [("largest", {"largest": ()}), ("smallest", {"smallest": ()}), ("replicates", {"replicates": 1})],
)
def test_parameters_that_cannot_be(named, change):
    with pytest.raises(InputError, match=named):
        SizeLimitParameters(**{"n_groups": 2, "largest": (2,), "smallest": (1,), **change})
