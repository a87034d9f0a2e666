from __future__ import annotations

import numpy as np
import pytest
import torch

from taskgroup_core.affinity.lookahead import LookaheadAffinity
from taskgroup_core.affinity.transfer_gain import TransferGainAffinity
from taskgroup_core.errors import InputError
from taskgroup_core.problems.planted import planted_problem
from taskgroup_core.runs.checkpoint import Checkpoint
from taskgroup_core.runs.transfer_gain_parameters import TransferGainParameters
from taskgroup_core.runs.transfer_gain_study import transfer_gain_study
from taskgroup_core.seeds import derive
from taskgroup_core.training.evaluate import evaluate
from taskgroup_core.training.fit import fit
from taskgroup_core.training.recipe import Recipe

CPU = torch.device("cpu")
ASKED = TransferGainParameters(
    n_groups=2, epochs=2, batch_size=30, horizons=(1, 4), replicates=2, every=(1, 3, 500), random_groupings=2
)


def problem():
    return planted_problem(2, tasks_per_family=2, n_examples=120, n_features=6, width=5, conflict=0.5)


@pytest.fixture(scope="module")
def record():
    return transfer_gain_study(problem(), ASKED, CPU, progress=False)


def test_traces_hold_what_any_interval_would_collect(record):
    recipe = Recipe(ASKED.epochs, ASKED.batch_size, ASKED.learning_rate)
    gain = TransferGainAffinity(recipe, 0, "cpu", every=3, diagonal="double").affinity(problem())
    np.testing.assert_allclose(np.nanmean(record.arrays["gradient"][::3], axis=0), gain.values, atol=1e-12)
    half = LookaheadAffinity(recipe, 0, "cpu", every=1, window=(0, 0.5)).affinity(problem())
    first = record.arrays["lookahead"][record.arrays["epoch"] < 1]
    np.testing.assert_allclose(np.nanmean(first, axis=0), half.values, atol=1e-12)


def test_one_step_of_full_training_is_the_transfer_gain_of_adams_first_step(record):
    loss = record.arrays["loss.train"][1, 0]
    seed = derive(ASKED.seed, "replicate", 1)
    whole = Recipe(epochs=1, batch_size=1000, learning_rate=ASKED.learning_rate)
    gain = TransferGainAffinity(whole, seed, "cpu", every=1, step="optimiser").affinity(problem())
    np.testing.assert_allclose(1 - loss / np.diag(loss)[:, None], gain.values, atol=2e-5)
    assert np.abs(gain.values).max() > 1e-3
    # Adam's first step for one task alone is the best of its length in every coordinate: no partner helps.
    assert gain.values.max() <= 0


def test_truth_is_full_training(record):
    recipe = Recipe(ASKED.horizons[-1], 1000, ASKED.learning_rate)
    network = fit(problem(), [1, 2], recipe, derive(ASKED.seed, "replicate", 0), "cpu").network
    found = evaluate(network, problem(), "val", [1, 2], CPU)
    for name in ("score", "negative_loss"):
        truth = record.arrays[f"truth.{name}"][0]
        assert truth[1, 2] == pytest.approx(found[name][1], abs=1e-4)
        assert truth[2, 1] == pytest.approx(found[name][2], abs=1e-4)
    np.testing.assert_array_equal(record.arrays["loss.val"][:, -1], -record.arrays["truth.negative_loss"])


def test_choices_are_groupings_and_their_tasks_are_scored(record):
    names = [choice["name"] for choice in record.results["choices"]]
    assert names == [
        *("every 1", "every 3", "epochs 1", "epochs 2", "gradient", "optimiser", "lookahead", "zero diagonal", "T*"),
        *("together", "alone", "random 0", "random 1"),
    ]
    groups = {choice["name"]: choice["groups"] for choice in record.results["choices"]}
    assert groups["every 1"] == groups["epochs 2"] == groups["gradient"]
    assert groups["together"] == [[0, 1, 2, 3]] and groups["alone"] == [[0], [1], [2], [3]]
    for name, choice in groups.items():
        assert len(choice) == {"together": 1, "alone": 4}.get(name, ASKED.n_groups)
        assert {task for group in choice for task in group} == set(range(4))
    served = record.arrays["served"]
    assert served.shape == (len(names), ASKED.replicates, 4) and ((served >= 0) & (served <= 1)).all()
    row = names.index("random 0")
    recipe = Recipe(ASKED.horizons[-1], 1000, ASKED.learning_rate)
    for group in groups["random 0"]:
        network = fit(problem(), group, recipe, derive(ASKED.seed, "groups", 1), "cpu").network
        score = evaluate(network, problem(), "test", group, CPU)["score"]
        np.testing.assert_allclose(served[row, 1, group], score[group], atol=0.02)


def test_operations_grow_with_what_is_collected(record):
    flops = record.results["flops"]
    assert flops["training"] < flops["lookahead"] < flops["gradient"] == flops["optimiser"]


def test_an_interrupted_run_goes_on_to_the_same_record(record, tmp_path):
    checkpoint = Checkpoint(tmp_path / "slices", "key")
    whole = transfer_gain_study(problem(), ASKED, CPU, progress=False, checkpoint=checkpoint)
    (tmp_path / "slices" / "pairs-1.npz").unlink()
    again = transfer_gain_study(problem(), ASKED, CPU, progress=False, checkpoint=checkpoint)
    assert record.id == whole.id == again.id


@pytest.mark.parametrize(
    ("name", "value"), [("horizons", ()), ("horizons", (3, 3)), ("every", (0, 1)), ("replicates", 1)]
)
def test_parameters_that_cannot_be(name, value):
    with pytest.raises(InputError, match=name):
        TransferGainParameters(n_groups=2, **{name: value})
