from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from taskgroup_core.affinity.gradient_cosine import GradientCosineAffinity
from taskgroup_core.training.recipe import Recipe
from tests.estimators import (
    along_training,
    loss_of,
    perceptron_problem,
    quadratic_problem,
    random_quadratics,
    shared_weight,
)
from tests.small import small_problem

FULL = Recipe(epochs=4, batch_size=1000, learning_rate=0.05)


@pytest.mark.parametrize("optimiser", [{}, {"optimiser": "sgd", "momentum": 0.9}])
def test_every_collection_equals_plain_loops(optimiser):
    recipe = replace(FULL, **optimiser)
    problem = perceptron_problem()
    estimator = GradientCosineAffinity(recipe, 0, "cpu", every=1)
    affinity = estimator.affinity(problem)

    def measure(network, optimiser):
        shared = [value for name, value in network.named_parameters() if name.startswith("0.")]
        rows = []
        for task in range(4):
            gradients = torch.autograd.grad(loss_of(network, problem, task), shared)
            rows.append(torch.cat([gradient.flatten() for gradient in gradients]).numpy())
        return np.array([[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a in rows] for b in rows])

    expected = along_training(problem, recipe, measure)
    assert np.allclose(estimator.trace_.values, expected, atol=1e-10)
    assert np.allclose(affinity.values, expected.mean(axis=0), atol=1e-10)


def test_quadratics_have_a_closed_form():
    problem, inputs, labels, network = random_quadratics()
    ours = GradientCosineAffinity(Recipe(epochs=1), 0, "cpu", shared=shared_weight).affinity(problem).values
    gradients = inputs.numpy().T @ (network(inputs) - labels).detach().numpy()
    gradients /= np.linalg.norm(gradients, axis=0)
    assert np.allclose(ours, gradients.T @ gradients, atol=1e-12)


def test_it_is_symmetric_with_ones_on_the_diagonal():
    affinity = GradientCosineAffinity(Recipe(epochs=2, batch_size=60), 0, "cpu").affinity(small_problem("sign")).values
    assert np.allclose(affinity, affinity.T, atol=1e-6) and np.allclose(np.diag(affinity), 1, atol=1e-6)
    assert np.abs(affinity).max() <= 1 and affinity.min() < 0.99


def test_opposed_tasks_have_cosine_minus_one():
    _, inputs, labels, network = random_quadratics()
    outputs = network(inputs).detach()
    mirrored = outputs[:, :1] - (labels - outputs)[:, :1]
    tasks = torch.cat([labels[:, :1], mirrored - outputs[:, :1] + outputs[:, 1:2]], dim=1)
    pair = quadratic_problem(inputs, tasks, lambda: type(network)(network.weight.tolist(), network.offset.tolist()[:2]))
    affinity = GradientCosineAffinity(Recipe(epochs=1), 0, "cpu", shared=shared_weight).affinity(pair).values
    assert affinity[0, 1] == affinity[1, 0] == pytest.approx(-1, abs=1e-6)


def test_a_loss_scaled_does_not_change_it_on_a_quadratic():
    """Labels and outputs of a task in other units multiply its gradient, and cancel."""
    problem, inputs, labels, network = random_quadratics()
    outputs = network(inputs).detach()
    stretched = quadratic_problem(inputs, outputs + 7 * (labels - outputs), problem.build)
    plain, other = (
        GradientCosineAffinity(Recipe(epochs=1), 0, "cpu", shared=shared_weight).affinity(p).values
        for p in (problem, stretched)
    )
    assert np.allclose(plain, other, atol=1e-9)


def test_a_task_with_no_gradient_is_an_error_not_a_number():
    problem, inputs, labels, network = random_quadratics()
    perfect = labels.clone()
    perfect[:, 1] = network(inputs).detach()[:, 1]
    estimator = GradientCosineAffinity(Recipe(epochs=1), 0, "cpu", shared=shared_weight)
    with pytest.raises(ValueError, match="no batch that measures"):
        estimator.affinity(quadratic_problem(inputs, perfect, problem.build))
