"""Lloyd's algorithm on the rows of the affinity: a baseline."""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from taskgroup_core.grouping.grouping import Grouper, Labels, check_random_state, status_of
from taskgroup_core.matrices import FloatArray
from taskgroup_core.seeds import derive


class LloydGrouper(Grouper):
    """Groups by k-means on the rows of T: two targets are near where the same sources are good for them.

    It sees neither T's columns nor its objective; unlike the SDP it depends on the offset of each row.

    Parameters
    ----------
    n_groups : k, from 1 to n.
    random_state : seed of the starting centres (k-means++, the best of 10 starts).

    Attributes
    ----------
    grouping_, groups_, labels_, objective_, status_ : see `Grouper`. There are fewer groups than k where T has fewer
        distinct rows; `status_` says so.

    Raises
    ------
    InputError : (on fit) arguments that cannot be used.

    References
    ----------
    GRAD-TAG, Example 4.1; S. Lloyd, Least squares quantization in PCM, IEEE Transactions on Information Theory, 1982.

    Deviations
    ----------
    1. scikit-learn moves the centre of an empty group to the farthest point; plain Lloyd would lose that group.
    """

    def __init__(self, n_groups: int, *, random_state: int = 0) -> None:
        self.n_groups = n_groups
        self.random_state = random_state

    def _group(self, values: FloatArray, n_groups: int) -> tuple[Labels, str]:
        seed = derive(check_random_state(self.random_state), "lloyd") % 2**32
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct rows than k: said in status_
            labels = KMeans(n_groups, n_init=10, random_state=seed).fit_predict(values)
        return np.asarray(labels, dtype=np.int64), status_of("k-means on the rows of T", labels, n_groups)
