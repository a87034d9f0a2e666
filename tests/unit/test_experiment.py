import numpy as np
import pytest
import torch

from taskgroup_core.affinity.full_training import FullTraining
from taskgroup_core.affinity.pairwise import pairwise_affinity
from taskgroup_core.errors import InputError
from taskgroup_core.grouping.grouping import average_density
from taskgroup_core.metrics import partner_spearman, relative_distance
from taskgroup_core.runs.checkpoint import Checkpoint, Deadline, OutOfTime
from taskgroup_core.runs.experiment import forecast, grad_tag_experiment
from taskgroup_core.runs.grad_tag_parameters import GradTagParameters
from taskgroup_core.seeds import derive
from taskgroup_core.subsets import pairs
from taskgroup_core.training.recipe import Recipe
from tests.small import small_problem

CPU = torch.device("cpu")
TINY = GradTagParameters(
    n_tasks=5,
    n_groups=2,
    epochs=2,
    alpha=3,
    m=12,
    t_star_subsets=12,
    replicates=2,
    dimensions=(5,),
    ensembles=(1, 2),
    dimension=10,
    penalties=(0.1,),
    final_replicates=2,
    random_groupings=1,
)


@pytest.fixture(scope="module")
def problem():
    return small_problem("sign", n_tasks=5)


@pytest.fixture(scope="module")
def record(problem):
    return grad_tag_experiment(problem, TINY, CPU, progress=False)


def test_a_run_cut_short_and_resumed_gives_the_same_record(problem, record, tmp_path):
    checkpoint = Checkpoint(tmp_path / "slices", "key")
    allowed = 7

    class Counted(Deadline):
        def check(self):
            if len(checkpoint.names) >= allowed:
                raise OutOfTime("enough")

    with pytest.raises(OutOfTime):
        grad_tag_experiment(problem, TINY, CPU, checkpoint, Counted(), progress=False)
    assert len(checkpoint.names) == allowed
    again = grad_tag_experiment(problem, TINY, CPU, checkpoint, progress=False)
    assert again.id == record.id
    assert again.provenance["stage_seconds"].keys() == record.provenance["stage_seconds"].keys()


def test_t_star_is_the_mean_of_full_trainings(problem, record):
    expected = []
    for replicate in range(2):
        seed = derive(TINY.seed, "replicate", "val", replicate)
        algorithm = FullTraining(problem, Recipe(epochs=2), seed, "cpu")
        expected.append(pairwise_affinity(algorithm.scores(pairs(5))["score"]).values)
    assert np.array_equal(record.arrays["truth.pairwise.score"], np.stack(expected))
    assert record.results["flops"]["T* pairwise"] == 2 * algorithm.flops


def test_the_figures_of_merit_are_those_of_the_stored_affinities(record):
    rows = {(r["affinity"], r["metric"], r["estimate"]): r for r in record.results["figures_of_merit"]}
    row = rows["higher-order", "score", "d=10 M=2"]
    truth = record.arrays["truth.higher-order.score"].mean(axis=0)
    guess = record.arrays["estimate.higher-order.score.d=10 M=2"]
    assert row["distance"] == pytest.approx(relative_distance(guess, truth))
    assert row["partner"] == pytest.approx(partner_spearman(guess, truth))
    one_replicate = record.results["flops"]["T* higher-order"] / 2
    assert row["speedup"] == pytest.approx(one_replicate / row["flops"])
    assert rows["higher-order", "score", "d=10 M=1"]["flops"] < row["flops"]
    assert rows["pairwise", "score", "task mean"]["partner"] == 0
    kinds = {r["kind"] for r in record.results["figures_of_merit"]}
    assert kinds == {"estimate", "trivial", "full training"}


def test_every_grouping_serves_every_task_and_is_scored_on_its_groups(record):
    rows = record.results["groupings"]
    methods = [row["method"] for row in rows]
    assert methods[-2:] == ["single task", "all in one"] and "exhaustive, T*" in methods
    for number, row in enumerate(rows):
        assert sorted(task for group in row["groups"] for task in group) == list(range(5))
        scores = record.arrays[f"test.{number}"]
        assert scores.shape == (2, 5) and np.isfinite(scores).all()
        assert row["test_macro_f1"] == pytest.approx(scores.mean(axis=1).tolist())
    truth = record.arrays["truth.higher-order.score"].mean(axis=0)
    best = rows[methods.index("exhaustive, T*")]
    assert best["objective"] == pytest.approx(average_density(truth, best["groups"]))
    assert rows[methods.index("SDP, T*")]["objective"] <= best["objective"] + 1e-9
    assert rows[methods.index("SDP, T*")]["bound"] >= best["objective"] - 1e-6


def test_equal_groups_are_trained_once(problem, record):
    groups = {tuple(group) for row in record.results["groupings"] for group in row["groups"]}
    recipe, total = Recipe(epochs=2), 0
    for group in groups:
        algorithm = FullTraining(problem, recipe, 0, "cpu")
        algorithm.scores(np.isin(np.arange(5), group)[None])
        total += 2 * algorithm.flops
    assert record.results["flops"]["groups"] == total


def test_the_forecast_counts_what_the_run_then_spends(problem, record):
    told = forecast(problem, TINY, CPU)
    spent = record.results["flops"]
    # 12 subsets of 3 out of 10 possible ones repeat, and equal subsets are trained once: the forecast is from above.
    assert spent["T* pairwise"] < told["flops"]
    assert spent["T* higher-order"] + spent["T* pairwise"] <= told["flops"]
    assert told["trainings"] == 2 * (12 + 15) and told["minutes"] > 0


def test_one_training_is_judged_against_the_others(record):
    stack = record.arrays["truth.higher-order.score"]
    row = next(
        row
        for row in record.results["figures_of_merit"]
        if (row["affinity"], row["metric"], row["kind"]) == ("higher-order", "score", "full training")
    )
    both = [partner_spearman(stack[0], stack[1]), partner_spearman(stack[1], stack[0])]
    assert row["partner"] == pytest.approx(np.mean(both))


def test_bad_parameters(problem):
    with pytest.raises(InputError, match="at least 2"):
        GradTagParameters(n_tasks=5, n_groups=2, replicates=1)
    with pytest.raises(InputError, match="t_star_subsets"):
        GradTagParameters(n_tasks=5, n_groups=2, m=5, t_star_subsets=6)
    with pytest.raises(InputError, match="ensembles"):
        GradTagParameters(n_tasks=5, n_groups=2, ensembles=())
    with pytest.raises(InputError, match="Give one with 4 tasks"):
        grad_tag_experiment(problem, GradTagParameters(n_tasks=4, n_groups=2), CPU, progress=False)
    few = GradTagParameters(n_tasks=5, n_groups=2, alpha=2, m=2, t_star_subsets=2)
    with pytest.raises(InputError, match="without the pair"):
        grad_tag_experiment(problem, few, CPU, progress=False)
