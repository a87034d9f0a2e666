"""Regression tasks whose labels are several numbers: losses, scores, training and every estimator."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
import xarray as xr
from sklearn import metrics
from torch import nn

from taskgroup_core import scores
from taskgroup_core.affinity.full_training import FullTraining
from taskgroup_core.affinity.gauss_newton import GaussNewton
from taskgroup_core.affinity.grad_tae import GradTAE, meta_initialisations
from taskgroup_core.affinity.lookahead import LookaheadAffinity
from taskgroup_core.affinity.sample_convergence import SampleConvergenceAffinity
from taskgroup_core.affinity.transfer_gain import TransferGainAffinity
from taskgroup_core.errors import InputError
from taskgroup_core.examples import Examples
from taskgroup_core.problems.problem import Problem
from taskgroup_core.runs.sample_convergence_study import label_agreement
from taskgroup_core.subsets import all_subsets
from taskgroup_core.tasks import Task
from taskgroup_core.training.evaluate import evaluate
from taskgroup_core.training.fit import fit, mean_loss
from taskgroup_core.training.joint import task_losses
from taskgroup_core.training.recipe import Recipe
from taskgroup_core.training.reptile import ReptileRecipe, reptile
from taskgroup_core.training.stacked import fit_many
from tests.mixed import moved, slow_solution
from tests.unit.test_all_estimators import ESTIMATORS

N_TASKS, NUMBERS = 4, 3
RECIPE = Recipe(epochs=4, batch_size=20, learning_rate=0.02)


def vector_problem(numbers: int = NUMBERS, share: float = 0.8, layout: tuple[int, ...] | None = None) -> Problem:
    """Four regression tasks on 150 inputs with so many numbers a label, a share of the labels there; in float64."""
    generator = torch.Generator().manual_seed(11)
    inputs = torch.randn(150, 5, generator=generator, dtype=torch.float64)
    weight = torch.randn(5, N_TASKS * numbers, generator=generator, dtype=torch.float64)
    noise = 0.3 * torch.randn(150, N_TASKS * numbers, generator=generator, dtype=torch.float64)
    labels = (torch.tanh(inputs @ weight) + noise).view(150, N_TASKS, numbers)
    there = torch.rand(150, N_TASKS, generator=generator) < share

    def split(part: int) -> Examples:
        rows, tasks = (there & (torch.arange(150) % 3 == part)[:, None]).nonzero(as_tuple=True)
        known = labels[rows, tasks]
        return Examples(rows, tasks, known if layout is None else known.reshape(len(rows), *layout))

    def build() -> nn.Module:
        return nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, N_TASKS * numbers)).double()

    tasks = tuple(Task(f"t{index}", "regression", "negative_mae", numbers) for index in range(N_TASKS))
    return Problem("vectors", tasks, inputs, split(0), split(1), split(2), build)


@cache
def problem() -> Problem:
    return vector_problem()


def loss_by_loop(network: nn.Module, given: Problem, task: int, split: str = "train") -> torch.Tensor:
    """The mean over a task's examples of the mean squared error of their numbers, one number at a time."""
    rows = getattr(given, split).of_tasks([task])
    output = network(given.inputs[rows.input_index])
    total = torch.zeros((), dtype=torch.float64)
    for number in range(NUMBERS):
        total = total + ((output[:, task * NUMBERS + number] - rows.label[:, number]) ** 2).sum()
    return total / (NUMBERS * len(rows))


def test_a_table_keeps_the_numbers_together() -> None:
    used, labels = problem().table("val")
    assert labels.shape == (len(used), N_TASKS, NUMBERS)
    there = scores.present(labels)
    rows = problem().val
    assert int(there.sum()) == len(rows)
    place = torch.searchsorted(used, rows.input_index)
    assert torch.equal(labels[place, rows.task_index], rows.label)
    assert labels[~there].isnan().all() and torch.equal(there, ~labels.isnan().any(dim=2))


def test_losses_are_means_over_the_numbers() -> None:
    network = problem().network(0)
    used, labels = problem().table("train")
    output = network(problem().inputs[used])
    wanted = torch.stack([loss_by_loop(network, problem(), task) for task in range(N_TASKS)])
    torch.testing.assert_close(task_losses(output, labels, problem().tasks), wanted)
    counts = scores.present(labels).sum(dim=0)
    torch.testing.assert_close(mean_loss(output, labels, problem().tasks), (wanted * counts).sum() / counts.sum())
    stacked = scores.elementwise_loss(output[None], labels.nan_to_num()[None], problem().tasks)
    assert stacked.shape == (1, len(used), N_TASKS)


