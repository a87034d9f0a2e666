"""Examples in long format: one row per (input, task, label); most pairs may be missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from taskgroup_core.errors import InputError
from taskgroup_core.tasks import Task

BLOCK = 4096  # rows whose finiteness is checked at a time: the check copies what it reads
COUNTED = 1 << 20  # rows whose classes are counted at a time, for the same reason


def all_finite(values: Tensor) -> bool:
    """Whether no number of `values` is NaN or infinite; a view of few numbers is not copied as a whole."""
    return all(bool(torch.isfinite(some).all()) for some in values.split(BLOCK))


def check_tensor(name: str, value: object) -> None:
    """Check that an argument is a tensor.

    Raises
    ------
    InputError : anything else, such as a numpy array.
    """
    if not isinstance(value, Tensor):
        raise InputError(name, type(value).__name__, "Give a tensor: torch.as_tensor makes one.")


@dataclass(frozen=True)
class Examples:
    """Rows (input, task, label).

    Parameters
    ----------
    input_index : row of the problem's inputs, int64 with shape (E,).
    task_index : task of the row, int64 with shape (E,).
    label : 0 or 1 for binary tasks, the class for multiclass ones, any number for regression; float32, shape (E,).
        With shape (E, H) for regression tasks whose labels are H numbers; (E, 1) becomes (E,).

    Indices of other integer types become int64, labels that are booleans or integers float32: a table of labels marks
    the missing ones by NaN, which only floats have.

    Raises
    ------
    InputError : no tensors, shapes that do not fit, indices that are no integers or negative, a label that is complex,
        NaN or infinite, or a (input, task) pair twice.
    """

    input_index: Tensor
    task_index: Tensor
    label: Tensor

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            check_tensor(name, value)
        if self.label.ndim == 2 and self.label.shape[1] == 1:
            object.__setattr__(self, "label", self.label[:, 0])
        shapes = [tuple(x.shape) for x in (self.input_index, self.task_index, self.label)]
        if not shapes[0] == shapes[1] == shapes[2][:1] or len(shapes[2]) > 2 or 0 in shapes[2][1:]:
            remedy = "Give three vectors of one length, or as many labels of H numbers each, (E, H)."
            raise InputError("examples", f"shapes {sorted(set(shapes))}", remedy)
        for name in ("input_index", "task_index"):
            index: Tensor = getattr(self, name)
            if index.is_floating_point() or index.is_complex() or index.dtype == torch.bool:
                raise InputError(name, str(index.dtype), "Give integers, such as int64.")
            object.__setattr__(self, name, index.long())
        if self.label.is_complex():
            raise InputError("label", str(self.label.dtype), "Give real numbers.")
        if not self.label.is_floating_point():
            object.__setattr__(self, "label", self.label.to(torch.float32))
        if not all_finite(self.label):
            raise InputError("label", "NaN or infinity", "Leave out rows whose label is missing.")
        if len(self) and (self.input_index.min() < 0 or self.task_index.min() < 0):
            raise InputError("input_index, task_index", "negative indices", "Count inputs and tasks from 0.")
        if len(self):
            self._check_pairs()

    def _check_pairs(self) -> None:
        task, row = self.task_index, self.input_index
        same = task[1:] == task[:-1]
        # Rows in the order of tasks and inputs need no sorting, which matters for the hundred million of a large graph.
        if bool(((task[1:] > task[:-1]) | (same & (row[1:] > row[:-1]))).all()):
            return
        if (row * (int(task.max()) + 1) + task).unique().numel() < len(self):
            raise InputError("examples", "the same (input, task) pair twice", "Keep one label per pair.")

    def __len__(self) -> int:
        return int(self.label.shape[0])

    def of_tasks(self, tasks: Sequence[int]) -> Examples:
        """The rows of some tasks (indices), in their present order."""
        keep = torch.isin(self.task_index, torch.as_tensor(list(tasks), dtype=torch.int64))
        return Examples(self.input_index[keep], self.task_index[keep], self.label[keep])

    def table(self, n_tasks: int) -> tuple[Tensor, Tensor]:
        """The same rows as a table: the u inputs used, shape (u,), and labels, NaN where missing (see `present`).

        Labels have the shape (u, n_tasks), or (u, n_tasks, H) where each is H numbers.
        """
        there = torch.zeros(int(self.input_index.max()) + 1 if len(self) else 0, dtype=torch.bool)
        there[self.input_index] = True
        used, row = there.nonzero()[:, 0], there.cumsum(dim=0) - 1
        labels = torch.full((used.numel(), n_tasks, *self.label.shape[1:]), torch.nan, dtype=self.label.dtype)
        labels[row[self.input_index], self.task_index] = self.label
        return used, labels


def check_examples(examples: Examples, tasks: Sequence[Task], n_inputs: int, split: str) -> None:
    """Check that a split of a problem can be learnt from and scored.

    Raises
    ------
    InputError : an index out of range, a task without examples, a label that does not fit its task's kind or number
        of outputs, or a task with one class only.
    """
    numbers = {task.n_outputs for task in tasks if task.kind == "regression"} - {1}  # none, or one: see check_tasks
    if set(examples.label.shape[1:]) != numbers:
        found = f"shape {tuple(examples.label.shape)}"
        wanted = f"(E, {numbers.pop()})" if numbers else "(E,)"
        raise InputError(f"{split}.label", found, f"Tasks with these n_outputs have labels of shape {wanted}.")
    if len(examples) and int(examples.input_index.max()) >= n_inputs:
        raise InputError(f"{split}.input_index", str(int(examples.input_index.max())), f"There are {n_inputs} inputs.")
    if len(examples) and int(examples.task_index.max()) >= len(tasks):
        raise InputError(f"{split}.task_index", str(int(examples.task_index.max())), f"There are {len(tasks)} tasks.")
    for task, counts in zip(tasks, _class_counts(examples, tasks), strict=True):
        if not counts.any():
            raise InputError(split, f"no example of task {task.name!r}", "Remove the task or label some inputs for it.")
        if task.kind == "regression":
            continue
        classes = max(2, task.n_outputs)
        if counts[classes:].any():
            found = f"labels of {task.name!r} other than " + ("0 and 1" if classes == 2 else f"0 to {classes - 1}")
            raise InputError(f"{split}.label", found, "Recode them.")
        if (counts[:classes] > 0).sum() < 2:
            raise InputError(
                split, f"one class only for task {task.name!r}", "Give examples of two classes, or drop the task."
            )


def _class_counts(examples: Examples, tasks: Sequence[Task]) -> Tensor:
    """How many labels of class 0, 1, ... each task has, int64 with shape (n, K + 1); the last column: of no class."""
    most = max([2, *(task.n_outputs for task in tasks if task.kind != "regression")])
    counts = torch.zeros(len(tasks) * (most + 1), dtype=torch.int64)
    label = examples.label if examples.label.ndim == 1 else examples.label[:, 0]
    for index, some in zip(examples.task_index.split(COUNTED), label.split(COUNTED), strict=True):
        column = some.clamp(0, most).long()
        column[column != some] = most
        counts += (index * (most + 1) + column).bincount(minlength=len(counts))
    return counts.view(len(tasks), most + 1)
