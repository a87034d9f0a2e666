"""A problem from two tables: inputs and labels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch

from taskgroup_core.errors import InputError
from taskgroup_core.examples import Examples
from taskgroup_core.matrices import FloatArray
from taskgroup_core.models.mlp import perceptron
from taskgroup_core.problems.problem import Problem
from taskgroup_core.seeds import numpy_generator
from taskgroup_core.tasks import Task


def table_problem(
    name: str,
    inputs: FloatArray,
    labels: FloatArray,
    tasks: Sequence[Task],
    *,
    width: int = 16,
    shares: tuple[float, float] = (0.4, 0.2),
    seed: int = 0,
) -> Problem:
    """A problem from a table of inputs and a table of labels, for a perceptron with one shared hidden layer.

    Inputs are scaled to mean 0 and standard deviation 1 over the rows with a training label, regression labels by
    their task's training labels, so that scores in their units need the spread (`Problem` keeps the scaled ones).

    Parameters
    ----------
    name : of the problem.
    inputs : with shape (N, features).
    labels : with shape (N, n), NaN where missing.
    tasks : the n tasks.
    width : hidden neurons.
    shares : of the rows, for training and validation; the others are for testing. A row is in one split for all of
        its tasks. Rows are dealt out among those with labels of the same tasks; where that is one task with classes,
        class by class.
    seed : decides the order.

    Raises
    ------
    InputError : tables that do not fit, NaN among the inputs, shares out of range, or a split that lacks a task or
        a class.
    """
    if inputs.ndim != 2 or not len(inputs) or labels.shape != (len(inputs), len(tasks)):
        found = f"inputs {inputs.shape}, labels {labels.shape} for {len(tasks)} tasks"
        raise InputError("inputs, labels", found, "Give a row an input and a column a task.")
    if min(shares) <= 0 or sum(shares) >= 1:
        raise InputError("shares", str(shares), "Use two positive shares that sum to less than 1.")
    known = ~np.isnan(labels)
    # What rows have in common that are dealt out together: their tasks, and the class where there is one.
    alike = known.astype(float)
    for index, task in enumerate(tasks):
        if task.kind != "regression":
            alone = known[:, index] & (known.sum(axis=1) == 1)
            alike[alone, index] += labels[alone, index]
    part = np.empty(len(inputs), dtype=np.int8)
    order = numpy_generator(seed, "table", name).permutation(len(inputs))
    group = np.unique(alike, axis=0, return_inverse=True)[1].reshape(-1)
    for number in range(group.max() + 1):
        rows = order[group[order] == number]
        first, second = (round(share * len(rows)) for share in (shares[0], sum(shares)))
        part[rows] = 2
        part[rows[:second]], part[rows[:first]] = 1, 0
    trained = inputs[part == 0]
    spread = trained.std(axis=0)
    scaled = (inputs - trained.mean(axis=0)) / np.where(spread > 0, spread, 1)
    labels = labels.copy()
    for index, task in enumerate(tasks):
        if task.kind == "regression":
            own = labels[(part == 0) & known[:, index], index]
            labels[:, index] = (labels[:, index] - own.mean()) / (own.std() or 1)

    def examples(split: int) -> Examples:
        row, task = np.nonzero(known & (part == split)[:, None])
        return Examples(torch.from_numpy(row), torch.from_numpy(task), torch.from_numpy(labels[row, task]).float())

    build = partial(perceptron, inputs.shape[1], width, sum(task.n_outputs for task in tasks))
    splits = (examples(0), examples(1), examples(2))
    return Problem(name, tuple(tasks), torch.from_numpy(scaled).float(), *splits, build)
