from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch

from taskgroup_core.errors import InputError
from taskgroup_core.training.reptile import ReptileRecipe, reptile
from tests.estimators import perceptron_problem, random_quadratics, shared_weight
from tests.small import small_problem

FULL = ReptileRecipe(rounds=3, inner_steps=4, batch_size=100, inner_rate=0.02, outer_rate=0.5)


def test_quadratics_have_a_closed_form():
    problem, inputs, labels, network = random_quadratics()
    fitted = reptile(problem, FULL, 0, "cpu", shared=shared_weight)
    # The loss of task t is quadratic in (w, c_t): k steps of descent shrink the way to its minimum by a fixed matrix.
    design = torch.cat([inputs, torch.ones(20, 1, dtype=torch.float64)], dim=1).numpy()
    shrink = np.linalg.matrix_power(np.eye(5) - 0.02 * 2 / 20 * design.T @ design, 4)
    best = np.linalg.lstsq(design, labels.numpy(), rcond=None)[0]
    weight, offset = network.weight.detach().numpy().copy(), network.offset.detach().numpy().copy()
    for _ in range(3):
        ends = [best[:, t] + shrink @ (np.append(weight, offset[t]) - best[:, t]) for t in range(3)]
        weight = weight + 0.5 * np.mean([end[:4] - weight for end in ends], axis=0)
        offset = np.array([end[4] for end in ends])
    assert np.allclose(fitted.network.weight.detach(), weight, rtol=1e-10)
    assert np.allclose(fitted.network.offset.detach(), offset, rtol=1e-10)


def test_one_inner_step_and_outer_rate_one_is_descent_on_the_mean_loss():
    problem, inputs, labels, network = random_quadratics()
    recipe = ReptileRecipe(rounds=1, inner_steps=1, batch_size=100, inner_rate=0.1, outer_rate=1.0)
    fitted = reptile(problem, recipe, 0, "cpu", shared=shared_weight)
    moved = deepcopy(network)
    (moved(inputs) - labels).square().mean().backward()
    assert torch.allclose(fitted.network.weight, moved.weight - 0.1 * moved.weight.grad, rtol=1e-12)
    assert fitted.losses[0] == pytest.approx(float((network(inputs) - labels).square().mean().detach()), rel=1e-12)


def test_it_learns_and_the_outer_rate_is_how_far_the_shared_parameters_go():
    problem = small_problem("sign")
    before = problem.network(0)
    moves = {}
    for rate in (0.001, 1.0):
        fitted = reptile(problem, ReptileRecipe(rounds=8, outer_rate=rate), 0, "cpu")
        assert fitted.losses[-1] < fitted.losses[0]
        assert not fitted.network.training
        moves[rate] = float((fitted.network.hops[0][0].weight - before.hops[0][0].weight).detach().norm())
    assert moves[0.001] < moves[1.0] / 100


def test_same_seed_same_network_and_calls_of_the_observer():
    seen = []
    first = reptile(perceptron_problem(), FULL, 1, "cpu", observe=lambda done, _: seen.append(done), every=2)
    again, other = (reptile(perceptron_problem(), FULL, seed, "cpu") for seed in (1, 2))
    assert seen == [0, 2, 3]
    for one, same, different in zip(*(made.network.parameters() for made in (first, again, other)), strict=True):
        assert torch.equal(one, same) and not torch.equal(one, different)
    assert first.flops == 3 * 4 * len(perceptron_problem().train) * perceptron_problem().row_flops[1]


@pytest.mark.parametrize("name", ["rounds", "inner_steps", "batch_size", "inner_rate", "outer_rate"])
def test_numbers_that_cannot_be(name):
    with pytest.raises(InputError, match=f"{name}: found"):
        ReptileRecipe(**{name: 0})


@pytest.mark.parametrize("every", [0, -1, 1.5, True])
def test_an_interval_that_cannot_be(every):
    with pytest.raises(InputError, match="every"):
        reptile(perceptron_problem(), FULL, 0, "cpu", every=every)


def test_rates_that_diverge_and_nothing_to_share():
    problem = random_quadratics()[0]
    with pytest.raises(InputError, match="Lower the learning rate"):
        reptile(problem, ReptileRecipe(rounds=40, inner_rate=1e9), 0, "cpu", shared=shared_weight)
    with pytest.raises(InputError, match="shared"):
        reptile(small_problem("linear"), FULL, 0, "cpu")
