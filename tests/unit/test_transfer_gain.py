from __future__ import annotations

import numpy as np
import pytest
import torch

from taskgroup_core.affinity import one_step
from taskgroup_core.affinity.gradient_cosine import GradientCosineAffinity
from taskgroup_core.affinity.lookahead import LookaheadAffinity
from taskgroup_core.affinity.transfer_gain import TransferGainAffinity
from taskgroup_core.training.fit import Recipe
from tests.estimators import after_step, along_training, loss_of, perceptron_problem, random_quadratics, shared_weight

FULL = Recipe(epochs=3, batch_size=1000, learning_rate=0.05)
ONCE = Recipe(epochs=1)


def gain(network, mover, problem, group, target):
    """Eq. (3) by two steps and two losses."""

    def step(tasks):
        def total(moved):
            return sum(loss_of(moved, problem, task) for task in sorted(tasks))

        return loss_of(after_step(network, mover, FULL.learning_rate, total), problem, target).item()

    return 1 - step({*group, target}) / step({target})


@pytest.mark.parametrize("momentum", [None, 0.9])
@pytest.mark.parametrize("step", ["gradient", "optimiser"])
def test_pairs_and_groups_equal_plain_loops(momentum, step):
    problem, groups = perceptron_problem(), [[0, 1], [2], [0, 2, 3]]
    estimator = TransferGainAffinity(FULL, 0, "cpu", every=1, momentum=momentum, step=step, groups=groups)
    affinity = estimator.affinity(problem)
    sets = [*([i] for i in range(4)), *groups]

    def measure(network, optimiser):
        mover = optimiser if step == "optimiser" else None
        return np.array([[gain(network, mover, problem, group, j) for group in sets] for j in range(4)])

    expected = along_training(problem, FULL, momentum, measure)
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
    monkeypatch.setattr(one_step, "_FLOATS_AT_ONCE", 1)
    assert one_step.at_once(problem.network(0), ["0.weight"], 10) == 1
    assert np.allclose(make(FULL, 0, "cpu", every=1).affinity(problem).values, whole, rtol=0, atol=1e-13)
