"""Spectral clustering of the affinity: a baseline."""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.cluster import SpectralClustering

from taskgroup_core.errors import InputError
from taskgroup_core.grouping.grouping import Grouper, Labels, check_random_state, status_of
from taskgroup_core.matrices import FloatArray
from taskgroup_core.seeds import derive

SHIFTS = ("if_negative", "always")


class SpectralGrouper(Grouper):
    """Groups by spectral clustering (normalised Laplacian, then k-means) of T made symmetric and non-negative.

    It cuts a graph, so it needs edge weights of at least 0, and WHERE zero lies decides the groups: T and T + b may be
    grouped differently, as the SDP's groups never are.

    Parameters
    ----------
    n_groups : k, from 1 to n.
    shift : "if_negative" takes T as it is unless an entry is negative, and then makes the smallest entry 0; "always"
        makes the smallest entry 0 in any case, after which T and T + b give the same groups.
    random_state : seed of the eigensolver's start and of k-means.

    Attributes
    ----------
    grouping_, groups_, labels_, objective_, status_ : see `Grouper`.

    Raises
    ------
    InputError : (on fit) arguments that cannot be used.

    References
    ----------
    GRAD-TAG, Example 4.1; A. Ng, M. Jordan, Y. Weiss, On spectral clustering: analysis and an algorithm, NIPS 2001.

    Deviations
    ----------
    1. The papers do not say how T is made symmetric and non-negative: here (T + T') / 2 and the shift above.
    """

    def __init__(self, n_groups: int, *, shift: str = "if_negative", random_state: int = 0) -> None:
        self.n_groups = n_groups
        self.shift = shift
        self.random_state = random_state

    def _group(self, values: FloatArray, n_groups: int) -> tuple[Labels, str]:
        if self.shift not in SHIFTS:
            raise InputError("shift", repr(self.shift), f"Use one of {', '.join(SHIFTS)}.")
        seed = derive(check_random_state(self.random_state), "spectral") % 2**32
        weights = (values + values.T) / 2
        smallest = float(weights.min())
        method = "Spectral clustering of T"
        if smallest < 0 or self.shift == "always":
            weights, method = weights - smallest, f"{method} less its smallest entry, {smallest:.3g}"
        if n_groups == len(values):  # the eigensolver wants fewer vectors than tasks
            return np.arange(n_groups), status_of(method, np.arange(n_groups), n_groups)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            clustering = SpectralClustering(n_groups, affinity="precomputed", random_state=seed)
            labels = clustering.fit_predict(weights)
        notes = " ".join(sorted({f"scikit-learn warned: {str(warning.message).rstrip('.')}." for warning in caught}))
        return np.asarray(labels, dtype=np.int64), f"{status_of(method, labels, n_groups)} {notes}".strip()
