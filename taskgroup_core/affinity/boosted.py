"""BoostMTL's affinity: two tasks trained together with a random subset of the others."""

from __future__ import annotations

import numpy as np
import xarray as xr

from taskgroup_core.errors import InputError
from taskgroup_core.matrices import make_affinity
from taskgroup_core.seeds import numpy_generator
from taskgroup_core.subsets import Subsets, check_subsets, pairs


def boosted_subsets(n_tasks: int, size: int, draws: int, seed: int) -> Subsets:
    """For every pair {i, j} with i <= j, `draws` subsets of `size` tasks that hold it, the others drawn uniformly.

    Parameters
    ----------
    n_tasks : n.
    size : tasks in each subset, from 2 to n.
    draws : subsets for each pair.
    seed : decides the draws.

    Returns
    -------
    A membership matrix with shape (n (n + 1) / 2 x draws, n): the draws of one pair follow each other, and the pairs
    have the order of `pairs(n)`.

    Raises
    ------
    InputError : a size outside 2 to n, or fewer than one draw.
    """
    if not 2 <= size <= n_tasks:
        raise InputError("size", str(size), f"Use a subset size from 2 to the number of tasks, {n_tasks}.")
    if draws < 1:
        raise InputError("draws", str(draws), "Draw at least one subset for each pair.")
    generator = numpy_generator(seed, "boosted subsets")
    chosen = np.repeat(pairs(n_tasks), draws, axis=0)
    for row in chosen:
        others = generator.permutation(np.flatnonzero(~row))
        row[others[: size - row.sum()]] = True
    return chosen


def boosted_affinity(scores: xr.DataArray) -> xr.DataArray:
    """T[i, j] = the mean of f(S, i) over the subsets S drawn for the pair {i, j}; T[i, i] over those drawn for i.

    Parameters
    ----------
    scores : one metric of `MultitaskAlgorithm.scores(boosted_subsets(...))`, dims ("subset", "task"), in that order.

    Raises
    ------
    InputError : rows that are not the subsets of `boosted_subsets`.

    References
    ----------
    BoostMTL as GRAD-TAG describes it in section 5.3.1; Li et al., Boosting Multitask Learning on Graphs through
    Higher-Order Task Affinities, 2023.

    Deviations
    ----------
    1. GRAD-TAG says "the prediction loss": that is the metric "negative_loss", with the sign that makes higher better.
    2. The 2023 paper draws subsets without regard to pairs and lets each serve all the pairs in it: that is
       `higher_order_affinity`, which can be had from the same scores.
    3. Neither says what the diagonal is: a subset drawn for i alone fills it here.
    """
    member = check_subsets(scores["member"].values, scores.sizes["task"])
    wanted = pairs(member.shape[1])
    draws = len(member) // len(wanted)
    expected = np.repeat(wanted, draws, axis=0)
    if not draws or expected.shape != member.shape or not (member | ~expected).all():
        raise InputError("scores", "other subsets than those drawn for pairs", "Score those of `boosted_subsets`.")
    mean = scores.values.reshape(len(wanted), draws, -1).mean(axis=1)
    values = np.empty((member.shape[1],) * 2)
    first, last = wanted.argmax(axis=1), wanted.shape[1] - 1 - wanted[:, ::-1].argmax(axis=1)
    rows = np.arange(len(wanted))
    values[first, last], values[last, first] = mean[rows, first], mean[rows, last]
    return make_affinity(values, scores["task"].values.tolist(), method="BoostMTL", metric=scores.name)
