"""Bad input to the affinity estimators: one clear error each."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

from taskgroup_core.affinity.gradient_cosine import GradientCosineAffinity
from taskgroup_core.affinity.lookahead import LookaheadAffinity
from taskgroup_core.affinity.sample_convergence import SampleConvergenceAffinity
from taskgroup_core.affinity.transfer_gain import TransferGainAffinity
from taskgroup_core.errors import InputError
from taskgroup_core.training.joint import joint_training
from taskgroup_core.training.recipe import Recipe
from tests.estimators import perceptron_problem, quadratic_problem, random_quadratics
from tests.small import small_problem

QUICK = Recipe(epochs=1, batch_size=1000)
COLLECTED = (LookaheadAffinity, TransferGainAffinity, GradientCosineAffinity)
MAKE: tuple[Callable[..., object], ...] = (
    *(lambda *, make=make, **given: make(QUICK, 0, "cpu", **given) for make in COLLECTED),
    lambda **given: SampleConvergenceAffinity(5, 0, "cpu", inputs="own", **given),
)


def refused(estimator: object, problem: object, argument: str) -> None:
    with pytest.raises(InputError) as caught:
        estimator.affinity(problem)  # type: ignore[attr-defined]
    assert caught.value.argument == argument


@pytest.mark.parametrize("make", MAKE)
def test_a_network_with_no_shared_parameter(make: Callable[..., object]) -> None:
    refused(make(), small_problem("linear"), "shared")
    refused(make(shared=lambda name: name == "misspelt"), perceptron_problem(), "shared")


@pytest.mark.parametrize("make", MAKE)
def test_a_last_layer_that_is_no_row_of_heads_must_be_explained(make: Callable[..., object]) -> None:
    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Linear(5, 3)
            self.heads = nn.ModuleList(nn.Linear(3, 1) for _ in range(4))

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return torch.cat([head(self.body(inputs)) for head in self.heads], dim=1)

    problem = perceptron_problem(torch.float32)
    splits = (problem.train, problem.val, problem.test)
    apart = type(problem)("apart", problem.tasks, problem.inputs, *splits, Pair)
    refused(make(), apart, "shared")
    assert make(shared=lambda name: name.startswith("body")).affinity(apart).shape == (4, 4)  # type: ignore[attr-defined]


@pytest.mark.parametrize("make", COLLECTED)
@pytest.mark.parametrize("every", [0, -1, 1.5, "10", True, None])
def test_an_interval_that_cannot_be(make: Callable[..., object], every: object) -> None:
    refused(make(QUICK, 0, "cpu", every=every), perceptron_problem(), "every")


@pytest.mark.parametrize("make", COLLECTED)
@pytest.mark.parametrize(
    "window", ["last", (0.5, 0.5), (0.6, 0.2), (-0.1, 1), (0, 1.1), (math.nan, 1), (0.5,), 0.5, None]
)
def test_a_window_that_cannot_be(make: Callable[..., object], window: object) -> None:
    refused(make(QUICK, 0, "cpu", window=window), perceptron_problem(), "window")


@pytest.mark.parametrize("make", COLLECTED)
def test_a_window_without_a_collection(make: Callable[..., object]) -> None:
    refused(
        make(Recipe(epochs=8, batch_size=1000), 0, "cpu", window="final", every=100), perceptron_problem(), "window"
    )


@pytest.mark.parametrize("make", [LookaheadAffinity, TransferGainAffinity])
@pytest.mark.parametrize("rate", [0, -1, math.nan, math.inf])
def test_a_trial_step_that_cannot_be(make: Callable[..., object], rate: float) -> None:
    refused(make(QUICK, 0, "cpu", learning_rate=rate), perceptron_problem(), "learning_rate")


@pytest.mark.parametrize(
    ("make", "given"),
    [
        (LookaheadAffinity, {"step": "sgd"}),
        (LookaheadAffinity, {"split": "test"}),
        (TransferGainAffinity, {"step": "adam"}),
        (TransferGainAffinity, {"diagonal": "one"}),
        (TransferGainAffinity, {"groups": [[]]}),
        (TransferGainAffinity, {"groups": [[0, 4]]}),
        (TransferGainAffinity, {"groups": [[0, 0]]}),
    ],
)
def test_a_choice_that_does_not_exist(make: Callable[..., object], given: dict[str, object]) -> None:
    refused(make(QUICK, 0, "cpu", **given), perceptron_problem(), next(iter(given)))


@pytest.mark.parametrize(
    "given",
    [
        {"samples": 0},
        {"samples": -1},
        {"samples": 2.0},
        {"samples": True},
        {"samples": 10**6},
        {"learning_rate": 0},
        {"learning_rate": math.nan},
        {"inputs": "other"},
        {"equal_heads": True, "shared": bool},
    ],
)
def test_sample_convergence_refuses(given: dict[str, object]) -> None:
    refused(
        SampleConvergenceAffinity(**{"samples": 5, "device": "cpu"} | given), perceptron_problem(), next(iter(given))
    )


@pytest.mark.parametrize("make", MAKE)
def test_a_misspelt_argument(make: Callable[..., object]) -> None:
    with pytest.raises(TypeError):
        make(windwo="all")


@pytest.mark.parametrize("make", COLLECTED)
def test_a_bad_seed_or_device(make: Callable[..., object]) -> None:
    refused(make(QUICK, -1, "cpu"), perceptron_problem(), "seed")
    refused(make(QUICK, 0, "tpu"), perceptron_problem(), "device")


@pytest.mark.parametrize("make", COLLECTED)
def test_tasks_that_never_meet_in_a_batch(make: Callable[..., object]) -> None:
    _, inputs, labels, _ = random_quadratics()
    apart = torch.full_like(labels, torch.nan)
    for task in range(3):
        apart[task::3, task] = labels[task::3, task]
    problem = quadratic_problem(inputs, apart, random_quadratics()[0].build)
    recipe = Recipe(epochs=2, batch_size=1, learning_rate=0.001)
    refused(make(recipe, 0, "cpu", every=1, shared=lambda name: name == "weight"), problem, "recipe")


@pytest.mark.parametrize("make", MAKE)
def test_a_single_task_has_a_documented_answer(make: Callable[..., object]) -> None:
    problem = perceptron_problem(torch.float32)
    splits = (getattr(problem, split).of_tasks([0]) for split in ("train", "val", "test"))
    alone = type(problem)(
        "alone", problem.tasks[:1], problem.inputs, *splits, lambda: nn.Sequential(nn.Linear(5, 3), nn.Linear(3, 1))
    )
    value = make().affinity(alone).item()  # type: ignore[attr-defined]
    kind = type(make()).__name__
    if kind == "LookaheadAffinity":
        assert 0 < value < 1
    else:
        assert value == pytest.approx(0 if kind == "TransferGainAffinity" else 1, abs=1e-6)


def test_a_diverging_training() -> None:
    with pytest.raises(InputError, match="Lower the learning rate"):
        joint_training(
            perceptron_problem(), Recipe(epochs=3, learning_rate=1e200, optimiser="sgd", momentum=0.9), 0, "cpu"
        )
