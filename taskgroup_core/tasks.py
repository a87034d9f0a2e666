"""What a task is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from taskgroup_core.errors import InputError

Kind = Literal["binary", "regression"]
METRICS = {"binary": ("f1", "accuracy"), "regression": ("r2",)}


@dataclass(frozen=True)
class Task:
    """One prediction problem.

    Parameters
    ----------
    name : unique within its problem.
    kind : "binary" (labels 0 and 1; the network's output is the logit of 1) or "regression".
    metric : name of the score reported for it, one of `METRICS[kind]` (see `taskgroup_core.scores`); higher is better.

    Raises
    ------
    InputError : unknown kind, or a metric that does not belong to it.
    """

    name: str
    kind: Kind = "binary"
    metric: str = "f1"

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise InputError("kind", repr(self.kind), f"Use one of {', '.join(get_args(Kind))}.")
        if self.metric not in METRICS[self.kind]:
            raise InputError(
                "metric", f"{self.metric!r} for a {self.kind} task", f"Use one of {', '.join(METRICS[self.kind])}."
            )


def check_tasks(tasks: Sequence[Task]) -> tuple[Task, ...]:
    """Return `tasks` as a tuple, after checking that there is at least one and that names are unique.

    Raises
    ------
    InputError : no task, or two tasks of the same name.
    """
    names = [task.name for task in tasks]
    if not names:
        raise InputError("tasks", "an empty sequence", "Give at least one task.")
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InputError("tasks", f"repeated names {repeated}", "Give every task a name of its own.")
    return tuple(tasks)
