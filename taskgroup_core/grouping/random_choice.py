"""Random groups that may overlap, under size limits: what a choice within the same limits has to beat."""

from __future__ import annotations

from math import comb

import numpy as np

from taskgroup_core.checks import check_whole
from taskgroup_core.errors import InputError
from taskgroup_core.grouping.group_limits import check_slots
from taskgroup_core.grouping.grouping import check_n_groups, check_random_state
from taskgroup_core.seeds import numpy_generator

BATCH = 1000
BATCHES = 500  # then so few of the draws hold every task that another size should be asked for


def random_groups(
    n_tasks: int, n_groups: int, *, min_size: int = 1, max_size: int | None = None, random_state: int = 0
) -> tuple[tuple[int, ...], ...]:
    """Distinct groups that together hold every task, drawn uniformly from all such choices within the size limits.

    Sets within the limits are drawn uniformly and independently, until m of them are distinct and hold every task.

    Parameters
    ----------
    n_tasks : n.
    n_groups : m, from 1 to n.
    min_size, max_size : of each group; None for no maximum.
    random_state : seed of the draw.

    Returns
    -------
    The m groups, sorted.

    Raises
    ------
    InputError : arguments that cannot be used, or limits that no choice, or hardly one of half a million draws, meets.

    References
    ----------
    Principled task grouping, Section 5.4: random groups under the same constraints.

    Deviations
    ----------
    The paper does not say how it draws them.
    """
    check_whole("n_tasks", n_tasks)
    m = check_n_groups(n_groups, n_tasks)
    low, high = check_slots(n_tasks, m, min_size, max_size, None, None, ()).sizes[:, 0].tolist()
    generator = numpy_generator(check_random_state(random_state), "random groups")
    sizes = np.arange(low, high + 1)
    ways = [comb(n_tasks, size) for size in range(low, high + 1)]  # exact: they outgrow floats near n = 1,000
    total = sum(ways)
    shares = [way / total for way in ways]
    for _ in range(BATCHES if m * high >= n_tasks and total >= m else 0):
        drawn = generator.choice(sizes, (BATCH, m), p=shares)
        rank = generator.random((BATCH, m, n_tasks)).argsort(axis=2).argsort(axis=2)
        members = rank < drawn[:, :, None]
        alike = np.all(members[:, :, None] == members[:, None], axis=3).sum(axis=(1, 2)) > m
        covered = np.all(np.any(members, axis=1), axis=1)
        fits = np.flatnonzero(covered & ~alike)
        if len(fits):
            return tuple(sorted(tuple(np.flatnonzero(row).tolist()) for row in members[fits[0]]))
    raise InputError(
        "min_size, max_size", f"{m} groups of {low} to {high} of {n_tasks} tasks: none drawn", "Allow other sizes."
    )
