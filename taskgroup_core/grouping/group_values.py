"""What every set of tasks is worth, by dynamic programming over sets written as bit masks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from taskgroup_core.errors import InputError
from taskgroup_core.matrices import FloatArray

LARGEST = 20  # 2^20 sets: 8 MB for each number kept per set
DIVISORS = ("size", "others")
Masks = NDArray[np.int64]


def check_size(n_tasks: int) -> None:
    """Refuse more tasks than all sets can be listed for.

    Raises
    ------
    InputError : more than 20 tasks.
    """
    if n_tasks > LARGEST:
        raise InputError("affinity", f"{n_tasks} tasks", f"Use at most {LARGEST} tasks here, or SDPGrouper.")


def subset_sums(weights: FloatArray) -> FloatArray:
    """Sum of the weights of the members of every set, indexed by bit mask, with shape (2^n,)."""
    sums = np.zeros(1 << len(weights))
    for task, weight in enumerate(weights):
        sums[1 << task : 2 << task] = sums[: 1 << task] + weight
    return sums


def holding(array: FloatArray, task: int) -> FloatArray:
    """A writable view on the entries of an array over all sets, for the sets that hold one task."""
    return array.reshape(-1, 2, 1 << task)[:, 1]


def members_of(masks: Masks, n_tasks: int) -> NDArray[np.bool_]:
    """Membership matrix of bit masks, with shape (m, n)."""
    members: NDArray[np.bool_] = (masks[:, None] >> np.arange(n_tasks) & 1).astype(bool)
    return members


def group_sums(values: FloatArray) -> FloatArray:
    """Sum of T over all pairs of members of every set, the diagonal counted, with shape (2^n,)."""
    sums = np.zeros(1 << len(values))
    for task in range(len(values)):
        across = subset_sums(values[task, :task] + values[:task, task])
        sums[1 << task : 2 << task] = sums[: 1 << task] + across + values[task, task]
    return sums


def member_sums(values: FloatArray) -> FloatArray:
    """For each target and set: sum of T over the sources in the set, 0 where the set lacks the target; (n, 2^n)."""
    sums = np.zeros((len(values), 1 << len(values)))
    for target, row in enumerate(values):
        holding(sums[target], target)[...] = holding(subset_sums(row), target)
    return sums


def divisors(n_tasks: int, divisor: str) -> FloatArray:
    """What the sums of every set are divided by: |G|, or |G| - 1 ("others"); never below 1; shape (2^n,).

    Raises
    ------
    InputError : another word.
    """
    if divisor not in DIVISORS:
        raise InputError("divisor", repr(divisor), f"Use one of {', '.join(DIVISORS)}.")
    return np.maximum(subset_sums(np.ones(n_tasks)) - (divisor == "others"), 1.0)


def network_sets(n_tasks: int, *, alone: bool) -> NDArray[np.bool_]:
    """Which sets may be a network: those of two tasks and more, and single tasks if these may be alone; (2^n,)."""
    sets = np.arange(1 << n_tasks)
    allowed: NDArray[np.bool_] = (sets & (sets - 1) > 0) | ((sets > 0) & alone)
    return allowed


def row_gains(values: FloatArray, divisor: str) -> FloatArray:
    """For each target and set: the part of the set's value that is in the target's row; 0 outside; (n, 2^n).

    Raises
    ------
    InputError : see `divisors`.
    """
    gains = member_sums(values)
    gains /= divisors(len(values), divisor)
    return gains


def other_gains(values: FloatArray, allowed: NDArray[np.bool_]) -> FloatArray:
    """For each target and set: mean of T over the OTHER members, T[t, t] for a set {t} that is allowed; (n, 2^n).

    Parameters
    ----------
    allowed : which sets may be a network, with shape (2^n,).
    """
    n = len(values)
    gains = row_gains(values - np.diag(np.diag(values)), "others")
    alone = 1 << np.arange(n)
    gains[np.arange(n), alone] = np.where(allowed[alone], np.diag(values), 0.0)
    return gains
