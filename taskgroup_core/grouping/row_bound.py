"""An upper bound on a choice of groups, task by task: a member's row can earn no more than its largest entries."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import coo_array

from taskgroup_core.grouping.group_selection import NoSolutionError
from taskgroup_core.grouping.large_problem import LargeProgramme
from taskgroup_core.matrices import FloatArray

TOLERANCE = 1e-9  # relative: by how much a size must break the bound to be added
UNIT = np.finfo(np.float64).eps / 2
Prices = tuple[FloatArray, FloatArray]


class RowBound:
    """No member of a group of size s earns more than (T_tt + its s - 1 largest entries beside the diagonal) / divisor.

    Where groups are paid as wholes, T is made symmetric first, which leaves their values and flattens the tops of its
    rows. At any prices of tasks and rows this bounds a group of each size by its s best tasks, and so every choice of
    groups by weak duality; the best prices come from one linear programme, to which sizes are added as they matter.

    Parameters
    ----------
    problem : the choice to be made.

    References
    ----------
    P. Gilmore, Optimal and suboptimal algorithms for the quadratic assignment problem, 1962 (the bound on each row).
    """

    def __init__(self, problem: LargeProgramme) -> None:
        self.problem, self.served = problem, problem.overlap == "best_served"
        values = problem.values if self.served else (problem.values + problem.values.T) / 2
        n = len(values)
        others = np.sort(values[~np.eye(n, dtype=bool)].reshape(n, n - 1), axis=1)[:, ::-1]
        tops = np.diag(values)[:, None] + np.concatenate([np.zeros((n, 1)), others.cumsum(axis=1)], axis=1)
        self.tops = tops / problem.divided(np.arange(1, n + 1))  # [task, size - 1]

    def of_sizes(self, kind: int, cover: FloatArray, rows: FloatArray) -> FloatArray:
        """A bound on what a group of each size can add at these prices, -inf for sizes not allowed; with shape (n,)."""
        low, high = self.problem.sizes[kind]
        gains = self.tops[:, low - 1 : high] - cover[:, None]
        held = np.maximum(gains, 0.0) if self.served else gains
        best = np.sort(held - (rows @ self.problem.rows[0][:, kind])[:, None], axis=0)[::-1].cumsum(axis=0)
        bound = np.full(len(cover), -np.inf)
        sizes = np.arange(low, high + 1)
        bound[low - 1 : high] = best[sizes - 1, sizes - low]
        return bound

    def base(self, cover: FloatArray, rows: FloatArray) -> float:
        """What these prices pay for the limits: the part of the bound beside the groups."""
        return float(cover.sum() + rows @ self.problem.rows[1])

    def bound(self, cover: FloatArray, rows: FloatArray, cap: float | FloatArray = np.inf) -> float:
        """An upper bound on every choice: true for any prices >= 0 of rows, and <= 0 of tasks that may be repeated.

        `cap` is another bound on a group of each kind and size, with shape (kinds, n).
        """
        kinds, n = len(self.problem.kinds), len(cover)
        sizes = np.array([self.of_sizes(kind, cover, rows) for kind in range(kinds)])
        total = self.base(cover, rows) + float(self.problem.counts @ np.minimum(sizes, cap).max(axis=1))
        added = (
            np.abs(cover).sum()
            + np.abs(rows) @ np.abs(self.problem.rows[1])
            + self.problem.counts.sum()
            * (
                np.abs(self.tops).max() * n
                + np.abs(cover).sum()
                + np.abs(rows) @ np.abs(self.problem.rows[0]).sum((1, 2))
            )
        )
        return total + 4 * n * UNIT * float(added)  # sums of fewer than 4 n terms: rounding is paid

    def prices(self) -> Prices:
        """The prices of tasks and rows at which the bound is lowest.

        Raises
        ------
        NoSolutionError : HiGHS gave up.
        """
        problem, n = self.problem, len(self.tops)
        middle = n // problem.slots.sizes.shape[1]
        used = [sorted({low, min(max(middle, low), high), high}) for low, high in problem.sizes]
        while True:
            cover, rows, worth = self._solve(used)
            new = False
            for kind, sizes in enumerate(used):
                bound = self.of_sizes(kind, cover, rows)
                size = int(bound.argmax()) + 1
                if bound[size - 1] > worth[kind] + TOLERANCE * np.abs(self.tops).max() * n and size not in sizes:
                    sizes.append(size)
                    new = True
            if not new:
                return cover, rows

    def _solve(self, used: list[list[int]]) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Prices of tasks and rows, and of a group of each kind, from the programme with some sizes for each kind.

        Where these cannot meet the limits, `used` becomes all sizes.

        Its variables, for each kind and size: the number of groups z, and for each task how often it is held (h <= z)
        and served (s = h where groups are paid as wholes, s <= h otherwise).
        """
        problem, n, scale = self.problem, len(self.tops), np.abs(self.tops).max() or 1.0
        pairs = [(kind, size) for kind, sizes in enumerate(used) for size in sizes]
        b, task = len(pairs), np.arange(n)
        width = n * (1 + self.served)
        at = b + width * np.arange(b)  # where the tasks of each pair begin
        held, served = at[:, None] + task, at[:, None] + task + (n if self.served else 0)
        kind_of, size_of = np.array(pairs).T
        weights, upper = problem.rows
        w = weights[:, kind_of]  # [row, pair, task]
        total = b + width * b
        cost = np.zeros(total)
        cost[served] = -self.tops[:, size_of - 1].T / scale
        above = [
            (-np.ones(b * n), task + np.zeros((b, 1), dtype=int), served),  # covered at least once
            (w.ravel(), np.indices(w.shape)[0] + n, np.broadcast_to(held, w.shape)),
            (np.ones(b * n), n + len(w) + np.arange(b * n), held),
            (-np.ones(b * n), n + len(w) + np.arange(b * n), np.repeat(np.arange(b), n)),
        ]
        if self.served:
            order = n + len(w) + b * n + np.arange(b * n)
            above += [(np.ones(b * n), order, served), (-np.ones(b * n), order, held)]
        limits = np.concatenate([-np.ones(n), upper, np.zeros(b * n * (1 + self.served))])
        equal = [
            (np.ones(b * n), np.repeat(np.arange(b), n), held),
            (-size_of.astype(float), np.arange(b), np.arange(b)),
            (np.ones(b), b + kind_of, np.arange(b)),
        ]
        right = np.concatenate([np.zeros(b), problem.counts])
        exact = problem.overlap != "every_group"
        if exact:
            equal.append((np.ones(b * n), len(right) + task + np.zeros((b, 1), dtype=int), served))
            right = np.concatenate([right, np.ones(n)])
        result = linprog(cost, _matrix(above, len(limits), total), limits, _matrix(equal, len(right), total), right)
        every = [list(range(low, high + 1)) for low, high in problem.sizes]
        if result.status == 2 and b < sum(map(len, every)):  # groups of these sizes alone cannot meet the limits
            used[:] = every
            return self._solve(used)
        if result.x is None:
            raise NoSolutionError(f"HiGHS stopped on the bound: {result.message}")
        cover = scale * result.ineqlin.marginals[:n]
        if exact:
            cover -= scale * result.eqlin.marginals[-n:]
        rows = np.maximum(-scale * result.ineqlin.marginals[n : n + len(w)], 0.0)
        cover = cover if exact else np.minimum(cover, 0.0)
        return cover, rows, -scale * result.eqlin.marginals[b : b + len(used)]


def _matrix(parts: list[tuple[Any, Any, Any]], rows: int, columns: int) -> coo_array:
    """The sparse matrix with these entries: what, in which row, in which column."""
    what, row, column = (np.concatenate([np.ravel(part[i]) for part in parts]) for i in range(3))
    return coo_array((what, (row.astype(int), column.astype(int))), shape=(rows, columns))
