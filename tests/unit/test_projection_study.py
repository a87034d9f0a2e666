from __future__ import annotations

import numpy as np
import pytest
import torch

from taskgroup_core.affinity.grad_tae import GradTAE
from taskgroup_core.affinity.subset_regression import logistic_regression
from taskgroup_core.errors import InputError
from taskgroup_core.problems.debian import SMOKE_TAGS, debian_problem
from taskgroup_core.runs.projection_study import linear_examples, regress_unprojected, unprojected_scores
from taskgroup_core.subsets import sample_subsets


@pytest.fixture(scope="module")
def problem():
    return debian_problem(SMOKE_TAGS, n_features=4, hops=1, width=4)


@pytest.fixture(scope="module")
def network(problem):
    return problem.network(0).eval()


def test_the_scores_are_those_of_grad_tae_without_projection(problem, network):
    subsets = sample_subsets(problem.n_tasks, 3, 4, seed=0)
    exact = unprojected_scores(problem, network, subsets, C=0.1, device="cpu")
    direct = GradTAE(problem, [network], dimension=None, C=0.1, device="cpu").scores(subsets)
    for name in ("score", "negative_loss"):
        np.testing.assert_allclose(exact[name], direct[name], atol=1e-5)


@pytest.mark.parametrize("C", [0.01, 1.0])
def test_the_span_of_the_gradients_holds_the_minimum(problem, network, C):
    examples = linear_examples(problem, network, [0, 2], "cpu")
    displacement, regression = regress_unprojected(examples, C)
    full = logistic_regression(examples.gradients.double(), examples.label, examples.offset, C)
    assert regression.converged and full.converged
    assert regression.objective == pytest.approx(full.objective, abs=1e-10)
    torch.testing.assert_close(displacement, full.solution, atol=1e-6, rtol=1e-5)


def test_examples_of_tasks_are_those_that_are_asked_for_directly(problem, network):
    of_all = linear_examples(problem, network, range(problem.n_tasks), "cpu").of_tasks([1, 4])
    direct = linear_examples(problem, network, [1, 4], "cpu", budget=2**12)
    for name in ("gradients", "gram", "inputs", "task_index", "label", "offset"):
        torch.testing.assert_close(getattr(of_all, name), getattr(direct, name))
    torch.testing.assert_close(direct.gram, direct.gradients.double() @ direct.gradients.double().T)


@pytest.mark.parametrize("tasks", [[], [-1], [6]])
def test_tasks_that_are_not_there_are_refused(problem, network, tasks):
    with pytest.raises(InputError, match="tasks"):
        linear_examples(problem, network, tasks, "cpu")
