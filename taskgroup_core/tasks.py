"""What a task is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import inf
from typing import Literal, get_args

from taskgroup_core.checks import is_whole
from taskgroup_core.errors import InputError

Kind = Literal["binary", "multiclass", "regression"]
METRICS = {"binary": ("f1", "accuracy"), "multiclass": ("accuracy", "macro_f1"), "regression": ("r2", "negative_mae")}


@dataclass(frozen=True)
class Task:
    """One prediction problem.

    Parameters
    ----------
    name : unique within its problem.
    kind : "binary" (labels 0 and 1; the network's output is the logit of 1), "multiclass" (labels 0 to K - 1; K
        outputs, the logits of the classes) or "regression".
    metric : name of the score reported for it, one of `METRICS[kind]` (see `taskgroup_core.scores`); higher is better.
    n_outputs : columns of the network's output that are the task's: the number of classes K, 1 for binary tasks, and
        for regression the numbers H of one label: 1, or the length of a forecast.

    Raises
    ------
    InputError : unknown kind, a metric that does not belong to it, or a number of outputs that does not fit it.
    """

    name: str
    kind: Kind = "binary"
    metric: str = "f1"
    n_outputs: int = 1

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise InputError("kind", repr(self.kind), f"Use one of {', '.join(get_args(Kind))}.")
        if self.metric not in METRICS[self.kind]:
            raise InputError(
                "metric", f"{self.metric!r} for a {self.kind} task", f"Use one of {', '.join(METRICS[self.kind])}."
            )
        least, most, remedy = {
            "binary": (1, 1, "Leave it at 1."),
            "multiclass": (2, inf, "Give the number of classes, 2 or more."),
            "regression": (1, inf, "Give how many numbers a label has, 1 or more."),
        }[self.kind]
        if not is_whole(self.n_outputs) or not least <= self.n_outputs <= most:
            raise InputError("n_outputs", f"{self.n_outputs!r} for a {self.kind} task", remedy)


def check_tasks(tasks: Sequence[Task]) -> tuple[Task, ...]:
    """Return `tasks` as a tuple, after checking that they can be the tasks of one problem.

    Raises
    ------
    InputError : no task, two tasks of the same name, or labels of several numbers beside others: where one regression
        task has H > 1 numbers a label, all tasks are regression tasks with H.
    """
    names = [task.name for task in tasks]
    if not names:
        raise InputError("tasks", "an empty sequence", "Give at least one task.")
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InputError("tasks", f"repeated names {repeated}", "Give every task a name of its own.")
    shapes = {(task.kind, task.n_outputs) for task in tasks}
    if len(shapes) > 1 and any(kind == "regression" and numbers > 1 for kind, numbers in shapes):
        found = "labels of several numbers beside " + " and ".join(f"{kind} ({k})" for kind, k in sorted(shapes))
        raise InputError("tasks", found, "Give all tasks labels of the same numbers, or make two problems of them.")
    return tuple(tasks)


def output_columns(tasks: Sequence[Task]) -> tuple[slice, ...]:
    """Which columns of a network's output belong to each of `tasks`: consecutive ones, in the order of the tasks."""
    stops = list(accumulate(task.n_outputs for task in tasks))
    return tuple(slice(stop - task.n_outputs, stop) for task, stop in zip(tasks, stops, strict=True))
