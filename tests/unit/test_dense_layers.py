from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from taskgroup_core.affinity import lookahead
from taskgroup_core.affinity.dense_layers import dense_layers
from taskgroup_core.affinity.lookahead import LookaheadAffinity
from taskgroup_core.examples import Examples
from taskgroup_core.models.sign import Sign
from taskgroup_core.problems.problem import Problem
from taskgroup_core.tasks import Task
from taskgroup_core.training.recipe import Recipe
from taskgroup_core.training.shared_parameters import shared_parameters

TASKS, ROWS = 3, 20


class Pixels(nn.Module):
    """A layer without bias on every place of a row, a mean over places, one more layer and the heads."""

    def __init__(self) -> None:
        super().__init__()
        self.place, self.whole = nn.Linear(80, 300, bias=False), nn.Linear(300, 30)
        self.heads = nn.Linear(30, TASKS)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        hidden = self.whole(torch.tanh(self.place(inputs)).mean(dim=1))
        outputs: torch.Tensor = self.heads(torch.relu_(hidden))
        return outputs


class Odd(nn.Module):
    """Layers whose steps cannot be made on their outputs, and one whose steps can."""

    def __init__(self) -> None:
        super().__init__()
        self.plain, self.twice, self.tied = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)
        self.across, self.penalised, self.idle = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)
        self.other = nn.Linear(8, 8)
        self.other.weight = self.tied.weight
        self.heads = nn.Linear(8, TASKS)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        hidden = self.twice(torch.tanh(self.twice(torch.tanh(self.plain(inputs)))))
        hidden = self.other(torch.tanh(self.tied(torch.tanh(hidden))))
        hidden = self.across(torch.tanh(hidden)[None])[0]
        hidden = self.penalised(torch.tanh(hidden)) + self.penalised.weight.sum()
        outputs: torch.Tensor = self.heads(torch.tanh(hidden))
        return outputs


def problem(build, shape: tuple[int, ...], labelled: float) -> Problem:
    generator = torch.Generator().manual_seed(5)
    inputs = torch.randn(5 * ROWS, *shape, generator=generator, dtype=torch.float64)
    labels = (inputs.flatten(1)[:, :TASKS] > 0).double()

    def examples(share: float) -> Examples:
        rows, tasks = (torch.rand(len(inputs), TASKS, generator=generator) < share).nonzero(as_tuple=True)
        return Examples(rows, tasks, labels[rows, tasks])

    tasks = tuple(Task(f"task {index}") for index in range(TASKS))
    splits = examples(labelled), examples(0.5), examples(0.5)
    return Problem("dense", tasks, inputs, *splits, lambda: build().double())


SIGN = (partial(Sign, 2, 40, 50, TASKS, 0.2), (2, 40))
PIXELS = (Pixels, (3, 80))


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize("labelled", [1.0, 0.3])
@pytest.mark.parametrize("network", [SIGN, PIXELS])
def test_steps_on_outputs_equal_steps_of_the_weights_at_fewer_operations(monkeypatch, network, labelled, split):
    given, recipe = problem(*network, labelled), Recipe(epochs=2, batch_size=ROWS, learning_rate=0.05)
    ours = LookaheadAffinity(recipe, 0, "cpu", every=1, split=split)
    ours.affinity(given)
    monkeypatch.setattr(lookahead, "dense_layers", lambda *_: {})
    formed = LookaheadAffinity(recipe, 0, "cpu", every=1, split=split)
    formed.affinity(given)
    assert np.nanmax(np.abs(formed.trace_.values)) > 1e-3
    np.testing.assert_allclose(ours.trace_.values, formed.trace_.values, rtol=1e-9, atol=1e-12)
    assert ours.flops < formed.flops


def test_which_layers_of_sign_are_dense():
    network = Sign(2, 40, 50, TASKS, 0.2).eval()
    found = dense_layers(network, shared_parameters(network, TASKS), torch.randn(3, 2, 40))
    assert {name: layer.fixed for name, layer in found.items()} == {
        "hops.0.0": True, "hops.0.3": False, "hops.1.0": True, "hops.1.3": False, "heads.0": False
    }  # fmt: skip
    assert found["heads.0"].shape == (50,)
    assert found["heads.0"].parameters == ("heads.0.weight", "heads.0.bias")


def test_what_is_saved_is_counted_by_hand():
    network = Sign(1, 40, 50, TASKS, 0.0).eval()
    found = dense_layers(network, shared_parameters(network, TASKS), torch.randn(3, 1, 40))
    # n = 2 steps from gradients on 3 rows, judged on 4: D^T X and X' W^T, against X' W^T, X' X^T and (X' X^T) D.
    formed = 2 * 2 * (3 * 40 * 50 + 4 * 40 * 50)
    assert found["hops.0.0"].saved_flops(2, 3, 4) == formed - 2 * (4 * 40 * 50 + 2 * (4 * 3 * 40 + 4 * 3 * 50))
    assert found["hops.0.3"].saved_flops(2, 3, 4) == 2 * 2 * (3 * 2500 - 4 * 3 * 100)
    assert found["hops.0.3"].saved_flops(2, 100, 100) < 0


def test_layers_that_are_used_in_other_ways_are_left_out():
    network = Odd().eval()
    names = [name for name, _ in network.named_parameters() if not name.startswith("heads")]
    assert list(dense_layers(network, names, torch.randn(3, 8))) == ["plain"]


def test_without_three_rows_or_without_a_gradient_no_layer_is_dense():
    network = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, TASKS))
    assert list(dense_layers(network, ["0.weight", "0.bias"], torch.randn(3, 8))) == ["0"]
    assert not dense_layers(network, ["0.weight", "0.bias"], torch.randn(2, 8))
    assert not dense_layers(network, ["0.weight"], torch.randn(3, 8))  # its bias is not moved
    nn.init.zeros_(network[2].weight)
    nn.init.zeros_(network[2].bias)
    assert not dense_layers(network, ["0.weight", "0.bias"], torch.randn(3, 8))
