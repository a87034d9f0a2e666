from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from taskgroup_core.affinity import full_training
from taskgroup_core.affinity.full_training import FullTraining, mean_and_error, replicated_scores
from taskgroup_core.errors import InputError
from taskgroup_core.models.sign import Sign
from taskgroup_core.subsets import all_subsets, pairs
from taskgroup_core.training.epochs import training_flops
from taskgroup_core.training.evaluate import evaluate
from taskgroup_core.training.fit import fit
from taskgroup_core.training.recipe import Recipe
from tests.small import small_problem

QUICK = Recipe(epochs=4, batch_size=64)


def sign_in_double():
    problem = small_problem("sign")
    return replace(problem, inputs=problem.inputs.double(), build=lambda: partial(Sign, 2, 6, 8, 4, 0.2)().double())


@pytest.mark.parametrize("recipe", [QUICK, replace(QUICK, optimiser="sgd", momentum=0.9, keep="best")])
def test_scores_are_those_of_networks_trained_alone(recipe):
    problem = sign_in_double()
    algorithm = FullTraining(problem, recipe, 3, "cpu")
    scores, flops = algorithm.scores(all_subsets(4)), 0
    for row, subset in enumerate(all_subsets(4)):
        tasks = np.flatnonzero(subset).tolist()
        alone = fit(problem, tasks, recipe, 3, "cpu")
        wanted = evaluate(alone.network, problem, "val", tasks, torch.device("cpu"))
        assert scores.negative_loss.values[row] == pytest.approx(wanted["negative_loss"], rel=1e-5, nan_ok=True)
        assert scores.score.values[row] == pytest.approx(wanted["score"], rel=1e-5, nan_ok=True)
        flops += training_flops(problem, tasks, recipe)
    assert algorithm.flops == flops


def test_a_subsets_score_does_not_depend_on_what_it_is_asked_with(monkeypatch):
    problem = sign_in_double()
    asked = FullTraining(problem, QUICK, 0, "cpu")
    first = asked.scores(pairs(4)[:3])
    trained = []
    each = full_training.fit_each
    monkeypatch.setattr(
        full_training, "fit_each", lambda p, subsets, *more: trained.extend(subsets) or each(p, subsets, *more)
    )
    both = asked.scores(pairs(4)[[2, 5, 5, 0]])
    assert trained == [[0, 2]] or trained == [np.flatnonzero(pairs(4)[5]).tolist()], "the others are known"
    together = FullTraining(problem, QUICK, 0, "cpu").scores(pairs(4))
    np.testing.assert_allclose(both.negative_loss, together.negative_loss[[2, 5, 5, 0]], rtol=1e-6)
    np.testing.assert_array_equal(both.negative_loss[[0, 3]], first.negative_loss[[2, 0]])


def test_replicates_are_full_trainings_of_their_seeds():
    problem, subsets = sign_in_double(), pairs(4)[[4, 0, 4]]
    replicates = replicated_scores(problem, subsets, QUICK, [5, 2, 9], "cpu")
    assert replicates.score.dims == ("replicate", "subset", "task")
    assert replicates.replicate.values.tolist() == [5, 2, 9]
    flops = 0
    for seed in (5, 2, 9):
        algorithm = FullTraining(problem, QUICK, seed, "cpu")
        wanted = algorithm.scores(subsets)
        np.testing.assert_allclose(replicates.negative_loss.sel(replicate=seed), wanted.negative_loss, rtol=1e-6)
        flops += algorithm.flops
    assert replicates.attrs["flops"] == flops


def test_mean_and_standard_error():
    replicates = replicated_scores(sign_in_double(), pairs(4), QUICK, [0, 1, 2], "cpu")
    summary = mean_and_error(replicates)
    values = replicates.negative_loss.values
    np.testing.assert_allclose(summary.negative_loss, values.mean(axis=0))
    np.testing.assert_allclose(summary.negative_loss_error, values.std(axis=0, ddof=1) / 3**0.5)
    assert (summary.negative_loss_error.values[summary.member.values] > 0).all()
    assert summary.score.dims == summary.score_error.dims == ("subset", "task")


def test_all_subsets_each_once_and_by_size():
    rows = all_subsets(5)
    assert rows.shape == (31, 5) and len(np.unique(rows, axis=0)) == 31
    sizes = rows.sum(axis=1)
    assert sizes.min() == 1 and (np.diff(sizes) >= 0).all()
    np.testing.assert_array_equal(rows[:15], pairs(5))
    assert len(all_subsets(12)) == 4095


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda: all_subsets(0), "n_tasks"),
        (lambda: all_subsets(13), "n_tasks"),
        (lambda: replicated_scores(small_problem(), pairs(4), QUICK, [], "cpu"), "seeds"),
        (lambda: replicated_scores(small_problem(), pairs(4), QUICK, [1, 1], "cpu"), "seeds"),
        (lambda: replicated_scores(small_problem(), pairs(3), QUICK, [1], "cpu"), "subsets"),
        (lambda: mean_and_error(replicated_scores(small_problem(), pairs(4), QUICK, [1], "cpu")), "replicates"),
        (lambda: mean_and_error(FullTraining(small_problem(), QUICK, 0, "cpu").scores(pairs(4))), "replicates"),
    ],
)
def test_bad_input(call, argument):
    with pytest.raises(InputError) as caught:
        call()
    assert caught.value.argument == argument
