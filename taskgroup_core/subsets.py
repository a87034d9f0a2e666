"""Sets of tasks trained together, as boolean membership matrices with shape (m, n): row = subset, column = task."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from taskgroup_core.checks import check_whole, is_whole, rectangular
from taskgroup_core.errors import InputError
from taskgroup_core.seeds import numpy_generator

Subsets = NDArray[np.bool_]
MOST_TASKS = 12  # 4,095 subsets; every further task doubles their number


def check_subsets(subsets: ArrayLike, n_tasks: int) -> Subsets:
    """Return `subsets` as a boolean matrix with shape (m, n_tasks).

    Raises
    ------
    InputError : not boolean (or 0/1), wrong shape, or an empty subset.
    """
    array = rectangular(subsets, "subsets")
    if array.ndim != 2 or array.shape[1] != n_tasks:
        raise InputError("subsets", f"shape {array.shape}", f"Give a membership matrix with shape (m, {n_tasks}).")
    if array.dtype != np.bool_ and not np.isin(array, (0, 1)).all():
        raise InputError("subsets", "values other than 0 and 1", "Give booleans: True where the task is a member.")
    empty = np.flatnonzero(~array.astype(bool).any(axis=1))
    if empty.size:
        raise InputError("subsets", f"no task in row {empty[0]}", "Remove empty subsets.")
    return array.astype(bool)


def membership(groups: Iterable[Sequence[int]], n_tasks: int) -> Subsets:
    """Membership matrix with shape (m, n_tasks) of subsets given as lists of task indices.

    Raises
    ------
    InputError : not an integer from 0 to n_tasks - 1, an index twice in one subset, or an empty subset.
    """
    rows = [list(group) for group in groups]
    matrix = np.zeros((len(rows), n_tasks), dtype=bool)
    for row, group in enumerate(rows):
        if any(not is_whole(task) or not 0 <= task < n_tasks for task in group):
            raise InputError("groups", f"task indices {group}", f"Use integers from 0 to {n_tasks - 1}.")
        if len(set(group)) < len(group):
            raise InputError("groups", f"a task twice in {group}", "Name each member of a group once.")
        matrix[row, group] = True
    return check_subsets(matrix, n_tasks)


def singletons(n_tasks: int) -> Subsets:
    """The n subsets of one task, with shape (n, n)."""
    return np.eye(n_tasks, dtype=bool)


def pairs(n_tasks: int) -> Subsets:
    """All {i, j} with i <= j (so the n singletons too), with shape (n (n + 1) / 2, n); GRAD-TAG, Example 2.2."""
    return np.vstack([singletons(n_tasks), membership(combinations(range(n_tasks), 2), n_tasks)])


def all_subsets(n_tasks: int) -> Subsets:
    """All 2^n - 1 subsets that are not empty, with shape (2^n - 1, n): by size, the n singletons first.

    Raises
    ------
    InputError : not an integer, no task, or more than `MOST_TASKS`.
    """
    if not is_whole(n_tasks) or not 1 <= n_tasks <= MOST_TASKS:
        remedy = f"Use 1 to {MOST_TASKS} tasks, or draw subsets with `sample_subsets`."
        raise InputError("n_tasks", repr(n_tasks), remedy)
    tasks = range(n_tasks)
    return membership(chain.from_iterable(combinations(tasks, size + 1) for size in tasks), n_tasks)


def sample_subsets(n_tasks: int, size: int, m: int, seed: int) -> Subsets:
    """Draw m subsets of `size` tasks, each uniformly over all such subsets, independently; GRAD-TAG, Example 2.3.

    Raises
    ------
    InputError : a size that is no integer from 1 to n_tasks, or n_tasks or m that is none of at least 1.
    """
    check_whole("size", size, most=check_whole("n_tasks", n_tasks))
    check_whole("m", m)
    generator = numpy_generator(seed, "subsets")
    return membership((generator.permutation(n_tasks)[:size].tolist() for _ in range(m)), n_tasks)
