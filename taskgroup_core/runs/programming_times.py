"""How long exact grouping takes, on affinities of four kinds, for the sizes of a published table."""

from __future__ import annotations

from collections.abc import Iterable
from time import process_time

import numpy as np
import pandas as pd

from taskgroup_core.errors import InputError
from taskgroup_core.grouping.programming import ProgrammingGrouper
from taskgroup_core.matrices import FloatArray
from taskgroup_core.seeds import numpy_generator

KINDS = ("random", "planted", "low_rank", "lookahead")


def drawn_affinity(kind: str, n_tasks: int, seed: int) -> FloatArray:
    """An affinity of one of four kinds, with shape (n, n).

    Parameters
    ----------
    kind : "random" (independent normal entries), "planted" (max(2, n // 4) families and noise), "low_rank" (rank 3 and
        a little noise) or "lookahead" (rows at levels of their own and a strong diagonal, as TAG's CelebA affinities).
    n_tasks : n.
    seed : of the draw.

    Raises
    ------
    InputError : another kind.
    """
    if kind not in KINDS:
        raise InputError("kind", repr(kind), f"Use one of {', '.join(KINDS)}.")
    rng = numpy_generator(seed, kind)
    noise = rng.standard_normal((n_tasks, n_tasks))
    if kind == "random":
        return noise
    if kind == "planted":
        labels = np.arange(n_tasks) % max(2, n_tasks // 4)
        return np.asarray(np.equal.outer(labels, labels) + 0.5 * noise)
    if kind == "low_rank":
        factors = rng.standard_normal((n_tasks, 3))
        return np.asarray(factors @ factors.T + 0.1 * noise)
    values = -100 + 20 * rng.standard_normal((n_tasks, 1)) + 5 * noise
    np.fill_diagonal(values, 250 + 50 * rng.standard_normal(n_tasks))
    return np.asarray(values)


def solver_seconds(sizes: Iterable[tuple[int, int]], repeats: int, seed: int = 0) -> pd.DataFrame:
    """CPU seconds of `ProgrammingGrouper` with the paper's conventions, one row a run, each proved best.

    Parameters
    ----------
    sizes : numbers of tasks and groups.
    repeats : affinities of each kind.
    seed : of the affinities.

    Returns
    -------
    Columns "tasks", "groups", "kind", "repeat", "seconds", "objective" and "gap".

    References
    ----------
    Principled task grouping, Table 2.
    """
    rows = []
    for tasks, groups in sizes:
        for kind in KINDS:
            for repeat in range(repeats):
                values = drawn_affinity(kind, tasks, seed + repeat)
                start = process_time()
                found = ProgrammingGrouper(groups).fit(values)
                seconds = process_time() - start
                rows.append((tasks, groups, kind, repeat, seconds, found.objective_, found.gap_))
    return pd.DataFrame(rows, columns=["tasks", "groups", "kind", "repeat", "seconds", "objective", "gap"])
