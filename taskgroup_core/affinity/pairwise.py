"""Pairwise task affinity (GRAD-TAG, Example 2.2)."""

from __future__ import annotations

import numpy as np
import xarray as xr

from taskgroup_core.affinity.higher_order import higher_order_affinity
from taskgroup_core.errors import InputError
from taskgroup_core.matrices import make_affinity


def pairwise_affinity(scores: xr.DataArray) -> xr.DataArray:
    """T[i, j] = f({i, j}, i), and T[i, i] = f({i}, i), from the scores of `subsets.pairs(n)`.

    A pair that was scored several times gets the mean, as in `higher_order_affinity`.

    Parameters
    ----------
    scores : one metric of `MultitaskAlgorithm.scores(pairs(n))`, dims ("subset", "task"); in any order.

    Raises
    ------
    InputError : a subset of more than two tasks, or a pair that is missing.
    """
    size = scores["member"].values.sum(axis=1)
    if size.max() > 2:
        raise InputError("scores", "a subset of more than two tasks", "Score the subsets of `pairs(n)`.")
    values = higher_order_affinity(scores[size == 2]).values
    np.fill_diagonal(values, higher_order_affinity(scores[size == 1]).values.diagonal())
    if np.isnan(values).any():
        target, source = np.argwhere(np.isnan(values))[0]
        raise InputError("scores", f"no subset {{{target}, {source}}}", "Score all the subsets of `pairs(n)`.")
    return make_affinity(values, scores["task"].values.tolist(), method="pairwise", metric=scores.name)
