from __future__ import annotations

import numpy as np
import pytest
import torch

from taskgroup_core.affinity.lookahead import LookaheadAffinity
from taskgroup_core.errors import InputError
from taskgroup_core.metrics import partner_spearman
from taskgroup_core.runs.checkpoint import Checkpoint
from taskgroup_core.runs.lookahead_study import LookaheadParameters, collectors, lookahead_study
from taskgroup_core.runs.lookahead_tables import interval_table, mean_affinity, partner_table
from taskgroup_core.training.joint import joint_steps, joint_training
from tests.small import small_problem

CPU = torch.device("cpu")
ASKED = LookaheadParameters(epochs=4, batch_size=60, replicates=2)


def study(checkpoint=None):
    return lookahead_study(small_problem("sign"), ASKED, CPU, progress=False, checkpoint=checkpoint)


@pytest.fixture(scope="module")
def record():
    return study()


def test_every_form_is_there_at_every_step(record):
    steps = joint_steps(small_problem("sign"), ASKED.recipe)
    for name in collectors(ASKED, CPU):
        assert record.arrays[f"trace.{name}"].shape == (steps, 4, 4)
    assert len(record.arrays["epoch"]) == steps and set(record.arrays["epoch"]) == set(range(4))
    for metric in ("score", "negative_loss"):
        assert record.arrays[f"truth.{metric}"].shape == (2, 4, 4)


def test_the_traces_and_their_cost_are_those_of_the_estimator(record):
    problem, estimator = small_problem("sign"), LookaheadAffinity(ASKED.recipe, 0, "cpu", every=1)
    affinity = estimator.affinity(problem)
    assert np.array_equal(record.arrays["trace.gradient"], estimator.trace_.values, equal_nan=True)
    assert np.allclose(mean_affinity(record, "gradient").values, affinity.values)
    training = joint_training(problem, ASKED.recipe, 0, "cpu").flops
    flops = record.results["flops"]
    assert (flops["training"], flops["gradient"]) == (training, estimator.flops - training)
    assert flops["cosine"] < flops["gradient"] < flops["validation"] and flops["pairs"] > training


def test_forms_differ_and_the_cosine_is_symmetric(record):
    means = {name: mean_affinity(record, name).values for name in collectors(ASKED, CPU)}
    names = list(means)
    for first in range(len(names)):
        for second in range(first):
            assert not np.allclose(means[names[first]], means[names[second]], rtol=1e-3)
    assert np.allclose(means["cosine"], means["cosine"].T)


def test_the_table_of_intervals(record):
    table = interval_table(record, (1, 2, 5, 1000))
    steps = len(record.arrays["trace.gradient"])
    assert list(table.index) == ["every 1", "every 2", "every 5", "first quarter", "middle quarter", "final quarter"]
    assert table["collections"].tolist()[:3] == [steps, -(-steps // 2), -(-steps // 5)]
    assert table.loc["every 1", ["speed-up", "pearson", "partners"]].tolist() == pytest.approx([1, 1, 1])
    flops = record.results["flops"]
    extra = flops["gradient"] / flops["training"]
    assert table.loc["every 2", "cost"] == pytest.approx(1 + extra * -(-steps // 2) / steps)
    assert (table["cost"] * table["speed-up"]).tolist() == pytest.approx([1 + extra] * len(table))
    trace = record.arrays["trace.gradient"]
    assert table.loc["every 2", "partners"] == pytest.approx(
        partner_spearman(np.nanmean(trace[::2], axis=0), np.nanmean(trace, axis=0))
    )
    quarter = LookaheadAffinity(ASKED.recipe, 0, "cpu", every=1, window="final")
    expected = quarter.affinity(small_problem("sign")).values
    assert table.loc["final quarter", "collections"] == quarter.trace_.sizes["step"]
    assert table.loc["final quarter", "partners"] == pytest.approx(
        partner_spearman(expected, np.nanmean(trace, axis=0))
    )


def test_the_table_of_partners(record):
    rows, ceiling = partner_table(record, "negative_loss")
    found = {row["estimate"]: row for row in rows}
    assert set(found) == {*collectors(ASKED, CPU), "constant", "task mean", "single task", "one training"}
    truth = record.arrays["truth.negative_loss"].mean(axis=0)
    assert found["gradient"]["partner"] == pytest.approx(partner_spearman(mean_affinity(record, "gradient"), truth))
    assert found["task mean"]["partner"] == 0 and 0 <= ceiling <= 1


def test_a_resumed_study_is_the_same(record, tmp_path):
    first = study(Checkpoint(tmp_path, "key"))
    resumed = study(Checkpoint(tmp_path, "key"))
    assert first.id == resumed.id == record.id


def test_bad_input(record):
    with pytest.raises(InputError, match="twice or more"):
        LookaheadParameters(replicates=1)
    with pytest.raises(InputError, match="Use one of gradient"):
        mean_affinity(record, "gradeint")
