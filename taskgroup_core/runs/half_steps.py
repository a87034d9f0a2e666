"""The best networks of full and of half size within a budget, by looking at every choice: HOA's setting."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from taskgroup_core.errors import InputError
from taskgroup_core.matrices import FloatArray


def best_within_budget(
    losses: ArrayLike, small: ArrayLike, budget: float
) -> tuple[float, NDArray[np.int64], NDArray[np.int64]]:
    """The lowest sum over tasks of the loss that each is served with.

    Networks of full size cost 1, those of half size 0.5 and hold one task. With the former given, the best of the
    latter are those that lower a loss most: only the choices of the former are listed.

    Parameters
    ----------
    losses : of m networks of full size, with shape (m, n); NaN where a network does not train a task.
    small : of a half-size network of each task, with shape (n,).
    budget : a positive multiple of 0.5.

    Returns
    -------
    The sum (infinite where a task stays without a network), the full networks (rows of `losses`), and the tasks with a
    small one.

    Raises
    ------
    InputError : a budget that is no positive multiple of 0.5, or shapes that do not fit.

    References
    ----------
    Standley et al., Which Tasks Should Be Learned Together in Multi-task Learning?, 2020.
    """
    if not budget > 0 or budget * 2 != int(budget * 2):
        raise InputError("budget", repr(budget), "Use a positive multiple of 0.5.")
    table, alone = np.asarray(losses, dtype=np.float64), np.asarray(small, dtype=np.float64)
    if table.ndim != 2 or alone.shape != table.shape[1:]:
        raise InputError("small", f"shape {alone.shape}", f"Give one loss for each column of losses, {table.shape}.")
    table = np.where(np.isnan(table), np.inf, table)
    best: tuple[float, NDArray[np.int64], NDArray[np.int64]] | None = None
    for count in range(min(int(budget), len(table)) + 1):
        chosen = np.array(list(combinations(range(len(table)), count)), dtype=np.int64)
        served: FloatArray = np.min(table[chosen], axis=1, initial=np.inf)
        order = np.argsort(alone - served, axis=1, kind="stable")[:, : int(2 * (budget - count))]
        improved = served.copy()
        lower = np.minimum(np.take_along_axis(served, order, axis=1), alone[order])
        np.put_along_axis(improved, order, lower, axis=1)
        totals = improved.sum(axis=1)
        place = int(totals.argmin())
        if best is None or totals[place] < best[0]:
            helps = alone[order[place]] < served[place, order[place]]
            best = float(totals[place]), chosen[place], np.sort(order[place][helps])
    assert best is not None
    return best
