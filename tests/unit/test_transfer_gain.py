from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from taskgroup_core.affinity import task_gradients
from taskgroup_core.affinity.gradient_cosine import GradientCosineAffinity
from taskgroup_core.affinity.lookahead import LookaheadAffinity
from taskgroup_core.affinity.transfer_gain import TransferGainAffinity
from taskgroup_core.examples import Examples
from taskgroup_core.problems.problem import Problem
from taskgroup_core.tasks import Task
from taskgroup_core.training.recipe import Recipe
from tests.estimators import (
    Offsets,
    after_step,
    along_training,
    loss_of,
    perceptron_problem,
    quadratic_problem,
    random_quadratics,
    relabelled,
    shared_weight,
)

FULL = Recipe(epochs=3, batch_size=1000, learning_rate=0.05)
ONCE = Recipe(epochs=1)


def gain(network, mover, problem, group, target):
    """Eq. (3) by two steps and two losses."""

    def step(tasks):
        def total(moved):
            return sum(loss_of(moved, problem, task) for task in sorted(tasks))

        return loss_of(after_step(network, mover, FULL.learning_rate, total), problem, target).item()

    return 1 - step({*group, target}) / step({target})


@pytest.mark.parametrize("optimiser", [{}, {"optimiser": "sgd", "momentum": 0.9}])
@pytest.mark.parametrize("step", ["gradient", "optimiser"])
def test_pairs_and_groups_equal_plain_loops(optimiser, step):
    recipe = replace(FULL, **optimiser)
    problem, groups = perceptron_problem(), [[0, 1], [2], [0, 2, 3]]
    estimator = TransferGainAffinity(recipe, 0, "cpu", every=1, step=step, groups=groups)
    affinity = estimator.affinity(problem)
    sets = [*([i] for i in range(4)), *groups]

    def measure(network, optimiser):
        mover = optimiser if step == "optimiser" else None
        return np.array([[gain(network, mover, problem, group, j) for group in sets] for j in range(4)])

    expected = along_training(problem, recipe, measure)
    assert np.abs(expected).max() > 1e-3
    assert np.allclose(estimator.trace_.values, expected[:, :, :4], rtol=1e-6, atol=1e-10)
    assert np.allclose(affinity.values, expected[:, :, :4].mean(axis=0), rtol=1e-6, atol=1e-10)
    assert np.allclose(estimator.group_gains_.values.T, expected[:, :, 4:].mean(axis=0), rtol=1e-6, atol=1e-10)
    assert estimator.group_gains_.dims == ("group", "target")


@pytest.mark.parametrize("rate", [0.1, 1e-4])
def test_quadratics_have_a_closed_form(rate):
    problem, inputs, labels, network = random_quadratics()
    given = {"shared": shared_weight, "learning_rate": rate, "diagonal": "double", "groups": [[0, 1]]}
    estimator = TransferGainAffinity(ONCE, 0, "cpu", **given)
    ours = estimator.affinity(problem).values
    x, residual = inputs.numpy(), (network(inputs) - labels).detach().numpy()
    gradients = 2 * x.T @ residual / len(x)

    def loss(j, moved):
        own = 2 * residual[:, j].mean()  # the gradient of the offset c_j, which takes one step
        return ((residual[:, j] - rate * own - rate * x @ moved) ** 2).mean()

    for j in range(3):
        alone = loss(j, gradients[:, j])
        for i in range(3):
            expected = 1 - loss(j, gradients[:, i] + gradients[:, j]) / alone
            assert ours[j, i] == pytest.approx(expected, abs=1e-12)
        group = gradients[:, sorted({0, 1, j})].sum(axis=1)
        assert estimator.group_gains_.values[0, j] == pytest.approx(1 - loss(j, group) / alone, abs=1e-12)
    if rate == 1e-4:
        # Summed losses: to first order a group's gain is the sum of its members' gains, not their mean.
        assert estimator.group_gains_.values[0, 2] == pytest.approx(ours[2, :2].sum(), rel=0.01)
        assert estimator.group_gains_.values[0, 2] != pytest.approx(ours[2, :2].mean(), rel=0.3)


