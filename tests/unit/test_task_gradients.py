from __future__ import annotations

import pytest
import torch
from torch import nn

from taskgroup_core.affinity.task_gradients import task_gradients
from taskgroup_core.tasks import Task
from taskgroup_core.training.joint import task_losses

TASKS = tuple(Task(f"task {index}") for index in range(3))


class Rectified(nn.Module):
    """One slope that is used twice, with a hook, a slope a channel, and one that is not trained."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.slope, self.slopes = nn.Linear(4, 6), nn.PReLU(init=0.7), nn.PReLU(6)
        self.second, self.fixed = nn.Linear(6, 6), nn.PReLU(init=-0.2)
        self.heads = nn.Linear(6, len(TASKS))
        self.fixed.requires_grad_(False)
        self.slope.register_forward_hook(lambda _module, _inputs, outputs: 2 * outputs)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        hidden = self.slopes(self.second(self.slope(self.first(inputs))))
        outputs: torch.Tensor = self.heads(self.fixed(self.slope(hidden)))
        return outputs


@pytest.mark.parametrize("labelled", [1.0, 0.3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_equal_those_of_one_task_after_the_other(labelled, dtype):
    torch.manual_seed(0)
    network, inputs = Rectified().to(dtype).eval(), torch.randn(40, 4, dtype=dtype)
    labels = (torch.rand(40, len(TASKS)) < 0.5).to(dtype)
    labels[torch.rand(labels.shape) >= labelled] = torch.nan
    names = [name for name, value in network.named_parameters() if value.requires_grad]
    gradients, losses = task_gradients(network, names, TASKS, inputs, labels)
    expected = task_losses(network(inputs).double(), labels, TASKS)
    assert torch.allclose(losses, expected, rtol=1e-6)
    tight = {"rtol": 1e-5, "atol": 1e-6} if dtype == torch.float32 else {"rtol": 1e-10, "atol": 1e-14}
    for task, loss in enumerate(expected):
        alone = torch.autograd.grad(loss, [network.get_parameter(name) for name in names], retain_graph=True)
        for name, gradient in zip(names, alone, strict=True):
            assert gradient.abs().max() > 1e-5
            assert torch.allclose(gradients[name][task], gradient, **tight), name
