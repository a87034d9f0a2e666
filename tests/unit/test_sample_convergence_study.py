from __future__ import annotations

import numpy as np
import pytest
import torch

from taskgroup_core.affinity.full_training import FullTraining
from taskgroup_core.affinity.pairwise import pairwise_affinity
from taskgroup_core.affinity.sample_convergence import SampleConvergenceAffinity
from taskgroup_core.errors import InputError
from taskgroup_core.problems.planted import planted_problem
from taskgroup_core.runs.checkpoint import Checkpoint
from taskgroup_core.runs.sample_convergence_parameters import SampleConvergenceParameters
from taskgroup_core.runs.sample_convergence_study import label_agreement, sample_convergence_study
from taskgroup_core.runs.sample_size_study import sample_size_study
from taskgroup_core.seeds import derive
from taskgroup_core.subsets import pairs
from taskgroup_core.training.recipe import Recipe
from tests.small import small_problem

CPU = torch.device("cpu")
ASKED = SampleConvergenceParameters(
    samples=20, initialisations=2, epochs=2, moments=2, rounds=4, outer_rates=(0.5,), replicates=2
)


def planted(**options):
    return planted_problem(2, tasks_per_family=2, n_examples=200, width=5, common_inputs=True, **options)


@pytest.fixture(scope="module")
def record():
    return sample_convergence_study(planted(), ASKED, CPU, progress=False)


def test_common_inputs_have_all_labels_and_the_first_task_s_splits():
    common, apart = planted(), planted_problem(2, tasks_per_family=2, n_examples=200, width=5)
    for split, size in (("train", 40), ("val", 40), ("test", 120)):
        used, labels = common.table(split)
        assert labels.shape == (size, 4) and not labels.isnan().any()
        first = getattr(apart, split).of_tasks([0])
        assert torch.equal(used, first.input_index.sort().values)
    assert apart.table("train")[1].isnan().any()


def test_scores_are_those_of_the_estimator(record):
    problem = planted()
    for heads, equal in (("apart", False), ("equal", True)):
        estimator = SampleConvergenceAffinity(20, derive(0, "samples"), "cpu", equal_heads=equal)
        for k in range(2):
            network = problem.network(derive(0, "initialisation", k))
            assert np.array_equal(record.arrays[heads][k], estimator.affinity(problem, network).values)
            assert np.array_equal(record.arrays[f"{heads}.distance"][k], estimator.distances_.values)
    assert 2 * record.results["flops"]["scores"] == estimator.flops


def test_truth_is_pairwise_full_training(record):
    problem = planted()
    for r in range(2):
        algorithm = FullTraining(problem, Recipe(epochs=2), derive(0, "replicate", r), "cpu")
        scores = algorithm.scores(pairs(4))
        for metric in ("score", "negative_loss"):
            expected = pairwise_affinity(scores[metric]).values
            assert np.allclose(record.arrays[f"truth.{metric}"][r], expected, atol=1e-4)
    assert record.results["flops"]["T*"] == algorithm.flops


def test_traces_start_at_the_same_network_and_end_elsewhere(record):
    joint, reptile = record.arrays["joint"], record.arrays["reptile 0.5"]
    assert record.arrays["joint step"].tolist() == [0, 1, 2] and record.arrays["reptile 0.5 step"].tolist() == [0, 2, 4]
    assert np.array_equal(joint[0], reptile[0])
    assert not np.allclose(joint[0], joint[-1], atol=1e-3) and not np.allclose(reptile[0], reptile[-1], atol=1e-3)
    assert all(moved > 0.001 for moved in record.results["moved"].values())


def test_every_estimate_is_judged_by_both_metrics(record):
    names = [row["estimate"] for row in record.results["merit"] if row["metric"] == "score"]
    assert {"apart 0", "equal 1", "equal, mean", "label agreement", "after joint training", "constant"} <= set(names)
    assert len(record.results["merit"]) == 2 * len(names)
    assert set(record.results["ceiling"]) == {"score", "negative_loss"}


def test_a_finished_part_is_read_and_the_record_is_the_same(record, tmp_path):
    checkpoint = Checkpoint(tmp_path / "slices", "key")
    first = sample_convergence_study(planted(), ASKED, CPU, progress=False, checkpoint=checkpoint)
    assert {"scores", "joint", "reptile-0.5", "truth-0", "truth-1"} == set(checkpoint.names)
    again = sample_convergence_study(planted(), ASKED, CPU, progress=False, checkpoint=checkpoint)
    assert record.id == first.id == again.id


def test_label_agreement_by_plain_loops():
    problem = small_problem("sign")
    known = {(int(i), int(t)): float(y) for i, t, y in zip(*vars(problem.train).values(), strict=True)}
    found = label_agreement(problem)
    for a in range(4):
        for b in range(4):
            pairs_of = [(known[i, a], known[i, b]) for i in range(300) if (i, a) in known and (i, b) in known]
            assert found[a, b] == pytest.approx(np.mean([x == y for x, y in pairs_of]))


def test_tasks_without_a_common_input_have_no_agreement_and_are_judged_by_the_rest():
    problem = small_problem("sign", n_inputs=120)
    keep = problem.train.input_index % 4 == problem.train.task_index
    train = type(problem.train)(*(part[keep] for part in vars(problem.train).values()))
    apart = type(problem)("apart", problem.tasks, problem.inputs, train, problem.val, problem.test, problem.build)
    assert np.isnan(label_agreement(apart)[~np.eye(4, dtype=bool)]).all()
    asked = SampleConvergenceParameters(
        samples=4, inputs="own", initialisations=2, epochs=1, moments=1, rounds=1, outer_rates=(), replicates=2
    )
    record = sample_convergence_study(apart, asked, CPU, progress=False)
    assert "label agreement" not in {row["estimate"] for row in record.results["merit"]}


@pytest.mark.parametrize("name", ["initialisations", "epochs", "moments", "rounds", "replicates"])
def test_numbers_that_cannot_be(name):
    with pytest.raises(InputError, match=f"{name}: found"):
        SampleConvergenceParameters(**{name: 0})


def test_sizes_and_draws():
    problem = planted()
    record = sample_size_study(problem, (5, 20), 3, CPU, progress=False)
    for heads, equal in (("apart", False), ("equal", True)):
        assert record.arrays[heads].shape == record.arrays[f"{heads}.distance"].shape == (2, 3, 4, 4)
        network = problem.network(derive(0, "initialisation", 0))
        one = SampleConvergenceAffinity(20, derive(0, "samples", 20, 1), "cpu", equal_heads=equal)
        assert np.array_equal(record.arrays[heads][1, 1], one.affinity(problem, network).values)
        spread = record.arrays[f"{heads}.distance"].std(axis=1).mean(axis=(1, 2))
        assert spread[1] < spread[0]
    assert sample_size_study(problem, (5, 20), 3, CPU, progress=False).id == record.id


@pytest.mark.parametrize("sizes", [(), (20, 5), (5, 5)])
def test_sizes_that_do_not_ascend(sizes):
    with pytest.raises(InputError, match="sizes"):
        sample_size_study(planted(), sizes, 3, CPU)


def test_one_draw_has_no_spread():
    with pytest.raises(InputError, match="draws"):
        sample_size_study(planted(), (5,), 1, CPU)
