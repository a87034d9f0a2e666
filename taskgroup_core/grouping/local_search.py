"""Better groups from given ones: single moves and exchanges of tasks, judged by the average density itself."""

from __future__ import annotations

import numpy as np

from taskgroup_core.errors import InputError
from taskgroup_core.grouping.grouping import Grouping, Labels, average_density, check_n_groups
from taskgroup_core.grouping.rounding import Rounding, round_by_average_linkage, round_by_threshold
from taskgroup_core.matrices import FloatArray, check_affinity

SMALLEST = 1e-10  # a step that gains less than this share of T's largest entry is taken for rounding


def round_by_local_search(relaxation: FloatArray, n_groups: int, affinity: FloatArray) -> Rounding:
    """The better of the threshold's and average linkage's groups, improved by steps until none gains.

    A step moves one task to another group, or exchanges two tasks of two groups; of all steps that leave every group a
    task, the one with the largest gain in average density is taken. Every step gains, so the search ends; its groups
    are at least as dense as those it starts from, and no single step improves them.

    Parameters
    ----------
    relaxation : X with shape (n, n); its symmetric part is used.
    n_groups : k, the number of groups wanted.
    affinity : T with shape (n, n), which the steps are judged by.

    Raises
    ------
    InputError : matrices or a number of groups that cannot be used.

    References
    ----------
    GRAD-TAG, Equation (7), is what the steps raise; the search is ours.
    """
    values = check_affinity(affinity)
    n_groups = check_n_groups(n_groups, len(values))
    if values.shape != np.shape(relaxation):
        raise InputError("affinity", f"shape {values.shape}", f"Give shape {np.shape(relaxation)}, as X has.")
    starts = [round_by_threshold(relaxation, n_groups), round_by_average_linkage(relaxation, n_groups)]
    start = max(starts, key=lambda one: average_density(values, Grouping.from_labels(one.labels).groups))
    labels, steps = improve(values, start.labels, n_groups)
    return Rounding(labels, start.c, start.interval, f"{start.reason}; then {steps} steps of local search")


def improve(values: FloatArray, labels: Labels, n_groups: int) -> tuple[Labels, int]:
    """Labels after taking the best step again and again, and how many were taken.

    Parameters
    ----------
    values : T, with shape (n, n).
    labels : group of each task, from 0 to k - 1, every group with a task; it is not changed.
    n_groups : k.
    """
    symmetric, labels, steps = (values + values.T) / 2, labels.copy(), 0
    symmetric = symmetric - symmetric.mean()  # moves every partition's density alike
    least = SMALLEST * float(np.abs(symmetric).max())
    while True:
        members = (labels[:, None] == np.arange(n_groups)).astype(np.float64)
        links = symmetric @ members  # of every task to every group
        moves, swaps = _gains_of_moves(symmetric, members, links), _gains_of_swaps(symmetric, members, links)
        if max(moves.max(), swaps.max()) <= least:
            return labels, steps
        if moves.max() >= swaps.max():
            task, group = np.unravel_index(int(moves.argmax()), moves.shape)
            labels[task] = group
        else:
            first, second = np.unravel_index(int(swaps.argmax()), swaps.shape)
            labels[[first, second]] = labels[[second, first]]
        steps += 1


def _gains_of_moves(symmetric: FloatArray, members: FloatArray, links: FloatArray) -> FloatArray:
    """Gain in the sum of densities by moving task i to group g, with shape (n, k); -inf where none may be made."""
    sizes, inside = members.sum(axis=0), (members * links).sum(axis=0)
    own, diagonal = members.argmax(axis=1), np.diag(symmetric)
    left = inside[own] - 2 * links[np.arange(len(own)), own] + diagonal
    loss = inside[own] / sizes[own] - left / np.maximum(sizes[own] - 1, 1)
    gains: FloatArray = (inside + 2 * links + diagonal[:, None]) / (sizes + 1) - inside / sizes - loss[:, None]
    gains[(members > 0) | (sizes[own] == 1)[:, None]] = -np.inf
    return gains


def _gains_of_swaps(symmetric: FloatArray, members: FloatArray, links: FloatArray) -> FloatArray:
    """Gain in the sum of densities by exchanging tasks i and j, with shape (n, n); 0 within a group."""
    sizes, own, diagonal = members.sum(axis=0)[members.argmax(axis=1)], members.argmax(axis=1), np.diag(symmetric)
    to_own = links[np.arange(len(own)), own]
    # What i's group gains when j takes i's place: [i, j].
    change = diagonal[:, None] + diagonal[None, :] + 2 * (links[:, own].T - to_own[:, None] - symmetric)
    gains: FloatArray = change / sizes[:, None]
    gains = gains + gains.T
    gains[own[:, None] == own[None, :]] = 0.0
    return gains
