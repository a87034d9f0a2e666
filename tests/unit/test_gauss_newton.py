"""The Gauss-Newton estimate against dense linear algebra, and beside the regression it is the first step of."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from taskgroup_core.affinity.gauss_newton import GaussNewton, conjugate_gradients
from taskgroup_core.affinity.grad_tae import GradTAE
from taskgroup_core.errors import InputError
from taskgroup_core.gradients.flat import FlatNetwork
from taskgroup_core.gradients.linearisation import taylor
from taskgroup_core.training.evaluate import evaluate
from taskgroup_core.training.fit import fit
from taskgroup_core.training.recipe import Recipe
from tests.mixed import KINDS, loss_of_outputs, mixed_tasks, moved, slow_rows


def case(tasks=KINDS, build=None):
    problem = mixed_tasks(tasks=tasks, **({"build": build} if build else {}))
    return problem, fit(problem, range(problem.n_tasks), Recipe(epochs=20, batch_size=40), 0, "cpu").network


def dense_step(problem, network, subset, C):
    """Solve (J'HJ + I / C) v = -J' l' with J and H written out."""
    p = FlatNetwork(network).n_parameters
    matrix, right = torch.eye(p, dtype=torch.float64) / C, torch.zeros(p, dtype=torch.float64)
    for task in subset:
        gradients, outputs, labels = slow_rows(problem, network, task)
        for g, f, label in zip(gradients, outputs, labels, strict=True):
            loss = lambda x, task=task, label=label: loss_of_outputs(problem.tasks[task], x[None], label[None])  # noqa: E731
            matrix += g.T @ torch.func.hessian(loss)(f) @ g
            right -= g.T @ torch.func.grad(loss)(f)
    return torch.linalg.solve(matrix, right)


@pytest.mark.parametrize("subset", [[0], [1], [2], [0, 1, 2, 3]])
def test_the_step_solves_the_dense_system(subset: list[int]) -> None:
    problem, network = case()
    estimator = GaussNewton(problem, [network], C=0.5, tolerance=1e-10, device="cpu")
    step = estimator.step(FlatNetwork(network), subset)
    torch.testing.assert_close(step, dense_step(problem, network, subset, 0.5), rtol=1e-6, atol=1e-8)
    assert estimator.unconverged == 0 and estimator.iterations > 0


def test_for_squared_error_it_is_grad_tae_without_projection() -> None:
    problem, network = case(
        [KINDS[2]], lambda: torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1)).double()
    )
    subsets = np.array([[True]])
    ours = GaussNewton(problem, [network], C=0.5, tolerance=1e-10, device="cpu").scores(subsets)
    regression = GradTAE(problem, [network], dimension=None, C=0.5, device="cpu").scores(subsets)
    np.testing.assert_allclose(ours.negative_loss, regression.negative_loss, rtol=1e-6)


def test_it_nears_the_regression_as_the_penalty_grows() -> None:
    problem, network = case()
    flat, subsets = FlatNetwork(network), np.array([[1, 1, 0, 1]], dtype=bool)
    apart = []
    for C in (1.0, 0.01, 0.0001):
        estimator = GradTAE(problem, [network], dimension=None, C=C, device="cpu")
        whole = estimator._regress(estimator._linearised[0].train, subsets)[0]
        step = GaussNewton(problem, [network], C=C, tolerance=1e-9, device="cpu").step(flat, [0, 1, 3])
        apart.append(float((whole - step).norm() / whole.norm()))
    assert apart[0] > 0.01  # the first Newton step is not the minimum ...
    assert apart[2] < apart[1] < apart[0] and apart[2] < 1e-3  # ... unless it is a short one


@pytest.mark.parametrize(("evaluation", "order"), [("network", None), ("linear", 1), ("quadratic", 2)])
def test_the_evaluations_are_those_of_the_network_and_its_expansions(evaluation: str, order: int | None) -> None:
    problem, network = case()
    subsets = np.array([[1, 1, 1, 1], [0, 0, 1, 1]], dtype=bool)
    estimator = GaussNewton(problem, [network], C=0.5, device="cpu", evaluation=evaluation)
    found = estimator.scores(subsets)
    flat = FlatNetwork(network)
    for row, subset in enumerate(subsets):
        members = np.flatnonzero(subset).tolist()
        step = estimator.step(flat, members)
        outputs = moved(network, step) if order is None else lambda x, v=step: taylor(flat, x, v, order)
        slow = evaluate(outputs, problem, "val", members, torch.device("cpu"))
        for metric in ("score", "negative_loss"):
            np.testing.assert_allclose(found[metric].values[row], slow[metric], rtol=1e-9, equal_nan=True)


def test_conjugate_gradients_against_a_dense_solver() -> None:
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(30, 12, generator=generator, dtype=torch.float64)
    matrix, right = root.T @ root, torch.randn(12, generator=generator, dtype=torch.float64)
    found, iterations, converged = conjugate_gradients(lambda x: matrix @ x, right, 1e-12, 100)
    torch.testing.assert_close(found, torch.linalg.solve(matrix, right))
    assert converged and 10 <= iterations <= 20
    assert not conjugate_gradients(lambda x: matrix @ x, right, 1e-12, 3)[2]
    zero, none, at_once = conjugate_gradients(lambda x: matrix @ x, 0 * right, 1e-6, 5)
    assert at_once and none == 0 and not zero.any()


def test_costs_and_failures_are_counted() -> None:
    problem, network = case()
    subsets = np.array([[1, 0, 0, 0], [1, 1, 1, 1]], dtype=bool)
    few = GaussNewton(problem, [network], max_iterations=1, device="cpu", meta_flops=5)
    few.scores(subsets)
    assert few.unconverged == 2 and few.iterations == 2
    many = GaussNewton(problem, [network], device="cpu", meta_flops=5)
    many.scores(subsets)
    assert many.unconverged == 0 and many.flops > few.flops > 5
    evaluation = len(subsets) * len(problem.table("val")[0]) * problem.row_flops[0]
    assert few.flops > 5 + evaluation


@pytest.mark.parametrize(
    ("change", "argument"),
    [
        ({"meta": []}, "meta"),
        ({"C": 0.0}, "C"),
        ({"C": float("nan")}, "C"),
        ({"tolerance": 0.0}, "tolerance"),
        ({"max_iterations": 0}, "max_iterations"),
        ({"evaluation": "cubic"}, "evaluation"),
        ({"device": "tpu"}, "device"),
    ],
)
def test_bad_input(change: dict[str, object], argument: str) -> None:
    problem, network = case()
    with pytest.raises(InputError) as caught:
        GaussNewton(**{"problem": problem, "meta": [network], "device": "cpu", **change})
    assert caught.value.argument == argument