def test_the_diagonal_is_zero_by_equation_3_and_the_other_entries_do_not_depend_on_it():
    problem = random_quadratics()[0]
    zero, double = (
        TransferGainAffinity(ONCE, 0, "cpu", shared=shared_weight, learning_rate=0.01, diagonal=diagonal)
        .affinity(problem)
        .values
        for diagonal in ("zero", "double")
    )
    outside = ~np.eye(3, dtype=bool)
    assert np.array_equal(np.diag(zero), np.zeros(3)) and (np.diag(double) > 0).all()
    assert np.allclose(zero[outside], double[outside], rtol=0, atol=1e-14)


def test_the_same_seed_repeats_and_another_differs():
    problem = perceptron_problem(torch.float32)
    recipe = Recipe(epochs=2, batch_size=40)
    first, second, other = (TransferGainAffinity(recipe, s, "cpu", every=2).affinity(problem).values for s in (0, 0, 1))
    assert np.array_equal(first, second) and not np.array_equal(first, other)


@pytest.mark.parametrize("make", [TransferGainAffinity, LookaheadAffinity, GradientCosineAffinity])
def test_slices_that_fit_into_little_memory_change_nothing(make, monkeypatch):
    problem = perceptron_problem()
    whole = make(FULL, 0, "cpu", every=1).affinity(problem).values
    monkeypatch.setattr(task_gradients, "_FLOATS_AT_ONCE", 1)
    assert task_gradients.at_once(problem.network(0), ["0.weight"], 10) == 1
    assert np.allclose(make(FULL, 0, "cpu", every=1).affinity(problem).values, whole, rtol=0, atol=1e-13)


def test_the_double_diagonal_is_the_gain_from_a_copy_of_the_task():
    _, inputs, labels, _ = random_quadratics()
    network = Offsets([0.3, -0.2, 0.1, 0.5], [0.1, 0.0, 0.1])
    twins = quadratic_problem(inputs, labels[:, [0, 1, 0]], lambda: deepcopy(network))
    given = {"shared": shared_weight, "learning_rate": 0.01, "diagonal": "double"}
    ours = TransferGainAffinity(ONCE, 0, "cpu", **given).affinity(twins).values
    assert ours[0, 0] == pytest.approx(ours[0, 2], abs=1e-14) and ours[0, 0] == pytest.approx(ours[2, 0], abs=1e-14)
    assert ours[0, 0] > abs(ours[0, 1])


def test_a_group_that_holds_the_target_counts_it_once_and_one_task_is_the_pair():
    problem = perceptron_problem()
    groups = [[1], [0, 1], [1, 2], [0, 1, 2]]
    estimator = TransferGainAffinity(FULL, 0, "cpu", every=1, groups=groups)
    pairs, direct = estimator.affinity(problem).values, estimator.group_gains_.values
    assert np.allclose(direct[0], pairs[:, 1], rtol=0, atol=1e-14)
    assert direct[1, 0] == pytest.approx(pairs[0, 1], abs=1e-14) and direct[0, 1] == 0
    assert direct[3, 0] == pytest.approx(direct[2, 0], abs=1e-14)
    # Eq. (4), as the class documents it: the gain of a group is a sum over targets.
    to_all = estimator.group_gains_.sel(group="+".join(problem.task_names[:2])).sum().item()
    assert to_all == pytest.approx(direct[1].sum(), abs=1e-15)


def test_relabelled_tasks_give_relabelled_groups():
    problem, order = perceptron_problem(), [2, 0, 3, 1]
    plain, moved = (
        TransferGainAffinity(FULL, 0, "cpu", every=2, diagonal="double", groups=groups)
        for groups in ([[0, 1], [3]], [[1, 3], [2]])
    )
    first, second = plain.affinity(problem).values, moved.affinity(relabelled(problem, order)).values
    assert np.allclose(second, first[np.ix_(order, order)], rtol=0, atol=1e-10)
    assert np.allclose(moved.group_gains_.values, plain.group_gains_.values[:, order], rtol=0, atol=1e-10)


