"""Pairwise task affinity (GRAD-TAG, Example 2.2)."""

from __future__ import annotations

import numpy as np
import xarray as xr

from taskgroup_core.errors import InputError
from taskgroup_core.matrices import make_affinity


def pairwise_affinity(scores: xr.DataArray) -> xr.DataArray:
    """T[i, j] = f({i, j}, i), and T[i, i] = f({i}, i), from the scores of `subsets.pairs(n)`.

    Parameters
    ----------
    scores : one metric of `MultitaskAlgorithm.scores(pairs(n))`, dims ("subset", "task").

    Raises
    ------
    InputError : a subset of more than two tasks, or a pair that is missing.
    """
    member = scores["member"].values
    if member.sum(axis=1).max() > 2:
        raise InputError("scores", "a subset of more than two tasks", "Score the subsets of `pairs(n)`.")
    n_tasks = member.shape[1]
    values = np.full((n_tasks, n_tasks), np.nan)
    for row, subset in zip(scores.values, member, strict=True):
        tasks = np.flatnonzero(subset)
        first, last = tasks[0], tasks[-1]
        values[first, last], values[last, first] = row[first], row[last]
    if np.isnan(values).any():
        target, source = np.argwhere(np.isnan(values))[0]
        raise InputError("scores", f"no subset {{{target}, {source}}}", "Score all the subsets of `pairs(n)`.")
    return make_affinity(values, scores["task"].values.tolist(), method="pairwise", metric=scores.name)
