"""Problems on which affinity estimators have closed forms, and slow references of one training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy

import numpy as np
import torch
from torch import Tensor, nn

from taskgroup_core.examples import Examples
from taskgroup_core.problems.planted import planted_problem
from taskgroup_core.problems.problem import Problem
from taskgroup_core.tasks import Task
from taskgroup_core.training.recipe import Recipe


class Offsets(nn.Module):
    """Output t is x'w + c_t: the tasks share w and have one number each, so that all losses are quadratics."""

    def __init__(self, weight: Sequence[float], offsets: Sequence[float]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight, dtype=torch.float64))
        self.offset = nn.Parameter(torch.tensor(offsets, dtype=torch.float64))

    def forward(self, inputs: Tensor) -> Tensor:
        return (inputs @ self.weight)[:, None] + self.offset


def shared_weight(name: str) -> bool:
    return name == "weight"


def quadratic_problem(inputs: Tensor, labels: Tensor, network: Callable[[], nn.Module]) -> Problem:
    """Regression tasks from a table of labels with NaN where missing; all splits are the same."""
    rows, tasks = (~labels.isnan()).nonzero(as_tuple=True)
    examples = Examples(rows, tasks, labels[rows, tasks])
    names = tuple(Task(f"t{index}", "regression", "r2") for index in range(labels.shape[1]))
    return Problem("quadratic", names, inputs, examples, examples, examples, network)


def random_quadratics() -> tuple[Problem, Tensor, Tensor, Offsets]:
    """Three regression tasks with all labels on 20 inputs, and what they are made of."""
    generator = torch.Generator().manual_seed(3)
    inputs = torch.randn(20, 4, generator=generator, dtype=torch.float64)
    labels = torch.randn(20, 3, generator=generator, dtype=torch.float64) + inputs[:, :3]
    network = Offsets([0.3, -0.2, 0.1, 0.5], [0.1, 0.0, -0.2])
    return quadratic_problem(inputs, labels, lambda: deepcopy(network)), inputs, labels, network


def perceptron_problem(dtype: torch.dtype = torch.float64) -> Problem:
    """Four binary tasks, each with inputs of its own, on a perceptron of one hidden layer without dropout."""
    base = planted_problem(2, tasks_per_family=2, n_examples=150, n_features=5, width=6, conflict=0.5)
    splits = (base.train, base.val, base.test)
    return Problem(base.name, base.tasks, base.inputs.to(dtype), *splits, lambda: base.build().to(dtype))


def relabelled(problem: Problem, order: Sequence[int]) -> Problem:
    """The same problem with its tasks, and the rows of its network's last layer, in another order."""
    place = torch.tensor(np.argsort(order))

    def moved(examples: Examples) -> Examples:
        return Examples(examples.input_index, place[examples.task_index], examples.label)

    def build() -> nn.Module:
        network = problem.build()
        with torch.no_grad():
            for value in list(network.parameters())[-2:]:
                value.copy_(value[list(order)].clone())
        return network

    tasks = tuple(problem.tasks[index] for index in order)
    splits = (moved(getattr(problem, split)) for split in ("train", "val", "test"))
    return Problem("relabelled", tasks, problem.inputs, *splits, build)


def loss_of(network: nn.Module, problem: Problem, task: int, split: str = "train") -> Tensor:
    """The mean loss of one task over all examples of a split."""
    rows = getattr(problem, split).of_tasks([task])
    output = network(problem.inputs[rows.input_index])[:, task]
    label = rows.label.to(output)
    if problem.tasks[task].kind == "regression":
        return (output - label).square().mean()
    return nn.functional.binary_cross_entropy_with_logits(output, label)


def along_training(
    problem: Problem,
    recipe: Recipe,
    measure: Callable[[nn.Module, torch.optim.Optimizer], np.ndarray],
) -> np.ndarray:
    """`measure` before every step of full-batch training on the sum of the losses, by plain loops: (steps, n, n)."""
    network = problem.network(0)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}[recipe.optimiser]
    given = {"momentum": recipe.momentum} if recipe.optimiser == "sgd" else {}
    optimiser = kind(network.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay, **given)
    matrices = []
    for epoch in range(recipe.epochs):
        optimiser.param_groups[0]["lr"] = recipe.learning_rate * recipe.rate_factor(epoch)
        matrices.append(measure(network, optimiser))
        optimiser.zero_grad()
        sum(loss_of(network, problem, task) for task in range(problem.n_tasks)).backward()
        optimiser.step()
    return np.stack(matrices)


def after_step(
    network: nn.Module,
    optimiser: torch.optim.Optimizer | None,
    rate: float,
    losses: Callable[[nn.Module], Tensor],
    fixed: Sequence[str] = (),
) -> nn.Module:
    """A copy of the network after one step on a loss, by the optimiser (a copy of it) or plain gradient descent."""
    moved, mover = deepcopy((network, optimiser))
    if mover is None:
        mover = torch.optim.SGD(moved.parameters(), rate)
    mover.zero_grad()
    losses(moved).backward()
    for name, value in moved.named_parameters():
        if name in fixed:
            value.grad = None
    mover.step()
    return moved
