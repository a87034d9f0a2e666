import json
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch

from taskgroup_core.affinity.full_training import FullTraining
from taskgroup_core.errors import InputError
from taskgroup_core.problems.planted import planted_problem
from taskgroup_core.runs.cheap_estimates import CHEAP
from taskgroup_core.runs.checkpoint import Checkpoint
from taskgroup_core.runs.estimator_parameters import EstimatorParameters
from taskgroup_core.runs.estimator_study import estimator_study
from taskgroup_core.runs.true_scores import training_cost
from taskgroup_core.subsets import all_subsets, pairs

CPU = torch.device("cpu")
ASKED = EstimatorParameters(
    epochs=5,
    learning_rate=0.02,
    replicates=3,
    exhaustive=True,
    seeds=2,
    short_replicates=1,
    samples=10,
    dimension=5,
    shares=(0.7, 1.0),
    short=((2, 20),),
)


@pytest.fixture(scope="module")
def problem():
    return planted_problem(2, tasks_per_family=2, n_examples=150, n_features=6, width=4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("study") / "slices"


@pytest.fixture(scope="module")
def record(problem, folder):
    return estimator_study(problem, ASKED, CPU, Checkpoint(folder, "key"), progress=False)


def test_every_estimate_has_a_row_for_every_truth(record):
    rows = record.results["rows"]
    cheap = {f"{name}{more}" for name in CHEAP for more in ("", ", mean of 2")}
    everywhere = {*cheap, "constant", "task mean", "single task", "one training"}
    surrogates = {"pairs alone", "surrogate", "surrogate, prior TAG, validation batch"}
    for kind, own in (("pairwise", {"2 epochs in batches of 20"}), ("higher-order", {"HOA", "BoostMTL"})):
        for metric in ("score", "negative_loss"):
            some = [row for row in rows if (row["kind"], row["metric"]) == (kind, metric)]
            assert {row["estimate"] for row in some} == everywhere | surrogates | own
            assert all(-1 <= row["partner"] <= 1 and row["low"] <= row["partner"] <= row["high"] for row in some)
            assert all(row["share"] > 0 for row in some if row["group"] != "trivial")
    assert [row["pairs"] for row in rows if row["estimate"] == "surrogate"] == 4 * [4, 6]
    json.dumps(record.results, allow_nan=False)


def test_the_truth_is_full_training_on_both_splits(problem, record):
    member = record.arrays["member"]
    assert np.array_equal(member, all_subsets(4))
    for split in ("val", "test"):
        values = record.arrays[f"{split}.negative_loss"]
        assert values.shape == (3, 15, 4) and np.array_equal(np.isfinite(values[0]), member)
    two = pairs(4)
    truth = record.arrays["truth.pairwise.score"]
    place = [np.flatnonzero((member == row).all(axis=1))[0] for row in two]
    scores = record.arrays["val.score"][:, place]
    for row, subset in enumerate(two):
        tasks = np.flatnonzero(subset)
        assert (truth[:, tasks[0], tasks[-1]] == scores[:, row, tasks[0]]).all()


def test_regret_has_the_estimates_the_truth_and_the_bounds(record):
    for row in record.results["regret"]:
        assert 0 <= row["beaten"] < 1
    names = {row["chosen by"] for row in record.results["regret"] if row["kind"] == "higher-order"}
    assert {"T*", "HOA", "BoostMTL", "surrogate", "random", "best on test", "best on validation", *CHEAP} <= names
    best = {r["test_score"] for r in record.results["regret"] if r["chosen by"] == "best on test"}
    assert max(r["test_score"] for r in record.results["regret"] if r["metric"] == "score") <= max(best)


def test_the_cost_of_a_training_includes_its_scoring(problem):
    algorithm = FullTraining(problem, ASKED.recipe, 0, "cpu")
    algorithm.scores(pairs(4))
    costs = training_cost(problem, pairs(4), ASKED.recipe)
    scoring = sum(costs) - algorithm.flops
    labelled = [int((~problem.table("val")[1][:, row].isnan()).any(dim=1).sum()) for row in torch.from_numpy(pairs(4))]
    assert scoring == problem.row_flops[0] * sum(labelled) > 0


def test_a_resumed_run_is_the_same_run(problem, record, folder):
    for path in sorted(folder.glob("*.npz"))[::2]:
        path.unlink()
    assert estimator_study(problem, ASKED, CPU, Checkpoint(folder, "key"), progress=False).id == record.id


def test_estimators_that_cost_too_much_are_left_out(problem, record, folder):
    some = replace(ASKED, runs={"Gauss-Newton": 0, "SCA": 1})
    left = estimator_study(problem, some, CPU, Checkpoint(folder, "key"), progress=False).results["rows"]
    names = {row["estimate"] for row in record.results["rows"]} - {row["estimate"] for row in left}
    assert names == {"Gauss-Newton", "Gauss-Newton, mean of 2", "SCA, mean of 2"}
    same = [row for row in left if row["estimate"] != "SCA"]
    assert same == [row for row in record.results["rows"] if row["estimate"] not in {*names, "SCA"}]
    for bad in ({"GRADTAE": 1}, {"TAG, validation batch": 0}, {"SCA": -1}):
        with pytest.raises(InputError) as caught:
            estimator_study(problem, replace(ASKED, runs=bad), CPU, progress=False)
        assert caught.value.argument == "runs" and "Gauss-Newton" in str(caught.value)


def test_no_two_estimators_give_the_same_matrix(record):
    for kind in ("pairwise", "higher-order"):
        for metric in ("score", "negative_loss"):
            single = {name: record.arrays[f"estimate.{kind}.{metric}.{name}"][0] for name in CHEAP}
            for (one, first), (other, second) in combinations(single.items(), 2):
                assert np.abs(first - second).max() > 1e-9, (one, other)


def test_what_is_told_of_trivial_predictors_cost(problem, record):
    alone = sum(training_cost(problem, np.eye(4, dtype=bool), ASKED.recipe))
    costs = {row["estimate"]: row["flops"] for row in record.results["rows"] if row["group"] == "trivial"}
    assert costs == {"constant": 0, "task mean": 0, "single task": alone} and alone > 0


@pytest.mark.parametrize(
    "given", [{"replicates": 2}, {"seeds": 0}, {"short_replicates": 5}, {"shares": (0.0,)}, {"shares": (1.1,)}]
)
def test_parameters_that_cannot_be(given):
    with pytest.raises(InputError) as caught:
        EstimatorParameters(**given)
    assert caught.value.argument == next(iter(given))
