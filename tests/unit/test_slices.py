from dataclasses import replace

import pytest
import torch
from torch import nn
from tqdm import tqdm

from taskgroup_core.affinity.grad_tae import meta_initialisations
from taskgroup_core.runs.checkpoint import Checkpoint, Deadline
from taskgroup_core.runs.slices import Slices
from taskgroup_core.seeds import derive
from taskgroup_core.training.evaluate import evaluate
from taskgroup_core.training.recipe import Recipe
from tests.small import small_problem

CPU = torch.device("cpu")
RECIPE = Recipe(epochs=3, batch_size=64)


class Normalised(nn.Module):
    """With a head named by a task, and a slash in the task's name."""

    def __init__(self):
        super().__init__()
        self.enter, self.norm = nn.Linear(6, 8), nn.BatchNorm1d(8)
        self.heads = nn.ModuleDict({"good/bad": nn.Linear(8, 4)})

    def forward(self, x):
        return self.heads["good/bad"](torch.relu(self.norm(self.enter(x))))


@pytest.mark.parametrize("from_disk", [False, True])
def test_a_stored_meta_initialisation_keeps_its_running_statistics(tmp_path, from_disk):
    problem = replace(small_problem(), build=Normalised)

    def slices(deadline=None):
        checkpoint = Checkpoint(tmp_path, "key")
        return Slices(problem, RECIPE, 5, CPU, checkpoint, deadline, tqdm(disable=True))

    found, flops = slices().meta(2)
    if from_disk:
        found, flops = slices(Deadline(0)).meta(2)
    (network,), (expected,) = meta_initialisations(problem, RECIPE, 1, derive(5, "meta", 2), CPU)
    assert flops == expected and not found.training
    assert found.norm.running_mean.abs().max() > 0.01 and found.norm.num_batches_tracked > 0
    state = network.state_dict()
    assert found.state_dict().keys() == state.keys()
    assert all(torch.equal(value, state[name]) for name, value in found.state_dict().items())
    scores = [evaluate(one, problem, "val", range(4), CPU)["negative_loss"].tolist() for one in (found, network)]
    assert scores[0] == scores[1]