def test_scores_run_over_all_numbers() -> None:
    network = problem().network(0).eval()
    found = evaluate(network, problem(), "test", [1, 2], torch.device("cpu"))
    assert np.isnan(found["score"][[0, 3]]).all()
    rows = problem().test.of_tasks([2])
    with torch.no_grad():
        output = network(problem().inputs[rows.input_index])[:, 2 * NUMBERS : 3 * NUMBERS]
    assert found["score"][2] == pytest.approx(-metrics.mean_absolute_error(rows.label, output))
    assert found["negative_loss"][2] == pytest.approx(-metrics.mean_squared_error(rows.label, output))
    assert scores.r2(output, rows.label) == pytest.approx(metrics.r2_score(rows.label.flatten(), output.flatten()))


def test_training_alone_and_in_a_stack_agree() -> None:
    recipe = replace(RECIPE, epochs=6, keep="best")
    subsets = [[0, 1, 2, 3], [2], [1, 3]]
    for subset, stacked in zip(subsets, fit_many(problem(), subsets, recipe, [3] * 3, "cpu"), strict=True):
        alone = fit(problem(), subset, recipe, 3, "cpu")
        assert alone.losses[-1] < alone.losses[0]
        for one, other in zip(alone.network.parameters(), stacked.network.parameters(), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-8)
        wanted = np.mean([float(loss_by_loop(alone.network, problem(), task, "val").detach()) for task in subset])
        assert min(alone.validation_losses) == pytest.approx(wanted)


