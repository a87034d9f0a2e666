"""From the SDP's matrix X to groups: GRAD-TAG's threshold, searched exactly, and the fallback where none fits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.cluster.hierarchy import cut_tree, linkage
from scipy.spatial.distance import squareform

from taskgroup_core.grouping.grouping import Labels, check_n_groups
from taskgroup_core.matrices import FloatArray, check_affinity

# Two entries of X closer than this are taken as equal: ten times the accuracy that the solvers are asked for, and far
# below 1/n, the smallest entry within a group of an integral X, for every n these solvers can reach.
DECIMALS = 5
TIE = 10.0**-DECIMALS
PAPER_RANGE = (1.0, 10.0)


@dataclass(frozen=True)
class Rounding:
    """Groups read off X, and where they came from.

    Parameters
    ----------
    labels : group of each task, with shape (n,).
    c : threshold constant that was used, lambda = c / n; None where no threshold gives this many groups.
    interval : the c that give these groups, (low, high], as far as `TIE` can tell; None where there is none.
    reason : how the groups came about, as a clause.
    """

    labels: Labels
    c: float | None
    interval: tuple[float, float] | None
    reason: str

    @property
    def fallback(self) -> bool:
        """Whether average linkage stood in because no threshold gives this many groups."""
        return self.c is None


def round_by_threshold(relaxation: FloatArray, n_groups: int) -> Rounding:
    """Tasks u and v share a group where X[u, v] >= c / n, or a chain of such pairs links them.

    The number of groups never falls as c grows and changes only at values of X on its maximum spanning tree. So the
    c that give exactly k groups form one interval, every c in it gives the SAME groups, and the search is exact: cut
    the k - 1 smallest edges of the tree. The interval is empty when the last edge cut and the first one kept tie.

    Parameters
    ----------
    relaxation : X with shape (n, n), entries from 0 to 1 up to the solver's accuracy; its symmetric part is used.
    n_groups : k, the number of groups wanted.

    Returns
    -------
    The `Rounding`; its `c` lies in the paper's range [1, 10] where the interval meets that range.

    Raises
    ------
    InputError : a matrix or a number of groups that cannot be used.

    References
    ----------
    GRAD-TAG, Section 4, after Equation (10).

    Deviations
    ----------
    1. The paper picks lambda between 1/n and 10/n by trial; here the search is exact, over every threshold.
    2. The paper does not say what to do where no lambda gives k groups; here average linkage on X, cut at k groups.
    """
    matrix = check_affinity(relaxation, "relaxation")
    n = len(matrix)
    n_groups = check_n_groups(n_groups, n)
    if n == 1:
        return Rounding(np.zeros(1, dtype=np.int64), 1.0, (0.0, np.inf), "there is one task only")
    # Single linkage is the maximum spanning tree: its merges, sorted, are the tree's edges.
    tree = linkage(_distances(matrix), method="single")
    edges = np.concatenate([[np.inf], (matrix.max() - tree[:, 2]), [0.0]])  # from the largest to the smallest
    upper, lower = edges[n - n_groups], max(edges[n - n_groups + 1], 0.0)
    if upper - lower <= TIE:
        average = round_by_average_linkage(matrix, n_groups)
        return Rounding(
            average.labels,
            None,
            None,
            f"no threshold gives {n_groups} groups (entries of X tie there), average linkage on X was used instead",
        )
    low, high = n * lower, n * upper
    start, stop = max(low, PAPER_RANGE[0]), min(high, PAPER_RANGE[1])
    if start >= stop:
        start, stop = low, high
    c = 2 * start + 1 if np.isinf(stop) else (start + stop) / 2
    inside = "inside" if PAPER_RANGE[0] <= c <= PAPER_RANGE[1] else "outside"
    reason = f"threshold c/n with c = {c:.3g}, {inside} the paper's range of 1 to 10"
    return Rounding(_cut(tree, n_groups), float(c), (float(low), float(high)), reason)


def round_by_average_linkage(relaxation: FloatArray, n_groups: int) -> Rounding:
    """Merge the two groups with the largest mean X between them until `n_groups` are left.

    Less prone than the threshold to chains of tasks, and defined for every X; on an X with ties the groups depend on
    the order of the tasks.

    Parameters
    ----------
    relaxation : X with shape (n, n); its symmetric part is used.
    n_groups : k, the number of groups wanted.

    Raises
    ------
    InputError : a matrix or a number of groups that cannot be used.
    """
    matrix = check_affinity(relaxation, "relaxation")
    n_groups = check_n_groups(n_groups, len(matrix))
    if len(matrix) == 1:
        return Rounding(np.zeros(1, dtype=np.int64), None, None, "there is one task only")
    # Rounded first, so that entries that tie but for the solver's noise are merged in the same order on every machine.
    labels = _cut(linkage(_distances(matrix.round(DECIMALS)), method="average"), n_groups)
    return Rounding(labels, None, None, "average linkage on X")


def _distances(matrix: FloatArray) -> FloatArray:
    """The pairs' distances max X - X[u, v], condensed, with shape (n (n - 1) / 2,)."""
    symmetric = (matrix + matrix.T) / 2
    condensed: FloatArray = matrix.max() - squareform(symmetric - np.diag(np.diag(symmetric)), checks=False)
    return condensed


def _cut(tree: FloatArray, n_groups: int) -> Labels:
    return np.asarray(cut_tree(tree, n_clusters=n_groups)[:, 0], dtype=np.int64)
