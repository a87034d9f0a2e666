"""The programme over the groups generated so far: its relaxation gives prices, its integer optimum a choice."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, linprog, milp
from scipy.sparse import csr_array

from taskgroup_core.grouping.group_selection import NoSolutionError
from taskgroup_core.grouping.large_problem import LargeProgramme, Members
from taskgroup_core.matrices import FloatArray

Side = tuple[csr_array, FloatArray]
NODES = 300  # of HiGHS's tree, so that two runs stop alike
COLUMNS = 1500  # that an integer programme chooses from


class ColumnMaster:
    """Chooses among groups that were generated, each with the tasks it is paid for.

    Parameters
    ----------
    problem : the choice being made.
    """

    def __init__(self, problem: LargeProgramme) -> None:
        n = len(problem.values)
        self.problem = problem
        self.kinds = np.zeros(0, dtype=np.int64)
        self.groups, self.served = np.zeros((0, n), dtype=bool), np.zeros((0, n), dtype=bool)
        self.payoff = np.zeros(0)
        self.seen: set[bytes] = set()
        self.exact = problem.overlap != "every_group"
        self.scale = float(np.abs(problem.values).sum(axis=1).max()) or 1.0

    def add(self, kind: int, groups: Members, served: Members) -> int:
        """Add groups of a kind, paid for the tasks that they serve; how many were new."""
        keys = [bytes([kind % 256, kind // 256]) + np.packbits(row).tobytes() for row in np.hstack([groups, served])]
        new = []
        for place, key in enumerate(keys):
            if key not in self.seen:
                self.seen.add(key)
                new.append(place)
        if new:
            groups, served = groups[new], served[new]
            gains = self.problem.gains(groups)
            self.kinds = np.concatenate([self.kinds, np.full(len(new), kind)])
            self.groups, self.served = np.vstack([self.groups, groups]), np.vstack([self.served, served])
            self.payoff = np.concatenate([self.payoff, np.where(served, gains, 0.0).sum(axis=1)])
        return len(new)

    def relaxed(self) -> tuple[FloatArray, FloatArray, FloatArray, float]:
        """How much of each column the relaxation takes, the prices of tasks and rows, and its value."""
        cost, (above, upper), (equal, right) = self._programme(np.arange(len(self.kinds)))
        # A column may be taken more than once here: prices then lead to better groups than those of near copies do.
        result = linprog(cost, above, upper, equal, right, bounds=(0, None), method="highs-ds")
        n, rows = len(self.problem.values), len(self.problem.rows[1])
        if result.x is None:
            raise NoSolutionError(f"HiGHS stopped on the relaxation: {result.message}")
        tight = self.scale * result.ineqlin.marginals
        cover = -self.scale * result.eqlin.marginals[:n] if self.exact else np.minimum(tight[:n], 0.0)
        return result.x, cover, np.maximum(-tight[len(tight) - rows :], 0.0), -self.scale * float(result.fun)

    def chosen(self, cover: FloatArray, rows: FloatArray, time_limit: float) -> Members | None:
        """The best choice found from the columns that give up least at these prices, in the places of the groups."""
        problem, weights = self.problem, self.problem.rows[0]
        held = np.einsum("r,rkt->kt", rows, weights)[self.kinds]
        lost = self.payoff - self.served @ cover - (self.groups * held).sum(axis=1)
        for kind in range(len(problem.kinds)):  # a group is as dear as the best of its kind
            lost[self.kinds == kind] -= lost[self.kinds == kind].max(initial=-np.inf)
        columns = np.sort(np.argsort(-lost, kind="stable")[:COLUMNS])
        cost, (above, upper), (equal, right) = self._programme(columns)
        limits = [LinearConstraint(above, -np.inf, upper), LinearConstraint(equal, right, right)]
        options = {"node_limit": NODES, "mip_rel_gap": 1e-9}
        if time_limit < np.inf:
            options["time_limit"] = max(time_limit, 0.1)
        result = milp(cost, integrality=np.ones(len(columns)), bounds=Bounds(0, 1), constraints=limits, options=options)
        if result.x is None:
            return None
        taken = columns[result.x > 0.5]
        groups = np.zeros((problem.slots.sizes.shape[1], len(problem.values)), dtype=bool)
        for kind, places in enumerate(problem.kinds):
            groups[places] = self.groups[taken[self.kinds[taken] == kind]]
        return groups

    def _programme(self, columns: NDArray[np.int64]) -> tuple[FloatArray, Side, Side]:
        """Cost, inequalities and equalities of the programme over some columns."""
        problem = self.problem
        groups, served, kinds = self.groups[columns], self.served[columns], self.kinds[columns]
        weights, upper = problem.rows
        rows = np.einsum("rct,ct->rc", weights[:, kinds], groups)
        counts = np.equal.outer(np.arange(len(problem.kinds)), kinds).astype(float)
        task = served.T.astype(float)
        which, times = np.unique(groups, axis=0, return_inverse=True, return_counts=True)[1:]
        # A set may be a column more than once: of several kinds, or paid for several sets of tasks.
        once = np.equal.outer(np.flatnonzero(times > 1), which.ravel()).astype(float)
        once = once if problem.distinct else once[:0]
        above, limits = [once, rows], [np.ones(len(once)), upper]
        equal, right = [counts], [problem.counts]
        if self.exact:
            equal, right = [task, counts], [np.ones(len(task)), problem.counts]
        else:
            above, limits = [-task, *above], [-np.ones(len(task)), *limits]
        return (
            -self.payoff[columns] / self.scale,
            (csr_array(np.vstack(above)), np.concatenate(limits)),
            (csr_array(np.vstack(equal)), np.concatenate(right)),
        )
