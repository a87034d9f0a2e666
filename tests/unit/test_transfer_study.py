from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr

from taskgroup_core.affinity.full_training import FullTraining
from taskgroup_core.affinity.higher_order import higher_order_affinity
from taskgroup_core.affinity.pairwise import pairwise_affinity
from taskgroup_core.errors import InputError
from taskgroup_core.problems.planted import planted_problem
from taskgroup_core.runs.checkpoint import Checkpoint, Deadline, OutOfTime
from taskgroup_core.runs.transfer_analysis import (
    leave_one_in,
    of_size,
    prediction_quality,
    sampling_errors,
    variance_components,
)
from taskgroup_core.runs.transfer_study import TransferParameters, transfer_study, transfer_table
from taskgroup_core.seeds import derive
from taskgroup_core.subsets import all_subsets, pairs
from tests.small import small_problem

CPU = torch.device("cpu")
ASKED = TransferParameters(budgets=(2, 5), replicates=2)


@pytest.fixture(scope="module")
def record():
    return transfer_study(small_problem(), ASKED, CPU)


def table_of(values):
    """A table from f with shape (R, 2^n - 1, n), NaN outside the subsets."""
    member = all_subsets(values.shape[-1])
    names = [f"t{task}" for task in range(values.shape[-1])]
    coords = {"task": names, "member": (("subset", "task"), member)}
    return xr.DataArray(np.where(member, values, np.nan), dims=("replicate", "subset", "task"), coords=coords, name="f")


def additive_game(n_tasks, seed=0):
    generator = np.random.default_rng(seed)
    gain = generator.normal(size=(n_tasks, n_tasks))
    return gain, all_subsets(n_tasks) @ gain.T


def test_the_tables_are_full_training(record):
    subsets = all_subsets(4)
    assert record.arrays["negative_loss"].shape == (2, 2, 15, 4)
    for budget, epochs in enumerate(ASKED.budgets):
        for replicate in range(2):
            seed = derive(0, "transfer", replicate)
            algorithm = FullTraining(small_problem(), ASKED.recipe(epochs), seed, CPU)
            wanted = algorithm.scores(subsets)
            found = transfer_table(record, "negative_loss", budget)[replicate]
            np.testing.assert_allclose(found, wanted.negative_loss, rtol=1e-5)
        assert record.results["flops"][budget] == 2 * algorithm.flops


def test_a_study_out_of_time_keeps_its_replicates_and_goes_on_to_the_same_record(record, tmp_path):
    checkpoint = Checkpoint(tmp_path, "study")
    with pytest.raises(OutOfTime):
        transfer_study(small_problem(), ASKED, CPU, checkpoint=checkpoint, deadline=Deadline(0))
    assert not checkpoint.names
    transfer_study(small_problem(), replace(ASKED, budgets=(2,)), CPU, checkpoint=checkpoint)
    assert len(checkpoint.names) == 2
    assert transfer_study(small_problem(), ASKED, CPU, checkpoint=checkpoint, deadline=Deadline(60)).id == record.id


def test_the_same_seed_gives_the_same_record_and_another_seed_another(record):
    assert transfer_study(small_problem(), ASKED, CPU).id == record.id
    other = transfer_study(small_problem(), TransferParameters(budgets=(2, 5), replicates=2, seed=1), CPU)
    assert not np.allclose(other.arrays["negative_loss"], record.arrays["negative_loss"], equal_nan=True)


def test_variance_components_are_those_that_were_put_in():
    generator, shape = np.random.default_rng(0), (60, 127, 7)
    sizes = {"task": 2.0, "subset": 1.0, "seed": 0.5, "rest": 0.25}
    runs = []
    for _ in range(40):
        values = generator.normal(size=(1, 1, 7)) * sizes["task"] ** 0.5
        values = values + generator.normal(size=(1, 127, 7)) * sizes["subset"] ** 0.5
        values = values + generator.normal(size=(60, 1, 7)) * sizes["seed"] ** 0.5
        runs.append(variance_components(table_of(values + generator.normal(size=shape) * sizes["rest"] ** 0.5)))
    for name, size in sizes.items():
        assert np.mean([run[name] for run in runs]) == pytest.approx(size, rel=0.2)


