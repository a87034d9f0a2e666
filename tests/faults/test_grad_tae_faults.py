"""Bad input to GRAD-TAE: one clear error each."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from taskgroup_core.affinity.grad_tae import GradTAE
from taskgroup_core.errors import InputError
from taskgroup_core.problems.problem import Problem
from tests.mixed import mixed_tasks
from tests.small import small_problem


def refused(argument: str, problem: Problem | None = None, **given: object) -> None:
    problem = problem or small_problem("sign")
    with pytest.raises(InputError) as caught:
        GradTAE(problem, **{"meta": [problem.network(0).eval()], "device": "cpu", "dimension": 4, **given})
    assert caught.value.argument == argument


@pytest.mark.parametrize(
    ("given", "argument"),
    [
        ({"meta": []}, "meta"),
        ({"C": 0.0}, "C"),
        ({"C": math.nan}, "C"),
        ({"dimension": 0}, "dimension"),
        ({"projection": "gausian"}, "kind"),
        ({"evaluation": "fast"}, "evaluation"),
        ({"evaluation": "linear", "frozen_heads": True}, "evaluation"),
        ({"evaluation": "linear", "solution_norm": 1.0}, "evaluation"),
        ({"classes": "one vector each"}, "classes"),
        ({"intercept": "fitted"}, "intercept"),
        ({"fit_share": 0.0}, "fit_share"),
        ({"fit_share": 1.1}, "fit_share"),
        ({"fit_share": math.nan}, "fit_share"),
        ({"solution_norm": 0.0}, "solution_norm"),
        ({"solution_norm": math.inf}, "solution_norm"),
        ({"seed": -1}, "seed"),
        ({"device": "tpu"}, "device"),
    ],
)
def test_a_parameter_that_cannot_be(given: dict[str, object], argument: str) -> None:
    refused(argument, **given)


def test_what_does_not_fit_the_problem() -> None:
    refused("intercept", mixed_tasks(), intercept="fitted and dropped")
    refused("network", meta=[small_problem("sign").network(0).train()])


def test_heads_that_are_the_whole_network_cannot_be_frozen() -> None:
    for problem in (small_problem("linear"), _inside(small_problem("linear"))):
        refused("frozen_heads", problem, frozen_heads=True)


def _inside(problem: Problem) -> Problem:
    splits = (problem.train, problem.val, problem.test)
    return Problem("inside", problem.tasks, problem.inputs, *splits, lambda: nn.Sequential(problem.build()))


@pytest.mark.parametrize("subsets", [np.zeros((1, 4), dtype=bool), np.ones((1, 3), dtype=bool), np.ones(4, dtype=bool)])
def test_subsets_that_cannot_be(subsets: np.ndarray) -> None:
    problem = small_problem()
    estimator = GradTAE(problem, [problem.network(0).eval()], dimension=3, device="cpu")
    with pytest.raises(InputError, match="subsets"):
        estimator.scores(subsets)


def test_a_task_without_validation_labels_or_with_one_class_is_refused_by_the_problem() -> None:
    problem = small_problem()
    for split, remedy in (("val", "no example"), ("train", "one class")):
        parts = {name: getattr(problem, name) for name in ("train", "val", "test")}
        rows = parts[split]
        if split == "val":
            parts[split] = rows.of_tasks([0, 1, 2])
        else:
            label = torch.where(rows.task_index == 3, 1.0, rows.label)
            parts[split] = type(rows)(rows.input_index, rows.task_index, label)
        with pytest.raises(InputError, match=remedy):
            Problem("short", problem.tasks, problem.inputs, *parts.values(), problem.build)