@pytest.mark.parametrize("evaluation", ["network", "linear"])
def test_each_number_is_a_row_of_least_squares(evaluation: str) -> None:
    meta, _ = meta_initialisations(problem(), RECIPE, 1, 0, "cpu")
    estimator = GradTAE(problem(), meta, dimension=None, C=2.0, device="cpu", evaluation=evaluation)
    network, matrix = meta[0], torch.eye(sum(p.numel() for p in meta[0].parameters()), dtype=torch.float64)

    def loss(task: Task, output: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        return sum(((output[:, k] - label[:, k]) ** 2).sum() / NUMBERS for k in range(NUMBERS))

    member = np.array([[True, False, True, False]])
    found = estimator.scores(member)["negative_loss"].values[0]
    update = slow_solution(problem(), network, [0, 2], 2.0, matrix, loss)
    if evaluation == "network":
        wanted = -float(loss_by_loop(moved(network, update), problem(), 2, "val").detach())
        assert found[2] == pytest.approx(wanted, rel=1e-5)
        newton = GaussNewton(problem(), meta, C=2.0, tolerance=1e-10, device="cpu").scores(member)["negative_loss"]
        assert newton.values[0] == pytest.approx(found, rel=1e-5, nan_ok=True)
    else:
        parts = estimator._linearised[0].scored[2]
        outputs = parts.offset + parts.features @ update
        assert found[2] == pytest.approx(-metrics.mean_squared_error(parts.label, outputs), rel=1e-5)


def test_transfer_gain_and_lookahead_of_the_first_step_by_loops() -> None:
    full = vector_problem(share=1.0)
    recipe = Recipe(epochs=1, batch_size=1000, learning_rate=0.05)
    network = full.network(0)

    def after(sources: list[int]) -> np.ndarray:
        other = deepcopy(network)
        loss = sum(loss_by_loop(other, full, source) for source in sources)
        gradients = torch.autograd.grad(loss, list(other.parameters()))
        with torch.no_grad():
            for value, gradient in zip(other.parameters(), gradients, strict=True):
                value -= 0.05 * gradient
        return np.array([float(loss_by_loop(other, full, task).detach()) for task in range(N_TASKS)])

    gain = TransferGainAffinity(recipe, 0, "cpu", every=1).affinity(full).values
    assert gain[1, 2] == pytest.approx(1 - after([1, 2])[1] / after([1])[1], rel=1e-6)
    ahead = LookaheadAffinity(recipe, 0, "cpu", every=1, shared=bool).affinity(full).values
    before = float(loss_by_loop(network, full, 1).detach())
    assert ahead[1, 2] == pytest.approx(1 - after([2])[1] / before, rel=1e-6)


def test_sample_convergence_by_loops() -> None:
    full = vector_problem(share=1.0)
    estimator = SampleConvergenceAffinity(50, 0, "cpu", learning_rate=1.0)  # all 50 training inputs
    estimator.affinity(full)
    network, names = full.network(0), ("0.weight", "0.bias")
    parameters = [network.get_parameter(name) for name in names]
    total = 0.0
    for index in full.table("train")[0].tolist():
        sides = []
        for task in (0, 3):
            keep = (full.train.input_index == index) & (full.train.task_index == task)
            output = network(full.inputs[index][None])[0, task * NUMBERS : (task + 1) * NUMBERS]
            gradients = torch.autograd.grad((output - full.train.label[keep][0]).square().mean(), parameters)
            sides.append(torch.cat([gradient.flatten() for gradient in gradients]))
        total += float((sides[0] - sides[1]).abs().sum())
    assert estimator.distances_.values[0, 3] == pytest.approx(total / 50)


def test_reptile_and_label_agreement_take_vectors() -> None:
    fitted = reptile(problem(), ReptileRecipe(rounds=3, batch_size=10), 0, "cpu")
    assert all(np.isfinite(fitted.losses))
    rows = torch.arange(40).repeat_interleave(N_TASKS)
    pairs = torch.tensor([[0.0, 1.0], [0.0, 2.0], [0.0, 1.0], [5.0, 5.0]]).repeat(40, 1)
    examples = Examples(rows, torch.arange(N_TASKS).repeat(40), pairs)
    tasks = tuple(Task(f"t{index}", "regression", "r2", 2) for index in range(N_TASKS))
    equal = Problem("equal", tasks, torch.zeros(40, 2), examples, examples, examples, lambda: nn.Linear(2, 8))
    wanted = np.eye(4)
    wanted[0, 2] = wanted[2, 0] = 1
    assert np.array_equal(label_agreement(equal), wanted)


# As released, an intercept is fitted, which binary tasks only have.
@pytest.mark.parametrize("name", [name for name in ESTIMATORS if name != "GRAD-TAE as released"])
def test_every_estimator_runs(name: str) -> None:
    found = ESTIMATORS[name](vector_problem(share=1.0))
    assert found.shape == (N_TASKS, N_TASKS) and np.isfinite(found.values).all() and np.ptp(found.values) > 0


@pytest.mark.parametrize(
    "estimate",
    [
        lambda given: FullTraining(given, RECIPE, 0, "cpu").scores(all_subsets(4))["score"],
        lambda given: ESTIMATORS["GRAD-TAE, pairwise"](given),
        lambda given: TransferGainAffinity(RECIPE, 0, "cpu", every=2).affinity(given),
        lambda given: SampleConvergenceAffinity(10, 0, "cpu").affinity(given),
    ],
)
def test_one_number_written_as_a_vector_is_a_number(estimate: Callable[[Problem], xr.DataArray]) -> None:
    scalar, vector = (vector_problem(1, layout=layout) for layout in ((), (1,)))
    assert vector.train.label.ndim == 1
    assert np.array_equal(estimate(scalar).values, estimate(vector).values, equal_nan=True)


def test_vectors_and_other_labels_do_not_mix() -> None:
    vector = Task("a", "regression", "r2", 3)
    for other in (Task("b"), Task("b", "multiclass", "accuracy", 3), Task("b", "regression", "r2", 2)):
        with pytest.raises(InputError, match="labels of several numbers beside"):
            replace(problem(), tasks=(vector, other))
    for tasks in (tuple(replace(task, n_outputs=numbers) for task in problem().tasks) for numbers in (1, 2)):
        with pytest.raises(InputError, match=r"train\.label: found shape \(\d+, 3\)"):
            replace(problem(), tasks=tasks)
    rows = torch.arange(4)
    for label in (torch.zeros(4, 2, 2), torch.zeros(3, 2), torch.zeros(4, 0)):
        with pytest.raises(InputError, match=r"shapes.*\(E, H\)"):
            Examples(rows, rows, label)
    with pytest.raises(InputError, match="NaN"):
        Examples(rows, rows, torch.tensor([[0.0, torch.nan]]).repeat(4, 1))
