"""The best partition of a few tasks, exactly: the reference that other groupers are judged by."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from taskgroup_core.errors import InputError
from taskgroup_core.grouping.grouping import Grouper, Labels
from taskgroup_core.matrices import FloatArray

LARGEST = 15


class ExhaustiveGrouper(Grouper):
    """The partition into k groups with the highest average density, by dynamic programming over sets of tasks.

    best(S, j) = max over groups G in S, holding S's last task, of density(G) + best(S minus G, j - 1). Every set is
    visited with every subset of it: about 3^n / 2 steps for each j, 0.1 s at n = 12, 1 to 2 s at n = 15.

    Parameters
    ----------
    n_groups : k, from 1 to n.

    Attributes
    ----------
    grouping_, groups_, labels_, objective_, status_ : see `Grouper`. Among equal partitions one is taken, always the
        same.

    Raises
    ------
    InputError : (on fit) arguments that cannot be used, or more than 15 tasks.

    References
    ----------
    GRAD-TAG, Equation (8): the integer programme that its SDP relaxes.
    """

    def __init__(self, n_groups: int) -> None:
        self.n_groups = n_groups

    def _group(self, values: FloatArray, n_groups: int) -> tuple[Labels, str]:
        n = len(values)
        if n > LARGEST:
            raise InputError("affinity", f"{n} tasks", f"Use at most {LARGEST} tasks here, or SDPGrouper.")
        density = _densities(values)
        best = np.full((1 << n, n_groups + 1), -np.inf)  # [set of tasks, number of groups]; sets are bit masks
        chosen = np.zeros(best.shape, dtype=np.int64)
        best[0, 0] = 0.0
        columns = np.arange(n_groups)
        for mask in range(1, 1 << n):
            last = 1 << (mask.bit_length() - 1)
            groups = _subsets(mask ^ last) | last
            value = density[groups, None] + best[mask ^ groups, :-1]
            choice = value.argmax(axis=0)
            best[mask, 1:], chosen[mask, 1:] = value[choice, columns], groups[choice]
        labels = np.empty(n, dtype=np.int64)
        mask = (1 << n) - 1
        for group in range(n_groups, 0, -1):
            members = int(chosen[mask, group])
            labels[[task for task in range(n) if members >> task & 1]] = group
            mask ^= members
        return labels, "Every partition was considered: no other has a higher average density."


def _densities(values: FloatArray) -> FloatArray:
    """Density of every set of tasks, indexed by bit mask, with shape (2^n,); the empty set has 0."""
    n = len(values)
    members = (np.arange(1 << n)[:, None] >> np.arange(n) & 1).astype(np.float64)
    density: FloatArray = ((members @ values) * members).sum(axis=1) / np.maximum(members.sum(axis=1), 1)
    return density


def _subsets(mask: int) -> NDArray[np.int64]:
    """All subsets of a bit mask, the empty one first, with shape (2^popcount,)."""
    subsets = np.zeros(1, dtype=np.int64)
    while mask:
        bit = mask & -mask
        subsets = np.concatenate([subsets, subsets | bit])
        mask ^= bit
    return subsets