def test_leave_one_in_of_an_additive_game_and_by_plain_loops():
    gain, values = additive_game(5)
    found = leave_one_in(table_of(values[None])[0]).values
    off = ~np.eye(5, dtype=bool)
    np.testing.assert_allclose(found[off], gain[off])
    noisy = table_of(np.random.default_rng(1).normal(size=(1, 31, 5)))[0]
    by_set = {frozenset(np.flatnonzero(row)): noisy.values[index] for index, row in enumerate(all_subsets(5))}
    gains = [by_set[s | {3}][1] - by_set[s][1] for s in by_set if 1 in s and 3 not in s]
    assert leave_one_in(noisy).values[1, 3] == pytest.approx(np.mean(gains))


def test_leave_one_in_is_twice_what_eq_1_adds_to_its_diagonal():
    scores = table_of(np.random.default_rng(2).normal(size=(1, 63, 6)))[0]
    equation = higher_order_affinity(scores).values
    np.testing.assert_allclose(leave_one_in(scores).values, 2 * (equation - np.diag(equation)[:, None]), atol=1e-12)


def test_eq_1_over_subsets_of_two_is_pairwise_affinity():
    scores = table_of(np.random.default_rng(3).normal(size=(1, 31, 5)))[0]
    off = ~np.eye(5, dtype=bool)
    pairwise = pairwise_affinity(scores[{"subset": slice(0, len(pairs(5)))}]).values
    np.testing.assert_allclose(of_size(scores, 2).values[off], pairwise[off])


def test_sampling_errors_fall_with_the_root_of_m():
    scores = table_of(np.random.default_rng(4).normal(size=(1, 63, 6)))[0]
    errors = sampling_errors(scores, [3], [200, 3200], 30, 0)
    assert errors["rms"].iloc[0] / errors["rms"].iloc[1] == pytest.approx(4, rel=0.15)
    assert (errors["measured"] == 1).all() and errors["partners"].iloc[1] > 0.95
    whole = sampling_errors(scores, [6], [3], 1, 0)
    assert whole["rms"].iloc[0] == pytest.approx(0, abs=1e-12), "there is one subset of all tasks"
    assert sampling_errors(scores, [2], [1], 3, 0)["partners"].isna().all()


def test_prediction_of_an_additive_game():
    _, values = additive_game(6)
    quality = prediction_quality(table_of(np.stack([values] * 4)))
    assert quality["additive"] == pytest.approx(1) and quality["same subset"] == pytest.approx(1)
    assert 0 < quality["mean of pairs"] < 0.999, "a mean of partners is no sum of them"
    assert (prediction_quality(table_of(np.ones((2, 63, 6)))) == 0).all()
    noise = np.random.default_rng(5).normal(size=(4, 63, 6))
    assert (prediction_quality(table_of(noise)).abs() < 0.2).all()


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda: TransferParameters(budgets=()), "budgets"),
        (lambda: TransferParameters(budgets=(5, 5)), "budgets"),
        (lambda: TransferParameters(budgets=(0, 5)), "epochs"),
        (lambda: TransferParameters(replicates=1), "replicates"),
        (lambda: transfer_study(planted_problem(13, tasks_per_family=1), ASKED, CPU), "n_tasks"),
        (lambda: variance_components(table_of(np.zeros((1, 7, 3)))), "table"),
        (lambda: leave_one_in(table_of(np.zeros((1, 7, 3)))[0, :5]), "scores"),
    ],
)
def test_bad_input(call, argument):
    with pytest.raises(InputError) as caught:
        call()
    assert caught.value.argument == argument


def test_an_unknown_metric(record):
    with pytest.raises(InputError, match="metric"):
        transfer_table(record, "f1")
