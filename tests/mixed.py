"""Tasks of all kinds on one small network, and GRAD-TAE's Algorithm 1 done slowly for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from taskgroup_core.examples import Examples
from taskgroup_core.problems.problem import Problem
from taskgroup_core.tasks import Task

KINDS = (
    Task("two"),
    Task("three", "multiclass", "accuracy", 3),
    Task("number", "regression", "r2"),
    Task("also two", metric="accuracy"),
)


def perceptron() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 6)).double()


def linear() -> nn.Module:
    return nn.Linear(4, 6).double()


def mixed_tasks(build: Callable[[], nn.Module] = perceptron, tasks: Sequence[Task] = KINDS, n: int = 240) -> Problem:
    """Noisy labels of the four tasks (or of those of them named in `tasks`) for about 4 in 5 inputs, in float64."""
    generator = torch.Generator().manual_seed(5)
    inputs = torch.randn(n, 4, generator=generator, dtype=torch.float64)
    outputs = inputs @ torch.randn(4, 6, generator=generator).double() + torch.randn(n, 6, generator=generator)
    labels = [outputs[:, 0] > 0, outputs[:, 1:4].argmax(dim=1), outputs[:, 4], outputs[:, 5] > 0.2]
    chosen = [labels[KINDS.index(task)].double() for task in tasks]
    present = torch.rand(n, len(tasks), generator=generator) < 0.8

    def split(part: int) -> Examples:
        rows, columns = (present & (torch.arange(n) % 3 == part)[:, None]).nonzero(as_tuple=True)
        return Examples(rows, columns, torch.stack(chosen, dim=1)[rows, columns])

    return Problem("mixed", tuple(tasks), inputs, split(0), split(1), split(2), build)


def slow_rows(problem: Problem, network: nn.Module, task: int, split: str = "train") -> tuple[Tensor, Tensor, Tensor]:
    """Gradients (E, K, p), outputs (E, K) and labels (E,) of one task, one backward pass each."""
    rows = getattr(problem, split).of_tasks([task])
    gradients, outputs = [], []
    for index in rows.input_index.sort().values:
        each = []
        for column in problem.columns([task]):
            network.zero_grad()
            output = network(problem.inputs[index][None])[0, column]
            output.backward()
            each.append(parameters_to_vector([parameter.grad for parameter in network.parameters()]).clone())
            outputs.append(output.detach())
        gradients.append(torch.stack(each))
    features = torch.stack(gradients)
    return features, torch.stack(outputs).view(features.shape[:2]), rows.label[rows.input_index.argsort()]


def loss_of_outputs(task: Task, output: Tensor, label: Tensor) -> Tensor:
    """Summed loss of outputs (E, K), by torch's own functions."""
    if task.kind == "multiclass":
        return nn.functional.cross_entropy(output, label.long(), reduction="sum")
    if task.kind == "regression":
        return (output[:, 0] - label).square().sum()
    return nn.functional.binary_cross_entropy_with_logits(output[:, 0], label, reduction="sum")


def slow_solution(
    problem: Problem,
    network: nn.Module,
    subset: Sequence[int],
    C: float,
    matrix: Tensor,
    loss: Callable[[Task, Tensor, Tensor], Tensor] = loss_of_outputs,
) -> Tensor:
    """The regression's minimiser by scipy, for P = `matrix` with shape (p, d)."""
    parts = [(problem.tasks[task], *slow_rows(problem, network, task)) for task in subset]
    count = sum(len(label) for *_, label in parts)

    def objective(values: np.ndarray) -> tuple[float, np.ndarray]:
        w = torch.tensor(values, requires_grad=True)
        total = sum(loss(task, f + g @ matrix @ w, label) for task, g, f, label in parts)
        total = total / count + w.square().sum() / (2 * C * count)
        return float(total.detach()), torch.autograd.grad(total, w)[0].numpy()

    found = minimize(objective, np.zeros(matrix.shape[1]), jac=True, method="BFGS", options={"gtol": 1e-10})
    return torch.tensor(found.x)


def moved(network: nn.Module, update: Tensor) -> nn.Module:
    """A copy of the network with parameters theta* + update."""
    other = deepcopy(network)
    vector_to_parameters(parameters_to_vector(other.parameters()) + update, other.parameters())
    return other.eval()