def test_multiclass_tasks_equal_plain_loops():
    generator = torch.Generator().manual_seed(5)
    inputs = torch.randn(30, 5, generator=generator, dtype=torch.float64)
    tasks = (Task("two"), Task("three", "multiclass", "accuracy", 3), Task("number", "regression", "r2"))
    labels = torch.stack([inputs[:, 0] > 0, inputs[:, 1:4].argmax(1), inputs[:, 4]], dim=1).to(torch.float32)
    rows, columns = torch.ones(30, 3).nonzero(as_tuple=True)
    examples = Examples(rows, columns, labels[rows, columns])

    def build():
        return nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 5)).double()

    problem = Problem("mixed", tasks, inputs, examples, examples, examples, build)

    def loss(network, task):
        output, known = network(inputs), labels[:, task].double()
        if task == 0:
            return functional.binary_cross_entropy_with_logits(output[:, 0], known)
        if task == 1:
            return functional.cross_entropy(output[:, 1:4], known.long())
        return functional.mse_loss(output[:, 4], known)

    def after(network, members, task):
        moved = after_step(network, None, 0.1, lambda one: sum(loss(one, member) for member in sorted(members)))
        return loss(moved, task).item()

    estimator = TransferGainAffinity(ONCE, 0, "cpu", learning_rate=0.1, groups=[[0, 1, 2]])
    ours, network = estimator.affinity(problem).values, problem.network(0)
    for j in range(3):
        alone = after(network, {j}, j)
        expected = [1 - after(network, {i, j}, j) / alone for i in range(3)]
        assert np.allclose(ours[j], expected, rtol=1e-6, atol=1e-12)
        assert estimator.group_gains_.values[0, j] == pytest.approx(1 - after(network, {0, 1, 2}, j) / alone, rel=1e-6)
    assert np.abs(ours[~np.eye(3, dtype=bool)]).min() > 1e-5


def test_adam_from_its_start_gives_a_task_nothing_from_itself():
    """Its first step does not depend on the gradient's length, so that a double one is the single one."""
    problem = perceptron_problem()
    estimator = TransferGainAffinity(FULL, 0, "cpu", every=1, step="optimiser", diagonal="double")
    estimator.affinity(problem)
    diagonal = np.diagonal(estimator.trace_.values, axis1=1, axis2=2)
    assert np.abs(diagonal[0]).max() < 1e-4 < np.abs(diagonal[1:]).max()


def test_the_difference_from_tag_is_of_second_order():
    """S = Z + eta^2 ((g_i.g_j) |d_j|^2 / L_j^2 - g_i.(H d)_j / L_j), d_j being the gradient for all that j moves."""
    problem, *_, network = random_quadratics()
    parameters = [network.weight, network.offset]
    losses = [loss_of(network, problem, task) for task in range(3)]
    gradients = [torch.autograd.grad(loss, parameters, create_graph=True) for loss in losses]
    expected = np.zeros((3, 3))
    for j, (loss, own) in enumerate(zip(losses, gradients, strict=True)):
        square = sum(part.square().sum() for part in own)
        bent = torch.autograd.grad(square / 2, parameters, retain_graph=True)[0]  # H d, the rows of w
        for i, (other, _) in enumerate(gradients):
            expected[j, i] = ((other @ own[0]) * square / loss**2 - other @ bent / loss).item()
    outside = ~np.eye(3, dtype=bool)
    errors = []
    for rate in (2e-3, 1e-3, 5e-4):
        gain, tag = (
            make(ONCE, 0, "cpu", learning_rate=rate, shared=shared_weight).affinity(problem).values
            for make in (TransferGainAffinity, LookaheadAffinity)
        )
        errors.append(np.abs((gain - tag) / rate**2 - expected)[outside].max())
    assert errors[-1] < np.abs(expected[outside]).max() / 50
    # What is left is of third order: it halves with the step.
    assert all(late / early == pytest.approx(0.5, abs=0.05) for early, late in pairwise(errors))
