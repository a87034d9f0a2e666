"""Small problems that many tests share."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn

from taskgroup_core.examples import Examples
from taskgroup_core.models.sign import Sign
from taskgroup_core.problems.problem import Problem
from taskgroup_core.tasks import Task


def small_problem(network: str = "linear", n_tasks: int = 4, n_inputs: int = 300, n_features: int = 6) -> Problem:
    """Binary tasks in two families on Gaussian inputs; "linear" has no bias, "sign" has two hops."""
    generator = torch.Generator().manual_seed(7)
    shape = (n_inputs, n_features) if network == "linear" else (n_inputs, 2, n_features)
    inputs = torch.randn(shape, generator=generator)
    families = torch.randn(2, n_features, generator=generator)
    weights = torch.stack(
        [families[t % 2] + 0.5 * torch.randn(n_features, generator=generator) for t in range(n_tasks)]
    )
    flat = inputs if network == "linear" else inputs.mean(dim=1)
    labels = (flat @ weights.T + 2.5 * torch.randn(n_inputs, n_tasks, generator=generator) > 0.3).float()
    split = torch.rand(n_inputs, n_tasks, generator=generator)

    def between(low: float, high: float) -> Examples:
        rows, tasks = ((split >= low) & (split < high)).nonzero(as_tuple=True)
        return Examples(rows, tasks, labels[rows, tasks])

    build = partial(nn.Linear, n_features, n_tasks, bias=False)
    if network == "sign":
        build = partial(Sign, 2, n_features, 8, n_tasks, 0.1)
    tasks = tuple(Task(f"task {index}") for index in range(n_tasks))
    return Problem("small", tasks, inputs, between(0, 0.3), between(0.3, 0.6), between(0.6, 1), build)
