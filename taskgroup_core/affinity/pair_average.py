"""HOA: the score of a subset from the scores of its pairs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from taskgroup_core.affinity.pairwise import pairwise_affinity
from taskgroup_core.errors import InputError
from taskgroup_core.matrices import make_scores
from taskgroup_core.subsets import Subsets, check_subsets


class PairAverage:
    """The estimate of f(S, t) by the mean over the partners s of t in S of f({s, t}, t); f({t}, t) is taken as it is.

    An algorithm for any subset that costs nothing beyond the pairs.

    Parameters
    ----------
    pair_scores : scores of all the subsets of `pairs(n)`, from `scores` of any `MultitaskAlgorithm`. Every metric in it
        is averaged.
    flops : operations that the pairs' scores took.

    Attributes
    ----------
    flops : the same: answering takes none that count.

    Raises
    ------
    InputError : no metric, a pair that is missing, or a subset of more than two tasks.

    References
    ----------
    Standley et al., Which Tasks Should Be Learned Together in Multi-task Learning?, 2020: the higher-order
    approximation (HOA); GRAD-TAG, section 5.3.1.

    Deviations
    ----------
    GRAD-TAG averages pairwise affinities "to approximate higher-order affinities": `higher_order_affinity` of these
    scores is that approximation.
    """

    def __init__(self, pair_scores: xr.Dataset, flops: int = 0) -> None:
        if not pair_scores.data_vars:
            raise InputError("pair_scores", "no metric", "Give the scores of the subsets of `pairs(n)`.")
        self.flops = flops
        self._pairwise = {str(name): pairwise_affinity(pair_scores[name]) for name in pair_scores.data_vars}

    @property
    def task_names(self) -> Sequence[str]:
        """The n task names."""
        names: list[str] = next(iter(self._pairwise.values()))["target"].values.tolist()
        return names

    def scores(self, subsets: Subsets) -> xr.Dataset:
        """Estimated scores of `subsets`, a membership matrix with shape (m, n).

        Raises
        ------
        InputError : see `check_subsets`.
        """
        member = check_subsets(subsets, len(self.task_names))
        partners = np.maximum(member.sum(axis=1, keepdims=True) - 1, 1)
        alone = member.sum(axis=1, keepdims=True) == 1
        values = {}
        for name, affinity in self._pairwise.items():
            single = np.diag(affinity.values)
            total = member @ (affinity.values - np.diag(single)).T
            values[name] = np.where(alone, single, total / partners)
        return make_scores(values, member, self.task_names, method="HOA")
