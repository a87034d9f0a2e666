"""Grouping by mathematical programming: the groups with the highest total value under budgets, or a proved gap."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Self

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike
from scipy.optimize import LinearConstraint

from taskgroup_core.grouping.group_limits import Slots, check_slots
from taskgroup_core.grouping.group_payoffs import Payoff, ServedTasks, WholeGroups
from taskgroup_core.grouping.group_search import Chosen, select
from taskgroup_core.grouping.group_values import DIVISORS, LARGEST, divisors, group_sums, members_of, row_gains
from taskgroup_core.grouping.grouping import Grouping, check_n_groups
from taskgroup_core.grouping.large_limits import impossible, membership
from taskgroup_core.grouping.large_problem import LargeProgramme
from taskgroup_core.grouping.large_programming import LargeSearch
from taskgroup_core.grouping.overlapping import OverlappingGrouper, check_flag, check_word
from taskgroup_core.matrices import FloatArray

OVERLAPS = ("every_group", "best_served", "none")


class ProgrammingGrouper(OverlappingGrouper):
    """Exactly m distinct groups, every task in at least one, with the highest total value, under linear limits.

    Solves: maximise the sum over groups G of (sum of T over the pairs of members of G) / |G|, over binary X with shape
    (n, m), X[t, j] = 1 where task t is in group j. Groups may overlap. On a shift of T by b the objective moves by b
    times the number of memberships, so the groups may change; a positive scale leaves them.

    Up to 20 tasks the optimum is proved: the values of all 2^n - 1 sets come from one dynamic programme, the groups
    from column generation, reduced-cost fixing and a small integer programme: see `select`. Beyond, groups are searched
    for and a bound is proved apart: see `LargeSearch`. On 100 tasks with planted families the gap is below 0.1 %
    without overlap, and below 5 % in a minute where groups may overlap and all are paid; it grows with the noise.

    Parameters
    ----------
    n_groups : m, from 1 to n.
    diagonal : whether T[t, t] counts.
    divisor : "size" divides a group's sum by |G|, "others" by |G| - 1 (a singleton's by 1).
    overlap : "every_group" pays every group in full; "best_served" pays each task's row in its best group only (the
        other groups that hold it train it but do not serve it); "none" forbids overlap.
    min_size, max_size : of each group: one number, or one for each of the m groups; None for no maximum.
    costs : B, what a task costs in a group: one number, n (as a column, shape (n, 1), or a vector), or shape (n, m).
    budgets : b, the most that the members of a group may cost together: one number, or m.
    constraints : further limits on X, as `scipy.optimize.LinearConstraint`s on its entries row by row: entry t * m + j
        is X[t, j].
    time_limit : in seconds, for the whole fit; up to a second more is spent to find a grouping at all. Beyond 20 tasks
        the search ends by itself, and the step under way when the time is over is finished.

    Attributes
    ----------
    objective_ : total value of the groups, in the affinity's unit (a sum over groups, as in the paper).
    grouping_, groups_, served_by_, labels_, bound_, gap_, status_ : see `OverlappingGrouper`. Groups are sorted where
        their limits are alike; with limits of their own, group j is in place j. A task is served by the group where its
        own row is highest, the first of equals. Among equal groupings one is taken, always the same.

    Raises
    ------
    InputError : (on fit) arguments that cannot be used.
    InfeasibleError : (on fit) no grouping meets the limits; the message names limits that stand in the way.
    NoSolutionError : (on fit) no grouping was found in time, or HiGHS gave up.

    References
    ----------
    Principled task grouping, Equations (5) to (8).

    Deviations
    ----------
    1. Equation (6) sums over n groups and gives X n columns where its text has m: here m.
    2. The paper solves a quadratic programme with a commercial solver: here the same optimum, by a linear programme
       with a column for every set.
    3. Two groups are distinct as sets; the paper's condition says the same.
    """

    def __init__(
        self,
        n_groups: int,
        *,
        diagonal: bool = True,
        divisor: str = "size",
        overlap: str = "every_group",
        min_size: int | Sequence[int] = 1,
        max_size: int | Sequence[int] | None = None,
        costs: ArrayLike | None = None,
        budgets: ArrayLike | None = None,
        constraints: LinearConstraint | Sequence[LinearConstraint] = (),
        time_limit: float | None = None,
    ) -> None:
        self.n_groups = n_groups
        self.diagonal = diagonal
        self.divisor = divisor
        self.overlap = overlap
        self.min_size = min_size
        self.max_size = max_size
        self.costs = costs
        self.budgets = budgets
        self.constraints = constraints
        self.time_limit = time_limit

    def fit(self, affinity: xr.DataArray | ArrayLike, y: None = None) -> Self:
        """See `OverlappingGrouper.fit`; a search that ended by itself without a proof says so."""
        self._ended = False
        super().fit(affinity, y)
        if self._ended and self.gap_ > 0:
            self.status_ = (
                f"Not proved best: the search ended; no grouping is better by more than {100 * self.gap_:.3g} %."
            )
        return self

    def _choose(self, values: FloatArray) -> tuple[Grouping, float, float, bool]:
        n, m = len(values), check_n_groups(self.n_groups, len(values))
        check_word("overlap", self.overlap, OVERLAPS)
        counted = values if check_flag("diagonal", self.diagonal) else values - np.diag(np.diag(values))
        check_word("divisor", self.divisor, DIVISORS)
        slots = check_slots(n, m, self.min_size, self.max_size, self.costs, self.budgets, self.constraints)
        if n > LARGEST:
            return self._search(LargeProgramme(counted, self.divisor, self.overlap, slots))
        payoff: Payoff = WholeGroups(group_sums(counted) / divisors(n, self.divisor), disjoint=self.overlap == "none")
        if self.overlap == "best_served":
            gains = row_gains(counted, self.divisor)
            payoff = ServedTasks(np.broadcast_to(gains, (len(slots.kinds), *gains.shape)))
        found = slots.impossible()
        chosen = None if found else select(slots.selection(payoff), self.time_limit)
        if chosen is None:
            anything = [WholeGroups(np.zeros(1 << n), disjoint=disjoint) for disjoint in (False, True)]
            found = found or self._conflict(slots, lambda name, one: select(slots.selection(anything[one], name)))
            self._refuse(found, "Loosen a limit.")
        return self._result(counted, _placed(slots, chosen, n), chosen.bound, chosen.proved)

    def _search(self, problem: LargeProgramme) -> tuple[Grouping, float, float, bool]:
        """A choice with a bound, where the sets are too many to list."""
        slots, same = problem.slots, np.zeros((len(problem.values), problem.slots.sizes.shape[1]))
        found = impossible(slots)
        chosen = None if found else LargeSearch(problem, self.time_limit).run()
        if chosen is None:
            found = found or self._conflict(slots, lambda name, one: membership(slots, same, disjoint=one, lifted=name))
            self._refuse(found, "Loosen a limit.")
        self._ended = not chosen.late
        placed = [tuple(np.flatnonzero(row).tolist()) for row in chosen.groups]
        for places in slots.kinds:
            for place, group in zip(places, sorted(placed[place] for place in places), strict=True):
                placed[place] = group
        return self._result(problem.values, placed, chosen.bound, chosen.proved)

    def _conflict(self, slots: Slots, first: Callable[[str, bool], object | None]) -> str:
        """In words, which of the limits in use would have to go for `first` to find a grouping."""
        disjoint = self.overlap == "none"
        lifted = [name for name in slots.in_use() if first(name, disjoint) is not None]
        if disjoint and slots.in_use() and first("", False) is not None:
            lifted.append('overlap="none"')
        if lifted:
            return f"no grouping, and one without {' or without '.join(lifted)}"
        return f"no grouping, and none with any one of {', '.join(slots.in_use())} left out"

    def _result(
        self, counted: FloatArray, groups: list[tuple[int, ...]], bound: float, proved: bool
    ) -> tuple[Grouping, float, float, bool]:
        """The grouping as it is handed out, valued anew from T."""
        gains = np.full((len(counted), len(groups)), -np.inf)
        for place, group in enumerate(groups):
            divisor = max(len(group) - (self.divisor == "others"), 1)
            gains[group, place] = counted[np.ix_(group, group)].sum(axis=1) / divisor
        paid = gains.max(axis=1) if self.overlap == "best_served" else gains[np.isfinite(gains)]
        grouping = Grouping(tuple(groups), tuple(gains.argmax(axis=1).tolist()))
        return grouping, float(paid.sum()), bound, proved


def _placed(slots: Slots, chosen: Chosen, n_tasks: int) -> list[tuple[int, ...]]:
    """The chosen groups in the places that their limits belong to; sorted within equal limits."""
    placed: dict[int, tuple[int, ...]] = {}
    for kind, places in enumerate(slots.kinds):
        masks = np.array([mask for mask, one in chosen.groups if one == kind], dtype=np.int64)
        groups = sorted(tuple(np.flatnonzero(row).tolist()) for row in members_of(masks, n_tasks))
        placed.update(zip(places, groups, strict=True))
    return [placed[place] for place in sorted(placed)]
