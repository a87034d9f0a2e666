"""How alike two groupings of the same tasks are, overlap or not."""

from __future__ import annotations

import numpy as np

from taskgroup_core.errors import InputError
from taskgroup_core.grouping.grouping import Grouping
from taskgroup_core.subsets import membership


def omega_index(first: Grouping, second: Grouping) -> float:
    """The share of pairs of tasks that are together in equally many groups of both, corrected for chance.

    1 for the same groups, 0 on average for groups that have nothing to do with each other. For disjoint groups it is
    the adjusted Rand index. Where chance alone would agree on every pair, it is 1.

    Parameters
    ----------
    first, second : groupings of the same n >= 2 tasks; which group serves a task does not matter.

    Raises
    ------
    InputError : groupings of different numbers of tasks, or of a single one.

    References
    ----------
    L. Collins, C. Dent, Omega: a general formulation of the Rand index of cluster recovery suitable for non-disjoint
    solutions, Multivariate Behavioral Research, 1988.
    """
    n = len(first.served_by)
    if len(second.served_by) != n or n < 2:
        found = f"groupings of {n} and {len(second.served_by)} tasks"
        raise InputError("first, second", found, "Compare groupings of the same two tasks or more.")
    pairs = np.triu_indices(n, 1)
    members = [membership(one.groups, n).astype(np.int64) for one in (first, second)]
    together = [(one.T @ one)[pairs] for one in members]
    most = 1 + max(int(one.max()) for one in together)
    shares = [np.bincount(one, minlength=most) / len(one) for one in together]
    by_chance = float(shares[0] @ shares[1])
    observed = float((together[0] == together[1]).mean())
    return 1.0 if by_chance == 1 else (observed - by_chance) / (1 - by_chance)
