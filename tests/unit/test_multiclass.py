"""Tasks of several classes: their columns, losses and scores, and training on them."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from sklearn import metrics
from torch import nn

from taskgroup_core import scores
from taskgroup_core.errors import InputError
from taskgroup_core.examples import Examples
from taskgroup_core.problems.problem import Problem
from taskgroup_core.tasks import Task, output_columns
from taskgroup_core.training.evaluate import evaluate
from taskgroup_core.training.fit import fit
from taskgroup_core.training.recipe import Recipe
from taskgroup_core.training.stacked import fit_many

MIXED = (Task("two"), Task("three", "multiclass", "accuracy", 3), Task("number", "regression", "r2"))


def mixed_problem() -> Problem:
    generator = torch.Generator().manual_seed(2)
    inputs = torch.randn(240, 5, generator=generator)
    weight = torch.randn(5, 5, generator=generator)
    outputs = inputs @ weight
    labels = torch.stack([(outputs[:, 0] > 0).float(), outputs[:, 1:4].argmax(1).float(), outputs[:, 4]], dim=1)
    rows, tasks = torch.ones(240, 3).nonzero(as_tuple=True)

    def split(part: int) -> Examples:
        keep = rows % 3 == part
        return Examples(rows[keep], tasks[keep], labels[rows[keep], tasks[keep]])

    return Problem("mixed", MIXED, inputs, split(0), split(1), split(2), partial(nn.Linear, 5, 5))


def test_columns_follow_one_another() -> None:
    assert output_columns(MIXED) == (slice(0, 1), slice(1, 4), slice(4, 5))
    problem = mixed_problem()
    assert problem.n_outputs == 5 and problem.columns([2, 1]).tolist() == [4, 1, 2, 3]


def test_losses_of_mixed_kinds_against_torch() -> None:
    generator = torch.Generator().manual_seed(0)
    output = torch.randn(7, 5, generator=generator, dtype=torch.float64)
    label = torch.stack([torch.arange(7) % 2, torch.arange(7) % 3, torch.arange(7)], dim=1).double()
    loss = scores.elementwise_loss(output, label, MIXED)
    binary = nn.functional.binary_cross_entropy_with_logits(output[:, 0], label[:, 0], reduction="none")
    classes = nn.functional.cross_entropy(output[:, 1:4], label[:, 1].long(), reduction="none")
    torch.testing.assert_close(loss, torch.stack([binary, classes, (output[:, 4] - label[:, 2]) ** 2], dim=1))
    # Leading axes, as a stack of networks has them.
    torch.testing.assert_close(scores.elementwise_loss(output[None], label[None], MIXED)[0], loss)


def test_scores_of_classes_against_scikit_learn() -> None:
    generator = torch.Generator().manual_seed(1)
    output, label = torch.randn(50, 4, generator=generator), torch.randint(0, 3, (50,), generator=generator).float()
    predicted = output.argmax(1)
    assert scores.accuracy(output, label) == pytest.approx(metrics.accuracy_score(label, predicted))
    wanted = metrics.f1_score(label, predicted, labels=[0, 1, 2], average="macro")
    assert scores.macro_f1(output, label) == pytest.approx(wanted)


def test_training_learns_mixed_kinds_alone_and_in_a_stack() -> None:
    problem, recipe = mixed_problem(), Recipe(epochs=150, batch_size=80, learning_rate=0.05)
    subsets = [[0, 1, 2], [1], [1, 2]]
    for subset, stacked in zip(subsets, fit_many(problem, subsets, recipe, [0, 0, 0], "cpu"), strict=True):
        fitted = fit(problem, subset, recipe, 0, "cpu")
        found = evaluate(fitted.network, problem, "test", subset, torch.device("cpu"))
        assert (found["score"][subset] > 0.85).all()
        assert np.isnan(found["score"][[task for task in range(3) if task not in subset]]).all()
        for one, other in zip(fitted.network.parameters(), stacked.network.parameters(), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    "arguments",
    [
        ("a", "multiclass", "accuracy"),
        ("a", "multiclass", "f1", 3),
        ("a", "binary", "f1", 2),
        ("a", "regression", "r2", 0),
    ],
)
def test_numbers_of_outputs_that_do_not_fit(arguments: tuple[str, str, str]) -> None:
    with pytest.raises(InputError):
        Task(*arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("label", [3.0, 0.5, -1.0])
def test_labels_that_are_no_class(label: float) -> None:
    rows = torch.arange(6)
    good = Examples(rows, torch.zeros(6, dtype=torch.int64), torch.tensor([0.0, 1, 2, 0, 1, 2]))
    bad = Examples(rows, torch.zeros(6, dtype=torch.int64), torch.tensor([0.0, 1, 2, 0, 1, label]))
    with pytest.raises(InputError, match="other than 0 to 2"):
        Problem("p", (MIXED[1],), torch.randn(6, 2), bad, good, good, partial(nn.Linear, 2, 3))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_score_of_a_regression_task_with_one_value(dtype: torch.dtype) -> None:
    label = torch.ones(4, dtype=dtype)
    for output in (label, label + torch.arange(4, dtype=dtype)):
        assert scores.r2(output, label) == metrics.r2_score(label, output)
    tenths = torch.full((1000,), 0.1, dtype=dtype)  # their mean is not 0.1 in single precision
    assert scores.r2(3 * tenths, tenths) == 0 and scores.r2(tenths, tenths) == 1
    spread = torch.arange(4, dtype=dtype)
    assert scores.r2(label, spread) == pytest.approx(metrics.r2_score(spread, label))
