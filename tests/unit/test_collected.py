"""Collecting an affinity along a training leaves the training as it is."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from taskgroup_core.affinity import collected
from taskgroup_core.affinity.collected import CollectedAffinity
from taskgroup_core.affinity.gradient_cosine import GradientCosineAffinity
from taskgroup_core.affinity.lookahead import LookaheadAffinity
from taskgroup_core.affinity.transfer_gain import TransferGainAffinity
from taskgroup_core.training.epochs import Fitted
from taskgroup_core.training.joint import joint_training
from taskgroup_core.training.recipe import Recipe
from tests.small import small_problem


def with_a_mode() -> nn.Module:
    """Dropout and batch norm: in evaluation mode it trains otherwise."""
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 4))


@pytest.mark.parametrize(
    "make",
    [
        LookaheadAffinity,
        lambda *given, **options: LookaheadAffinity(*given, step="optimiser", split="val", **options),
        TransferGainAffinity,
        GradientCosineAffinity,
    ],
    ids=["TAG", "TAG, optimiser step, validation batch", "transfer gain", "gradient cosine"],
)
def test_the_weights_and_buffers_are_those_of_a_training_that_nobody_looks_at(
    make: type[CollectedAffinity], monkeypatch: pytest.MonkeyPatch
) -> None:
    problem, recipe = replace(small_problem(), build=with_a_mode), Recipe(epochs=2, batch_size=32)
    alone = joint_training(problem, recipe, 0, "cpu")
    caught: list[Fitted] = []

    def catch(*given: object, **options: object) -> Fitted:
        caught.append(joint_training(*given, **options))
        return caught[-1]

    monkeypatch.setattr(collected, "joint_training", catch)
    estimator = make(recipe, 0, "cpu", every=3)
    estimator.affinity(problem)
    assert estimator.trace_.sizes["step"] > 3 and len(caught) == 1
    assert caught[0].losses == alone.losses
    expected = alone.network.state_dict()
    for name, value in caught[0].network.state_dict().items():
        assert torch.equal(value, expected[name]), name
