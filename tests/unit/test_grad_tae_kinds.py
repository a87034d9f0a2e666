"""GRAD-TAE for tasks of all kinds, against plain loops, and the three ways to evaluate it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from taskgroup_core.affinity.grad_tae import GradTAE, meta_initialisations
from taskgroup_core.problems.problem import Problem
from taskgroup_core.tasks import Task
from taskgroup_core.training.evaluate import evaluate
from taskgroup_core.training.fit import fit
from taskgroup_core.training.recipe import Recipe
from tests.mixed import KINDS, linear, loss_of_outputs, mixed_tasks, moved, perceptron, slow_rows, slow_solution
from tests.small import small_problem

SUBSETS = np.array([[1, 1, 1, 1], [0, 1, 0, 0], [0, 0, 1, 1]], dtype=bool)
CPU = torch.device("cpu")


def trained(problem: Problem, epochs: int = 20) -> nn.Module:
    return fit(problem, range(problem.n_tasks), Recipe(epochs=epochs, batch_size=40), 0, "cpu").network


def matrix_of(estimator: GradTAE) -> torch.Tensor:
    projection = estimator._linearised[0].projection
    return projection.lift(torch.eye(projection.dimension, dtype=torch.float64)).T


@pytest.mark.parametrize("dimension", [None, 9])
@pytest.mark.parametrize("evaluation", ["network", "linear", "quadratic"])
def test_all_kinds_against_a_slow_reference(evaluation: str, dimension: int | None) -> None:
    problem = mixed_tasks()
    network = trained(problem)
    estimator = GradTAE(problem, [network], dimension=dimension, C=0.3, device="cpu", evaluation=evaluation)
    ours = estimator.scores(SUBSETS)
    assert estimator.unconverged == 0
    matrix = matrix_of(estimator)
    for row, subset in enumerate(SUBSETS):
        members = np.flatnonzero(subset).tolist()
        update = matrix @ slow_solution(problem, network, members, 0.3, matrix)
        ends = {scale: moved(network, scale * update) for scale in (-1e-3, 0, 1e-3, 1)}

        def outputs(inputs: torch.Tensor, ends: dict[float, nn.Module] = ends) -> torch.Tensor:
            minus, here, plus, there = (ends[scale](inputs) for scale in (-1e-3, 0, 1e-3, 1))
            slope, bend = (plus - minus) / 2e-3, (plus - 2 * here + minus) / 1e-6
            return {"network": there, "linear": here + slope, "quadratic": here + slope + bend / 2}[evaluation]

        slow = evaluate(outputs, problem, "val", members, CPU)
        assert ours.score.values[row, members] == pytest.approx(slow["score"][members], abs=1e-4)
        assert ours.negative_loss.values[row, members] == pytest.approx(slow["negative_loss"][members], rel=1e-4)
        assert np.isnan(ours.score.values[row, ~subset]).all()


def test_one_against_the_rest_is_a_logistic_loss_a_class() -> None:
    problem = mixed_tasks()
    network = trained(problem)

    def loss(task: Task, output: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        if task.kind != "multiclass":
            return loss_of_outputs(task, output, label)
        hot = nn.functional.one_hot(label.long(), 3).double()
        return nn.functional.binary_cross_entropy_with_logits(output, hot, reduction="sum")

    given = {"dimension": 9, "C": 0.3, "device": "cpu"}
    estimator = GradTAE(problem, [network], classes="one against the rest", **given)
    matrix = matrix_of(estimator)
    found = estimator._regress(estimator._linearised[0].train, SUBSETS[:2])
    for row, members in enumerate(([0, 1, 2, 3], [1])):
        expected = slow_solution(problem, network, members, 0.3, matrix, loss)
        assert found[row].numpy() == pytest.approx(expected.numpy(), abs=1e-5)
    joint = GradTAE(problem, [network], **given)
    assert not np.allclose(joint._regress(joint._linearised[0].train, SUBSETS[:1]), found[:1], atol=1e-3)


def test_gradients_of_every_class_against_backward_passes() -> None:
    problem = mixed_tasks()
    network = trained(problem)
    rows = GradTAE(problem, [network], dimension=None, device="cpu")._linearised[0].train
    for task, found in enumerate(rows):
        features, outputs, label = slow_rows(problem, network, task)
        torch.testing.assert_close(found.features, features)
        torch.testing.assert_close(found.offset, outputs)
        assert torch.equal(found.label, label) and found.kind == KINDS[task].kind


@pytest.mark.parametrize("evaluation", ["network", "linear", "quadratic"])
def test_on_a_linear_network_it_is_training_to_convergence(evaluation: str) -> None:
    problem = mixed_tasks(linear)
    estimate = GradTAE(problem, [trained(problem)], dimension=None, C=1e6, device="cpu", evaluation=evaluation)
    found = estimate.scores(SUBSETS[:1])
    for task in range(4):
        train, val = problem.train.of_tasks([task]), problem.val.of_tasks([task])
        x, y = problem.inputs[train.input_index].numpy(), train.label.numpy()
        new, known = problem.inputs[val.input_index].numpy(), val.label.numpy()
        if KINDS[task].kind == "regression":
            ones = np.ones((len(x), 1))
            weight = np.linalg.lstsq(np.hstack([x, ones]), y, rcond=None)[0]
            loss = ((new @ weight[:-1] + weight[-1] - known) ** 2).mean()
        else:
            direct = LogisticRegression(C=1e6, tol=1e-10, max_iter=10_000).fit(x, y)
            loss = -direct.predict_log_proba(new)[np.arange(len(new)), known.astype(int)].mean()
            score = (direct.predict(new) == known).mean()
            assert KINDS[task].metric != "accuracy" or found.score.values[0, task] == score
        assert -found.negative_loss.values[0, task] == pytest.approx(loss, rel=1e-4)


def test_relabelled_tasks_of_all_kinds_give_equal_scores() -> None:
    order = [2, 0, 3, 1]
    problem, splits = mixed_tasks(), []
    place = torch.tensor(np.argsort(order))
    for name in ("train", "val", "test"):
        rows = getattr(problem, name)
        splits.append(type(rows)(rows.input_index, place[rows.task_index], rows.label))
    other = Problem("relabelled", tuple(KINDS[i] for i in order), problem.inputs, *splits, problem.build)
    network = trained(problem)
    head = moved(network, torch.tensor(0.0))
    columns = problem.columns(order)
    head[2].weight.data, head[2].bias.data = network[2].weight.data[columns], network[2].bias.data[columns]
    for evaluation in ("network", "linear"):
        given = {"dimension": None, "C": 0.3, "device": "cpu", "evaluation": evaluation}
        plain = GradTAE(problem, [network], **given).scores(SUBSETS)
        found = GradTAE(other, [head], **given).scores(SUBSETS[:, order])
        for metric in ("score", "negative_loss"):
            expected = plain[metric].values[:, order]
            np.testing.assert_allclose(found[metric].values, expected, rtol=1e-6, equal_nan=True)


@pytest.mark.parametrize("evaluation", ["network", "linear"])
def test_single_precision_gives_the_same_scores(evaluation: str) -> None:
    problem = mixed_tasks()
    splits = (getattr(problem, name) for name in ("train", "val", "test"))
    single = [type(rows)(rows.input_index, rows.task_index, rows.label.float()) for rows in splits]
    single = Problem("single", problem.tasks, problem.inputs.float(), *single, lambda: perceptron().float())
    network = trained(problem)
    copy = moved(network, torch.tensor(0.0)).float()
    given = {"dimension": 9, "C": 0.3, "device": "cpu", "evaluation": evaluation}
    double = GradTAE(problem, [network], **given).scores(SUBSETS)
    found = GradTAE(single, [copy], **given).scores(SUBSETS)
    np.testing.assert_allclose(found.negative_loss.values, double.negative_loss.values, rtol=1e-3, equal_nan=True)


def test_equal_subsets_get_equal_scores_and_the_others_do_not_matter() -> None:
    problem = mixed_tasks()
    estimator = GradTAE(problem, [trained(problem)], dimension=9, C=0.3, device="cpu")
    twice = estimator.scores(SUBSETS[[2, 0, 2]]).negative_loss.values
    np.testing.assert_array_equal(twice[0], twice[2])
    alone = estimator.scores(SUBSETS[2:]).negative_loss.values
    np.testing.assert_allclose(twice[:1], alone, rtol=1e-6, equal_nan=True)


def test_meta_initialisations_are_trained_on_all_tasks_as_a_single_training_is() -> None:
    problem, recipe = small_problem(), Recipe(epochs=3)
    networks, flops = meta_initialisations(problem, recipe, 3, 0, "cpu")
    assert len(networks) == 3 and len(set(flops)) == 1
    assert not torch.equal(networks[0].weight, networks[1].weight)
    again, _ = meta_initialisations(problem, recipe, 1, 0, "cpu")
    torch.testing.assert_close(networks[0].weight, again[0].weight)
    assert not networks[0].training
