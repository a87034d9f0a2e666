"""Limits on groups, checked and gathered: sizes, budgets and linear constraints on X, for groups alike or not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import LinearConstraint
from scipy.sparse import issparse

from taskgroup_core.errors import InputError
from taskgroup_core.grouping.group_payoffs import Payoff
from taskgroup_core.grouping.group_selection import Limits, Selection
from taskgroup_core.grouping.group_values import holding, subset_sums
from taskgroup_core.grouping.overlapping import check_numbers
from taskgroup_core.matrices import FloatArray

ROUNDING = 1e-9  # relative: costs of 0.1 + 0.2 fit a budget of 0.3


@dataclass(frozen=True)
class Slots:
    """The limits of m groups on n tasks.

    Parameters
    ----------
    sizes : smallest and largest size of each group, with shape (2, m).
    costs, budgets : what each task costs in each group, with shape (n, m), and the most each group may cost, with shape
        (m,); both None where there are no budgets.
    rows, lower, upper : further limits lower <= sum of rows * X <= upper, with shapes (r, n, m), (r,) and (r,).
    """

    sizes: NDArray[np.int64]
    costs: FloatArray | None
    budgets: FloatArray | None
    rows: FloatArray
    lower: FloatArray
    upper: FloatArray

    @property
    def kinds(self) -> list[list[int]]:
        """The groups, gathered by equal limits."""
        kinds: dict[bytes, list[int]] = {}
        for slot in range(self.sizes.shape[1]):
            limits = [self.sizes[:, slot], self.rows[:, :, slot]]
            if self.costs is not None and self.budgets is not None:
                limits += [self.costs[:, slot], self.budgets[slot]]
            kinds.setdefault(b"|".join(np.ascontiguousarray(part).tobytes() for part in limits), []).append(slot)
        return list(kinds.values())

    def in_use(self) -> list[str]:
        """Names of the arguments that limit the groups beyond their number."""
        names = {
            "min_size": (self.sizes[0] > 1).any(),
            "max_size": (self.sizes[1] < self.rows.shape[1]).any(),
            "budgets": self.budgets is not None,
            "constraints": len(self.rows) > 0,
        }
        return [name for name, used in names.items() if used]

    def allowed(self, lifted: str = "") -> NDArray[np.bool_]:
        """Which sets may be a group of each kind, with shape (kinds, 2^n); `lifted` names a limit to leave out."""
        n = self.rows.shape[1]
        size = subset_sums(np.ones(n))
        allowed = np.repeat((size > 0)[None], len(self.kinds), axis=0)
        for row, (slot, *_) in zip(allowed, self.kinds, strict=True):
            row &= (size >= self.sizes[0, slot]) | (lifted == "min_size")
            row &= (size <= self.sizes[1, slot]) | (lifted == "max_size")
            if self.costs is not None and self.budgets is not None and lifted != "budgets":
                slack = ROUNDING * max(float(np.abs(self.costs[:, slot]).sum()), abs(float(self.budgets[slot])))
                row &= subset_sums(self.costs[:, slot]) <= self.budgets[slot] + slack
        return allowed

    def selection(self, payoff: Payoff, lifted: str = "") -> Selection:
        """The choice of exactly m distinct groups within these limits; `lifted` names a limit to leave out."""
        kinds, n = self.kinds, self.rows.shape[1]
        counts = np.array([len(kind) for kind in kinds], dtype=np.float64)
        rows = self.rows[:, :, [kind[0] for kind in kinds]].transpose(0, 2, 1)
        rows, lower, upper = (part[: 0 if lifted == "constraints" else None] for part in (rows, self.lower, self.upper))
        limits = Limits(
            weight=np.concatenate([np.zeros((len(kinds), len(kinds), n)), rows]),
            constant=np.concatenate([np.eye(len(kinds)), np.zeros((len(rows), len(kinds)))]),
            lower=np.concatenate([counts, lower]),
            upper=np.concatenate([counts, upper]),
        )
        caps = tuple(len(kind) for kind in kinds)
        return Selection(payoff, self.allowed(lifted), limits, caps, distinct=len(kinds) > 1)

    def impossible(self) -> str | None:
        """A sentence on a group or a task that no set suits, where there is one."""
        allowed = self.allowed()
        limits = f" under {', '.join(self.in_use())}" if self.in_use() else ""
        for row, kind in zip(allowed, self.kinds, strict=True):
            if row.sum() < len(kind):
                return f"{len(kind)} distinct groups asked for where {row.sum()} sets suit group {kind[0]}{limits}"
        for task in range(self.rows.shape[1]):
            if not any(holding(row, task).any() for row in allowed):
                return f"no group for task {task}{limits}"
        return None


def check_slots(
    n_tasks: int,
    n_groups: int,
    min_size: Any,
    max_size: Any,
    costs: Any,
    budgets: Any,
    constraints: LinearConstraint | Sequence[LinearConstraint],
) -> Slots:
    """Check limits as `ProgrammingGrouper` takes them.

    Raises
    ------
    InputError : limits with the wrong type, shape or range.
    """
    sizes = np.stack(
        [
            _sizes("min_size", min_size, n_groups),
            _sizes("max_size", n_tasks if max_size is None else max_size, n_groups),
        ]
    )
    if (sizes[0] > n_tasks).any():
        raise InputError("min_size", repr(min_size), f"There are {n_tasks} tasks only.")
    if (sizes[0] > sizes[1]).any():
        raise InputError("max_size", repr(max_size), "Use at least min_size.")
    if (costs is None) != (budgets is None):
        missing, other = ("costs", "budgets") if costs is None else ("budgets", "costs")
        raise InputError(missing, "None", f"Give {other} and {missing} together.")
    if costs is not None:
        costs = np.asarray(costs)
        costs = check_numbers("costs", costs[:, None] if costs.ndim == 1 else costs, (n_tasks, n_groups))
        budgets = check_numbers("budgets", budgets, (n_groups,))
    listed = list(constraints) if isinstance(constraints, Iterable) else [constraints]
    parts = [_rows(constraint, n_tasks, n_groups) for constraint in listed]
    parts.append((np.zeros((0, n_tasks, n_groups)), np.zeros(0), np.zeros(0)))
    rows, lower, upper = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Slots(np.minimum(sizes, n_tasks), costs, budgets, rows, lower, upper)


def _sizes(name: str, value: Any, n_groups: int) -> NDArray[np.int64]:
    array = check_numbers(name, value, (n_groups,))
    if (array < 1).any() or (array != np.floor(array)).any() or np.asarray(value).dtype.kind not in "iu":
        raise InputError(name, repr(value), "Use integers of at least 1.")
    return array.astype(np.int64)


def _rows(constraint: Any, n_tasks: int, n_groups: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Coefficients with shape (r, n, m) and limits of one constraint, each row scaled to a largest coefficient of 1."""
    if not isinstance(constraint, LinearConstraint):
        raise InputError("constraints", type(constraint).__name__, "Use scipy.optimize.LinearConstraint.")
    matrix = np.atleast_2d(constraint.A.toarray() if issparse(constraint.A) else np.asarray(constraint.A, dtype=float))
    if matrix.ndim != 2 or matrix.shape[1] != n_tasks * n_groups:
        raise InputError("constraints", f"shape {matrix.shape}", f"Give n * m = {n_tasks * n_groups} columns.")
    try:
        lower, upper = (np.broadcast_to(side, len(matrix)).astype(float) for side in (constraint.lb, constraint.ub))
    except ValueError as error:
        raise InputError("constraints", "lb or ub that do not fit A", "Give a limit for each row of A.") from error
    if not np.isfinite(matrix).all() or np.isnan([lower, upper]).any() or (lower > upper).any():
        raise InputError("constraints", "NaN, an infinite coefficient, or lb above ub", "Give lb <= ub and finite A.")
    scale = np.abs(matrix).max(axis=1, initial=0.0)
    scale[scale == 0] = 1.0
    return (matrix / scale[:, None]).reshape(-1, n_tasks, n_groups), lower / scale, upper / scale
