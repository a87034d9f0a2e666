"""Many inputs are scored in parts, and give what they give at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from taskgroup_core.affinity.grad_tae import GradTAE, meta_initialisations
from taskgroup_core.problems.planted import planted_problem
from taskgroup_core.subsets import pairs
from taskgroup_core.training import row_parts
from taskgroup_core.training.evaluate import evaluate
from taskgroup_core.training.fit import fit
from taskgroup_core.training.joint import joint_training
from taskgroup_core.training.recipe import Recipe
from taskgroup_core.training.row_parts import in_parts
from taskgroup_core.training.stacked import fit_many

KEEP_BEST = Recipe(epochs=3, batch_size=20, keep="best")


@pytest.fixture(scope="module")
def problem():
    return planted_problem(2, tasks_per_family=2, n_examples=200, n_features=6)


def test_few_inputs_stay_together_and_many_come_in_whole_rows(monkeypatch):
    seen = []

    def outputs(rows):
        seen.append(len(rows))
        return rows.sum(dim=1, keepdim=True)

    inputs = torch.arange(30.0).reshape(10, 3)
    assert torch.equal(in_parts(outputs, inputs), inputs.sum(dim=1, keepdim=True)) and seen == [10]
    monkeypatch.setattr(row_parts, "NUMBERS", 13)
    assert torch.equal(in_parts(outputs, inputs), inputs.sum(dim=1, keepdim=True)) and seen[1:] == [4, 4, 2]
    monkeypatch.setattr(row_parts, "NUMBERS", 1)  # a row is never cut
    assert len(in_parts(outputs, inputs)) == 10 and seen[4:] == [1] * 10
    assert in_parts(outputs, inputs[:0]).shape == (0, 1)


@pytest.mark.parametrize("what", ["evaluate", "fit", "fit_many", "joint", "network", "linear", "quadratic"])
def test_parts_do_not_change_what_is_computed(problem, monkeypatch, what):
    def computed():
        if what == "evaluate":
            network = problem.network(0).eval()
            return evaluate(network, problem, "test", [0, 2], torch.device("cpu"))["negative_loss"]
        if what == "fit":
            return fit(problem, [0, 1], KEEP_BEST, 0, "cpu").validation_losses
        if what == "fit_many":
            runs = fit_many(problem, [[0, 1], [2], [1, 3]], KEEP_BEST, [0, 1, 2], "cpu")
            return [run.validation_losses for run in runs]
        if what == "joint":
            return joint_training(problem, KEEP_BEST, 0, "cpu").validation_losses
        meta, _ = meta_initialisations(problem, KEEP_BEST, 1, 0, torch.device("cpu"))
        return GradTAE(problem, meta, dimension=5, evaluation=what, device="cpu").scores(pairs(4))["negative_loss"]

    whole = np.array(computed(), dtype=float)
    calls = []
    split = torch.Tensor.split
    monkeypatch.setattr(row_parts, "NUMBERS", 60)
    monkeypatch.setattr(torch.Tensor, "split", lambda rows, size, *more: calls.append(size) or split(rows, size, *more))
    parts = np.array(computed(), dtype=float)
    assert np.allclose(whole, parts, rtol=1e-5, equal_nan=True) and np.isfinite(whole).any()
    assert what == "linear" or 10 in calls  # ten rows of six features
