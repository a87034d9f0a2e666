"""Which subsets to train when only a few can be: every task, and every pair of tasks, about equally often."""

from __future__ import annotations

import numpy as np

from taskgroup_core.errors import InputError
from taskgroup_core.seeds import numpy_generator
from taskgroup_core.subsets import Subsets, membership


def balanced_subsets(n_tasks: int, size: int, m: int, seed: int) -> Subsets:
    """Draw m subsets of `size` tasks one after another, each from the tasks and pairs that occurred least so far.

    A subset starts from a task in the fewest subsets; then joins, again and again, the task that met the present
    members least often, of those the one in the fewest subsets. Ties are drawn. With size 2, all n (n - 1) / 2 pairs
    come once before any comes twice.

    Parameters
    ----------
    n_tasks : n.
    size : tasks in each subset, from 2 to n.
    m : number of subsets; the first k of them are what a smaller m would have given.
    seed : decides the ties.

    Returns
    -------
    A membership matrix with shape (m, n).

    Raises
    ------
    InputError : a size outside 2 to n, or m < 1.
    """
    if not 2 <= size <= n_tasks:
        raise InputError("size", str(size), f"Use a subset size from 2 to the number of tasks, {n_tasks}.")
    if m < 1:
        raise InputError("m", str(m), "Draw at least one subset.")
    generator = numpy_generator(seed, "balanced subsets")
    met = np.zeros((n_tasks, n_tasks), dtype=np.int64)
    drawn = np.zeros(n_tasks, dtype=np.int64)
    subsets = []
    for _ in range(m):
        # A task that has met all others equally often has no pair left over: it may wait.
        left = met.max() * (n_tasks - 1) - met.sum(axis=1) if size == 2 and met.max() else np.zeros(n_tasks)
        members = [int(np.lexsort((generator.random(n_tasks), drawn, left == 0))[0])]
        while len(members) < size:
            meetings = met[members].sum(axis=0)
            order = np.lexsort((generator.random(n_tasks), drawn, meetings))
            members.append(next(int(task) for task in order if task not in members))
        for task in members:
            met[task, [other for other in members if other != task]] += 1
        drawn[members] += 1
        subsets.append(members)
    return membership(subsets, n_tasks)
