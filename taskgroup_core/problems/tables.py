"""A problem from a table of inputs and one of labels, which may be mostly empty."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from taskgroup_core.errors import InputError
from taskgroup_core.examples import Examples
from taskgroup_core.matrices import FloatArray
from taskgroup_core.models.mlp import perceptron
from taskgroup_core.problems.build_check import tried
from taskgroup_core.problems.problem import Problem
from taskgroup_core.problems.scaling import divisors
from taskgroup_core.seeds import numpy_generator
from taskgroup_core.tasks import Task

Indices = NDArray[np.int64]


def table_problem(
    name: str,
    inputs: NDArray[Any],
    labels: FloatArray | Examples,
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
    labels : with shape (N, n), NaN where missing; or the labels that there are, as `Examples`, where a table would be
        mostly empty.
    tasks : the n tasks.
    width : hidden neurons.
    shares : of the rows, for training and validation; the others are for testing. A row is in one split for all of
        its tasks. Rows are dealt out among those with labels of the same tasks; where that is one task with classes,
        class by class.
    seed : decides the order.

    Raises
    ------
    InputError : tables that do not fit or hold anything but numbers, NaN among the inputs, shares or a width out of
        range, or a split that lacks a task or a class.
    """
    inputs = np.asarray(inputs)
    if inputs.ndim != 2 or not inputs.size or inputs.dtype.kind not in "biuf":
        found = f"{inputs.dtype} with shape {inputs.shape}"
        raise InputError("inputs", found, "Give numbers, a row an input and a column a feature.")
    if len(shares) != 2 or not (min(shares) > 0 and sum(shares) < 1):
        raise InputError("shares", str(shares), "Use two positive shares that sum to less than 1.")
    shape = len(inputs), len(tasks)
    row, task, label = _long(labels, shape)
    regression = np.array([one.kind == "regression" for one in tasks])
    part = _splits(row, task, np.where(regression[task], 0, label), shape, shares, (seed, name))
    if not (part == 0).any():
        raise InputError("train", "no row with a label", "Label more rows, or give training a larger share.")
    scaled = np.empty(inputs.shape, dtype=np.float32)
    for column in range(inputs.shape[1]):  # one at a time, so that no second table is held
        values = inputs[:, column].astype(np.float64)
        own = values[part == 0]
        scaled[:, column] = (values - own.mean()) / divisors(own.mean(), own.std())
    for index in np.flatnonzero(regression):
        mine = task == index
        own = label[mine & (part[row] == 0)]
        label[mine] = (label[mine] - own.mean()) / divisors(own.mean(), own.std())

    def examples(split: int) -> Examples:
        some = part[row] == split
        kept = torch.from_numpy(label[some]).float()
        return Examples(torch.from_numpy(row[some]), torch.from_numpy(task[some]), kept)

    build = tried(partial(perceptron, inputs.shape[1], width, sum(task.n_outputs for task in tasks)))
    splits = (examples(0), examples(1), examples(2))
    return Problem(name, tuple(tasks), torch.from_numpy(scaled), *splits, build)


def _long(labels: FloatArray | Examples, shape: tuple[int, int]) -> tuple[Indices, Indices, FloatArray]:
    """Row, task and a copy of each label that is there, in double precision."""
    if isinstance(labels, Examples):
        row, task, label = (part.numpy() for part in (labels.input_index, labels.task_index, labels.label))
        if label.ndim == 1 and row.max(initial=0) < shape[0] and task.max(initial=0) < shape[1]:
            return row, task, label.astype(np.float64)
        found = f"labels {label.shape} of rows to {row.max(initial=0)} and tasks to {task.max(initial=0)}"
    else:
        labels = np.asarray(labels)
        found = f"{labels.dtype} labels {labels.shape}"
        if labels.shape == shape and labels.dtype.kind in "biuf":
            row, task = np.nonzero(~np.isnan(labels))
            return row, task, labels[row, task].astype(np.float64)
    raise InputError("labels", f"{found} for {shape[0]} inputs and {shape[1]} tasks", "Give one number each at most.")


def _splits(
    row: Indices,
    task: Indices,
    label: FloatArray,
    shape: tuple[int, int],
    shares: tuple[float, float],
    stream: tuple[int, str],
) -> NDArray[np.int8]:
    """Split of each row, with shape (N,): 0 train, 1 val, 2 test, -1 where a row has no label."""
    # What rows have in common that are dealt out together: their tasks, as bits, and the class where there is one task.
    tasks, only = np.zeros((shape[0], -(-shape[1] // 8)), dtype=np.uint8), np.zeros(shape[0], dtype=np.uint16)
    np.bitwise_or.at(tasks, (row, task // 8), (1 << task % 8).astype(np.uint8))
    alone = np.bincount(row, minlength=shape[0])[row] == 1
    only[row[alone]] = label[alone]
    alike = np.column_stack([tasks, only.view(np.uint8).reshape(-1, 2)])
    part = np.full(shape[0], 2, dtype=np.int8)
    order = numpy_generator(stream[0], "table", stream[1]).permutation(shape[0])
    group = np.unique(alike, axis=0, return_inverse=True)[1].reshape(-1)
    for number in range(group.max() + 1):
        rows = order[group[order] == number]
        first, second = (round(share * len(rows)) for share in (shares[0], sum(shares)))
        part[rows[:second]], part[rows[:first]] = 1, 0
    part[np.bincount(row, minlength=shape[0]) == 0] = -1
    return part
