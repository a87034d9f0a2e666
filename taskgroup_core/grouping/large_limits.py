"""Whether any choice of groups meets the limits, where the sets are too many to list."""

from __future__ import annotations

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array, eye_array, kron

from taskgroup_core.grouping.group_limits import Slots
from taskgroup_core.grouping.group_selection import NoSolutionError
from taskgroup_core.grouping.large_problem import Members, budget_of
from taskgroup_core.matrices import FloatArray

NEAR = 0.01  # a wish need not be met to the last digit: moves follow
REPAIRS = 200  # programmes solved to make equal groups differ


def impossible(slots: Slots) -> str | None:
    """A sentence on a group or a task that no set suits, where there is one; as `Slots.impossible` puts it."""
    limits = f" under {', '.join(slots.in_use())}" if slots.in_use() else ""
    for kind in slots.kinds:
        count = _count(slots, kind[0], len(kind))
        if count < len(kind):
            return f"{len(kind)} distinct groups asked for where {count} sets suit group {kind[0]}{limits}"
    for task in range(slots.rows.shape[1]):
        if not any(_suits(slots, kind[0], task) for kind in slots.kinds):
            return f"no group for task {task}{limits}"
    return None


def _costs(slots: Slots, slot: int) -> FloatArray:
    return np.zeros(slots.rows.shape[1]) if slots.costs is None else slots.costs[:, slot]


def _suits(slots: Slots, slot: int, task: int) -> bool:
    """Whether a set that holds a task can be a group: with the cheapest others, at any size."""
    costs, (low, high) = _costs(slots, slot), slots.sizes[:, slot]
    others = np.concatenate([[0.0], np.sort(np.delete(costs, task)).cumsum()])
    return bool(costs[task] + others[low - 1 : high].min() <= budget_of(slots, slot))


def _count(slots: Slots, slot: int, most: int) -> int:
    """How many sets can be a group, counted up to `most`: every branch that is followed ends in one."""
    costs, (low, high) = np.sort(_costs(slots, slot)), slots.sizes[:, slot]
    budget, n, found = budget_of(slots, slot), len(costs), 0
    sums = np.concatenate([[0.0], costs.cumsum()])
    for size in range(int(low), int(high) + 1):
        branches = [(0, size, 0.0)]  # next task, tasks still to take, cost so far
        while branches and found < most:
            task, left, cost = branches.pop()
            if left == 0:
                found += 1
            elif task + left <= n and cost + sums[task + left] - sums[task] <= budget:
                branches += [(task + 1, left, cost), (task + 1, left - 1, cost + costs[task])]
    return found


def membership(
    slots: Slots, wish: FloatArray, *, disjoint: bool, lifted: str = "", time_limit: float | None = None
) -> Members | None:
    """The m groups within the limits with the highest sum of `wish` over memberships; None where none meet them.

    Parameters
    ----------
    slots : limits.
    wish : with shape (n, m).
    disjoint : whether a task must be in exactly one group; otherwise groups must be distinct.
    lifted : a limit to leave out.
    time_limit : in seconds.

    Returns
    -------
    The groups, with shape (m, n).

    Raises
    ------
    NoSolutionError : none was found in time, or none with distinct groups after many attempts.
    """
    n, m = wish.shape
    low = np.ones(m) if lifted == "min_size" else slots.sizes[0]
    high = np.full(m, n) if lifted == "max_size" else slots.sizes[1]
    limits = [
        LinearConstraint(csr_array(kron(np.ones((1, n)), eye_array(m))), low, high),
        LinearConstraint(csr_array(kron(eye_array(n), np.ones((1, m)))), 1, 1 if disjoint else np.inf),
    ]
    if slots.costs is not None and lifted != "budgets":
        rows = np.zeros((m, n, m))
        rows[np.arange(m), :, np.arange(m)] = slots.costs.T
        budgets = [budget_of(slots, slot) for slot in range(m)]
        limits.append(LinearConstraint(csr_array(rows.reshape(m, -1)), -np.inf, budgets))
    if len(slots.rows) and lifted != "constraints":
        limits.append(LinearConstraint(csr_array(slots.rows.reshape(-1, n * m)), slots.lower, slots.upper))
    options = {"mip_rel_gap": NEAR} if time_limit is None else {"mip_rel_gap": NEAR, "time_limit": time_limit}
    whole, cost = np.ones(n * m), -wish.ravel()
    for _ in range(REPAIRS):
        result = milp(cost, integrality=whole, bounds=Bounds(0, 1), constraints=limits, options=options)
        if result.status == 2:
            return None
        if result.x is None:
            raise NoSolutionError("The time limit came before any grouping was found. Allow more time.")
        groups: Members = result.x.reshape(n, m).T > 0.5
        same = [(a, b) for a in range(m) for b in range(a) if (groups[a] == groups[b]).all()]
        if not same:
            return groups
        rows = np.zeros((len(same), n, m))
        for row, (a, b) in zip(rows, same, strict=True):  # at least one of the 2 n memberships is another one
            row[:, [a, b]] = np.where(groups[a], -1.0, 1.0)[:, None]
        limits.append(LinearConstraint(rows.reshape(len(same), -1), [1 - 2 * groups[a].sum() for a, _ in same], np.inf))
    raise NoSolutionError("No distinct groups were found within the limits. Loosen a limit.")
