"""The best choice of groups among too many sets to list: bounds by duality, groups by column generation."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from taskgroup_core.grouping.column_master import ColumnMaster
from taskgroup_core.grouping.column_pricing import climb
from taskgroup_core.grouping.large_limits import membership
from taskgroup_core.grouping.large_problem import LargeProgramme, Members
from taskgroup_core.grouping.membership_moves import MoveSearch
from taskgroup_core.grouping.rounding import round_by_average_linkage
from taskgroup_core.grouping.row_bound import Prices, RowBound
from taskgroup_core.grouping.spectral_bound import SpectralBound
from taskgroup_core.matrices import FloatArray

ROUNDS = 15  # of column generation
KEEP = 30  # neighbours of each local optimum that become columns too
SHARES = (0.2, 0.75, 0.9)  # of the time limit, at which the start, the bound and the columns should be done
ENOUGH = 0.002  # relative: a bound so near the value is not sharpened by leads
MARGIN = 0.05  # how far below the incumbent's groups a size must be bounded by rows to be left to them
TOLERANCE = 1e-9  # relative: differences below are rounding


@dataclass(frozen=True)
class LargeChoice:
    """A choice of m groups, with shape (m, n), an upper bound on all choices, and why the search ended."""

    groups: Members
    bound: float
    proved: bool
    late: bool


class LargeSearch:
    """Looks for the best choice of groups, and for a bound on it.

    1. Groups within the limits, from a clustering of T, by an integer programme on the memberships (`membership`).
    2. A bound by weak duality (`RowBound`, and `SpectralBound` where groups are paid as wholes; where they may overlap
       too, once more with the groups of 1 as the clusters that lead).
    3. Column generation: a linear programme over groups gives prices, local search at these prices gives groups. What
       it cannot find is bounded by 2, so no pricing problem has to be solved exactly.
    4. An integer programme over these groups.
    Whatever groups come up are improved by moves of single tasks (`MoveSearch`).

    Parameters
    ----------
    problem : the choice to be made.
    time_limit : in seconds; None lets every step run to its end.
    """

    def __init__(self, problem: LargeProgramme, time_limit: float | None) -> None:
        limit, now = np.inf if time_limit is None else time_limit, time.perf_counter()
        self.problem, self.deadline = problem, now + limit
        self.stages = [now + share * limit for share in SHARES]
        self.master = ColumnMaster(problem)
        self.groups: Members | None = None
        self.value, self.bound = -np.inf, np.inf

    def run(self) -> LargeChoice | None:
        """The best choice found; None where no choice meets the limits.

        Raises
        ------
        NoSolutionError : no choice was found in time.
        """
        symmetric = (self.problem.values + self.problem.values.T) / 2
        if not self._start(symmetric):
            return None
        by_rows = RowBound(self.problem)
        prices = by_rows.prices()
        self.bound = by_rows.bound(*prices)
        if self.problem.overlap != "best_served" and not self._proved():
            prices = self._spectral(by_rows, prices)
        if not self._proved() and time.perf_counter() < self.deadline:
            self._generate(by_rows, prices)
        assert self.groups is not None
        proved = self._proved()
        return LargeChoice(self.groups, max(self.bound, self.value), proved, time.perf_counter() >= self.deadline)

    def _proved(self) -> bool:
        return self.bound - self.value <= TOLERANCE * max(abs(self.value), self.master.scale)

    def _start(self, likeness: FloatArray) -> bool:
        """Groups within the limits that are close to the clusters of a matrix; whether there are any."""
        m = self.problem.slots.sizes.shape[1]
        labels = round_by_average_linkage(likeness, m).labels
        clusters = np.equal.outer(np.arange(m), labels).astype(np.float64)
        wish = likeness @ (clusters / clusters.sum(axis=1)[:, None]).T
        wish -= wish.max(axis=1)[:, None]  # more memberships than needed are not wished for
        left = max(self.stages[0] - time.perf_counter(), 1.0)
        limit = None if self.deadline == np.inf else left
        disjoint = not self.problem.distinct
        groups = membership(self.problem.slots, wish / (np.abs(wish).max() or 1.0), disjoint=disjoint, time_limit=limit)
        if groups is None:
            return False
        self._offer(groups)
        return True

    def _offer(self, groups: Members) -> None:
        """Improve a choice by moves, keep it if it is the best so far, and its groups as columns in any case."""
        problem = self.problem
        groups = MoveSearch(problem, self.deadline).climb(groups)
        value = problem.total(groups)
        if self.groups is None or value > self.value:
            self.groups, self.value = groups, value
        gains = problem.gains(groups)
        served = groups
        if problem.overlap == "best_served":
            served = np.equal.outer(np.arange(len(groups)), gains.argmax(axis=0))
        for kind, places in enumerate(problem.kinds):
            self.master.add(kind, groups[places], served[places])

    def _spectral(self, by_rows: RowBound, prices: Prices) -> Prices:
        """Sharpen the bound by eigenvalues, for the sizes whose rows do not bound them well enough.

        Without overlap, prices of either sign do what leads would do; with it, tasks cannot be priced up.
        """
        each = (self.value - by_rows.base(*prices)) / float(self.problem.counts.sum())
        full, some = self.problem.sizes, []
        for kind, (low, high) in enumerate(full):
            open_sizes = np.flatnonzero(by_rows.of_sizes(kind, *prices) > each - MARGIN * abs(each)) + 1
            some.append((int(open_sizes.min()), int(open_sizes.max())) if len(open_sizes) else (low, high))
        ranges = full if self.problem.divisor == "size" else some
        if self.problem.divisor == "others" and max(high for _, high in ranges) == 1:
            return prices  # single tasks, which rows value exactly
        spectral = SpectralBound(self.problem, by_rows, ranges)
        prices = self._sharpen(spectral, prices)
        if time.perf_counter() < self.stages[2]:
            self._start(spectral.relaxation)
        enough = self.value + ENOUGH * abs(self.value)
        if self.problem.overlap == "every_group" and self.bound > enough:
            assert self.groups is not None
            leads = self.problem.gains(self.groups).argmax(axis=0)
            prices = self._sharpen(SpectralBound(self.problem, by_rows, ranges, leads), prices, enough)
        return prices

    def _sharpen(self, spectral: SpectralBound, prices: Prices, enough: float = -np.inf) -> Prices:
        """Take the bound that is found from these prices, with its own prices, if it is the lowest so far."""
        spectral.minimise(*prices, self.stages[1], enough)
        if spectral.best < self.bound:
            self.bound, prices = spectral.best, spectral.prices
        return prices

    def _generate(self, by_rows: RowBound, prices: Prices) -> None:
        """Column generation and the integer programme over what it found."""
        problem, weights = self.problem, self.problem.rows[0]
        singles, kinds = np.eye(len(problem.values), dtype=bool), range(len(problem.kinds))
        starts = [np.vstack([self.master.groups[self.master.kinds == kind], singles]) for kind in kinds]
        cover, rows = prices
        for _ in range(ROUNDS):
            new = 0
            for kind, some in enumerate(starts):
                price = rows @ weights[:, kind]
                for start in some:
                    if time.perf_counter() >= self.stages[2]:
                        break
                    found = climb(problem, kind, start, cover, price, KEEP)
                    paid = found & (problem.gains(found) > cover) if problem.overlap == "best_served" else found
                    new += self.master.add(kind, found, paid)
            taken, cover, rows, _ = self.master.relaxed()
            self.bound = min(self.bound, by_rows.bound(cover, rows))
            if not new or time.perf_counter() >= self.stages[2]:
                break
            used = [(taken > TOLERANCE) & (self.master.kinds == kind) for kind in kinds]
            starts = [np.unique(self.master.groups[some], axis=0) for some in used]
        groups = self.master.chosen(cover, rows, self.deadline - time.perf_counter())
        if groups is not None:
            self._offer(groups)
