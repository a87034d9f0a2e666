"""Random groups: what a grouper has to beat."""

from __future__ import annotations

import numpy as np

from taskgroup_core.grouping.grouping import Grouper, Labels, check_random_state
from taskgroup_core.matrices import FloatArray
from taskgroup_core.seeds import numpy_generator


class RandomGrouper(Grouper):
    """A partition drawn uniformly from all partitions of the n tasks into k non-empty groups.

    The last task is alone in S(n - 1, k - 1) of the S(n, k) partitions (Stirling numbers of the second kind); else it
    joins one of the k groups of the others, each equally likely; and so on downwards. Of the affinity only its size is
    used, and `objective_`.

    Parameters
    ----------
    n_groups : k, from 1 to n.
    random_state : seed of the draw.

    Attributes
    ----------
    grouping_, groups_, labels_, objective_, status_ : see `Grouper`.

    Raises
    ------
    InputError : (on fit) arguments that cannot be used.

    References
    ----------
    A. Nijenhuis, H. Wilf, Combinatorial Algorithms, Academic Press, 1978.
    """

    def __init__(self, n_groups: int, *, random_state: int = 0) -> None:
        self.n_groups = n_groups
        self.random_state = random_state

    def _group(self, values: FloatArray, n_groups: int) -> tuple[Labels, str]:
        generator = numpy_generator(check_random_state(self.random_state), "random grouping")
        counts = _stirling(len(values), n_groups)
        labels = np.empty(len(values), dtype=np.int64)
        left = n_groups
        for task in reversed(range(len(values))):
            if generator.random() < counts[task][left - 1] / counts[task + 1][left]:
                left -= 1
                labels[task] = left
            else:
                labels[task] = generator.integers(left)
        return labels, f"Drawn uniformly from all partitions with k = {n_groups}; seed {self.random_state}."


def _stirling(n: int, k: int) -> list[list[int]]:
    """S(i, j) for i up to n and j up to k, as exact integers: they outgrow floats below n = 300."""
    table = [[1] + [0] * k]
    for _ in range(n):
        previous = table[-1]
        table.append([0] + [j * previous[j] + previous[j - 1] for j in range(1, k + 1)])
    return table
