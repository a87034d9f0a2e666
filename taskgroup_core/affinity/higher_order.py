"""Higher-order task affinity (GRAD-TAG, Example 2.3 and Eq. (1))."""

from __future__ import annotations

import numpy as np
import xarray as xr

from taskgroup_core.matrices import make_affinity


def higher_order_affinity(scores: xr.DataArray) -> xr.DataArray:
    """T[i, j] = the mean of f(S, i) over the subsets S that hold both i and j; NaN where no subset does.

    Equation (1) includes i = j: the diagonal is the mean over all subsets that hold i.

    Parameters
    ----------
    scores : one metric of `MultitaskAlgorithm.scores(sample_subsets(...))`, dims ("subset", "task").
    """
    member = scores["member"].values.astype(np.float64)
    totals = scores.fillna(0.0).values.T @ member  # [i, j] = sum over S holding i and j of f(S, i)
    counts = member.T @ member
    values = np.divide(totals, counts, out=np.full(counts.shape, np.nan), where=counts > 0)
    return make_affinity(values, scores["task"].values.tolist(), method="higher-order", metric=scores.name)
