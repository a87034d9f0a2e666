"""The best partition of a few tasks, where every set of tasks has a value, and the best cover by such sets."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from taskgroup_core.grouping.group_values import subset_sums
from taskgroup_core.matrices import FloatArray


def best_partition(values: FloatArray, n_groups: int) -> list[int]:
    """Bit masks of the k groups, no task in two of them and none left out, with the highest total value.

    best(S, j) = max over groups G in S, holding S's last task, of value(G) + best(S minus G, j - 1). Every set is
    visited with every subset of it: about 3^n / 2 steps for each j.

    Parameters
    ----------
    values : of every set, with shape (2^n,); -inf where a set may not be a group.
    n_groups : k, from 1 to n.
    """
    best = np.full((len(values), n_groups + 1), -np.inf)  # [set of tasks, number of groups]
    chosen = np.zeros(best.shape, dtype=np.int64)
    best[0, 0] = 0.0
    columns = np.arange(n_groups)
    for mask in range(1, len(values)):
        last = 1 << (mask.bit_length() - 1)
        groups = _subsets(mask ^ last) | last
        value = values[groups, None] + best[mask ^ groups, :-1]
        choice = value.argmax(axis=0)
        best[mask, 1:], chosen[mask, 1:] = value[choice, columns], groups[choice]
    masks, rest = [], len(values) - 1
    for group in range(n_groups, 0, -1):
        masks.append(int(chosen[rest, group]))
        rest ^= masks[-1]
    return masks


def best_cover(values: FloatArray, n_groups: int) -> list[int]:
    """Bit masks of the k distinct groups, every task in at least one, with the highest total value.

    best(G, j, U) = max(best(G - 1, j, U), value(G) + best(G - 1, j - 1, U minus G)), over the sets up to G in any
    order: either G is not chosen, or what it covers need not be covered again. About k 4^n steps.

    Parameters
    ----------
    values : of every set, with shape (2^n,); -inf where a set may not be a group.
    n_groups : k, from 1 to 2^n - 1.
    """
    uncovered = np.arange(len(values))
    best = np.full((n_groups + 1, len(values)), -np.inf)  # [number of groups, tasks that they cover at least]
    best[0, 0] = 0.0
    taken = np.zeros((len(values), n_groups + 1, len(values)), dtype=bool)
    for group in range(1, len(values)):
        value = values[group] + best[:-1, uncovered & ~group]
        taken[group, 1:] = value > best[1:]
        best[1:] = np.maximum(best[1:], value)
    masks: list[int] = []
    tasks = len(values) - 1
    for group in range(len(values) - 1, 0, -1):
        if taken[group, n_groups - len(masks), tasks]:
            masks.append(group)
            tasks &= ~group
    return masks


def best_servers(gains: FloatArray, allowed: NDArray[np.bool_]) -> tuple[FloatArray, NDArray[np.int64]]:
    """For every set of tasks: the most that ONE group can earn by serving them all, and that group; shape (2^n,).

    Parameters
    ----------
    gains : of each task in every set that holds it, with shape (n, 2^n).
    allowed : which sets may be a group, with shape (2^n,).

    Returns
    -------
    -inf where no group may serve the set, and for the empty set.
    """
    n = len(gains)
    value, server = np.full(1 << n, -np.inf), np.zeros(1 << n, dtype=np.int64)
    for group in np.flatnonzero(allowed).tolist():
        served = _subsets(group)[1:]
        earned = subset_sums(np.where(group >> np.arange(n) & 1, gains[:, group], 0.0))[served]
        better = served[earned > value[served]]
        value[served] = np.maximum(value[served], earned)
        server[better] = group
    return value, server


def _subsets(mask: int) -> NDArray[np.int64]:
    """All subsets of a bit mask, the empty one first, with shape (2^popcount,)."""
    subsets = np.zeros(1, dtype=np.int64)
    while mask:
        bit = mask & -mask
        subsets = np.concatenate([subsets, subsets | bit])
        mask ^= bit
    return subsets
