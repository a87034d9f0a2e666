"""Branch and bound over networks: how best-served groups were chosen before; a baseline for its time."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import numpy as np

from taskgroup_core.errors import InputError
from taskgroup_core.grouping.best_served import SINGLETONS, member_scores
from taskgroup_core.grouping.group_selection import NoSolutionError
from taskgroup_core.grouping.group_values import members_of
from taskgroup_core.grouping.grouping import Grouping, check_n_groups
from taskgroup_core.grouping.overlapping import OverlappingGrouper, check_word
from taskgroup_core.matrices import FloatArray

LARGEST = 12


class BranchAndBoundGrouper(OverlappingGrouper):
    """At most b networks, each task served by its best one: the problem of `BestServedGrouper`, searched as a tree.

    Every set of tasks is a candidate. A node of the tree takes one candidate after the other, the most promising
    first, and searches on with those behind it. It leaves out candidates that improve no task, and stops where even
    the best of all that are left, for every task, cannot beat what was found.

    Parameters
    ----------
    n_groups : b, the largest number of networks, from 1 to n.
    singletons : "excluded" or "diagonal", as in `BestServedGrouper`.
    time_limit : in seconds; the best grouping found by then is returned with a bound.

    Attributes
    ----------
    nodes_ : nodes of the tree that were visited.
    grouping_, groups_, served_by_, labels_, objective_, bound_, gap_, status_ : see `OverlappingGrouper`.

    Raises
    ------
    InputError : (on fit) arguments that cannot be used, or more than 12 tasks.
    NoSolutionError : (on fit) no grouping was found in time.

    References
    ----------
    T. Standley and others, Which tasks should be learned together in multi-task learning?, ICML 2020, Algorithm 1.

    Deviations
    ----------
    1. All networks cost the same, and a score is higher-is-better.
    2. The stop on a bound is the usual one; what the authors' code prunes by is not in their algorithm.
    """

    def __init__(self, n_groups: int, *, singletons: str = "excluded", time_limit: float | None = None) -> None:
        self.n_groups = n_groups
        self.singletons = singletons
        self.time_limit = time_limit

    def _choose(self, values: FloatArray) -> tuple[Grouping, float, float, bool]:
        n = len(values)
        if not 2 <= n <= LARGEST:
            raise InputError("affinity", f"{n} tasks", f"Use 2 to {LARGEST} tasks here, or BestServedGrouper.")
        check_word("singletons", self.singletons, SINGLETONS)
        sets = members_of(np.arange(1, 1 << n), n)
        if self.singletons == "excluded":
            sets = sets[sets.sum(axis=1) > 1]
        groups = [np.flatnonzero(members).tolist() for members in sets]
        scores = member_scores(values, groups, singletons=self.singletons).T
        # Not a member: a score so low that leaving a task without a network never pays, in the unit of the others.
        nobody = float(values.min() - n * (np.ptp(values) or np.abs(values).max() or 1.0))
        scores = np.where(sets, scores, nobody)
        self._best, self.nodes_ = -np.inf, 0
        self._chosen: tuple[int, ...] = ()
        self._deadline = perf_counter() + (np.inf if self.time_limit is None else self.time_limit)
        floor = np.full(n, nobody)
        self._search(scores, np.arange(len(scores)), floor, (), check_n_groups(self.n_groups, n))
        bound = float(scores.max(axis=0).mean())
        served = scores[list(self._chosen)] if self._chosen else floor[None]
        if served.max(axis=0).min() <= nobody:
            raise NoSolutionError("No grouping that serves every task was found in time; allow more time.")
        keep = sorted(set(served.argmax(axis=0).tolist()), key=lambda place: groups[self._chosen[place]])
        server = tuple(keep.index(place) for place in served.argmax(axis=0).tolist())
        grouping = Grouping(tuple(tuple(groups[self._chosen[place]]) for place in keep), server)
        return grouping, self._best / n, bound, perf_counter() < self._deadline

    def _search(self, scores: FloatArray, left: Any, best: FloatArray, chosen: tuple[int, ...], budget: int) -> None:
        """Extend the networks `chosen`, which serve each task with `best`, by candidates `left` within the budget."""
        self.nodes_ += 1
        if best.sum() > self._best:
            self._best, self._chosen = float(best.sum()), chosen
        if not budget or perf_counter() > self._deadline:
            return
        improved = np.maximum(scores[left], best)
        totals = improved.sum(axis=1)
        order = np.argsort(-totals, kind="stable")
        order = order[totals[order] > best.sum()]  # the rest improves no task
        left, improved = left[order], improved[order]
        # What all candidates from here on would give together, for every task.
        ceilings = np.maximum.accumulate(improved[::-1], axis=0)[::-1].sum(axis=1)
        for place in range(len(left)):
            # With one network left, the first candidate is the best one.
            if ceilings[place] <= self._best or (budget == 1 and place):
                return
            self._search(scores, left[place + 1 :], improved[place], (*chosen, int(left[place])), budget - 1)
