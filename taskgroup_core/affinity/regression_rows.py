"""What can be changed in the rows that GRAD-TAE's regressions read: other readings of the paper, and its code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from taskgroup_core.affinity.task_rows import TaskRows
from taskgroup_core.subsets import Subsets

INTERCEPT = 1000.0  # the constant feature: an intercept b is penalised like a coefficient of b / 1000


def prepared(rows: TaskRows, *, offset: bool, classes: str, intercept: bool) -> TaskRows:
    """The rows of one task as `GradTAE` is told to read them: see its parameters of these names."""
    if not offset:
        rows = replace(rows, offset=torch.zeros_like(rows.offset))
    if classes == "one against the rest" and rows.kind == "multiclass":
        rows = one_against_the_rest(rows)
    return with_intercept(rows) if intercept else rows


def one_against_the_rest(rows: TaskRows) -> TaskRows:
    """A task of K classes as K yes-or-no questions an example.

    Parameters
    ----------
    rows : gradients with shape (E, K, d); becomes (E K, 1, d) with labels 0 and 1.
    """
    classes = torch.arange(rows.offset.shape[1], device=rows.label.device)
    return TaskRows(
        "binary",
        rows.features.flatten(0, 1)[:, None],
        rows.offset.reshape(-1, 1),
        (rows.label[:, None] == classes).double().flatten(),
    )


def with_intercept(rows: TaskRows) -> TaskRows:
    """The rows with one more feature, a large constant, whose coefficient the penalty hardly sees."""
    constant = rows.features.new_full((*rows.features.shape[:2], 1), INTERCEPT)
    return replace(rows, features=torch.cat([rows.features, constant], dim=2))


def first_share(rows: Sequence[TaskRows], member: Subsets, share: float) -> tuple[list[TaskRows], Subsets]:
    """Keep of every subset the first `share` of its rows (one at least), its tasks one after the other.

    Parameters
    ----------
    rows : of n tasks.
    member : subsets with shape (m, n); their tasks come in the order of the problem.
    share : in (0, 1], rounded down.

    Returns
    -------
    The n tasks and, for each task that some cut goes through, what is left of it as one task more; and the subsets
    as a matrix over both.
    """
    sizes = np.array([len(task.label) for task in rows])
    left: dict[tuple[int, int], None] = {}
    plan: list[list[tuple[int, int]]] = []
    for subset in member:
        room, kept = max(1, int(share * sizes[subset].sum())), []
        for task in np.flatnonzero(subset).tolist():
            kept.append((task, min(room, int(sizes[task]))))
            room -= kept[-1][1]
        plan.append([part for part in kept if part[1]])
        left.update(dict.fromkeys(part for part in plan[-1] if part[1] < sizes[part[0]]))
    whole = [(task, int(size)) for task, size in enumerate(sizes)]
    place = {part: index for index, part in enumerate([*whole, *left])}
    cut = np.zeros((len(member), len(place)), dtype=bool)
    for row, parts in zip(cut, plan, strict=True):
        row[[place[part] for part in parts]] = True
    return [*rows, *(_first(rows[task], size) for task, size in left)], cut


def _first(rows: TaskRows, size: int) -> TaskRows:
    return TaskRows(rows.kind, rows.features[:size], rows.offset[:size], rows.label[:size])
