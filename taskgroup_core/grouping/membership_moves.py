"""Local search on the memberships of groups that are chosen: what a few changes at a time can still gain."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np

from taskgroup_core.grouping.large_problem import LargeProgramme, Members, budget_of
from taskgroup_core.matrices import FloatArray

Pairs = tuple[tuple[int, int], ...]  # of a group and a task
RELATIVE = 1e-12  # smaller gains are rounding
SLACK = 1e-9  # by which a row that was scaled to 1 may be broken


class MoveSearch:
    """Adding, dropping, moving, replacing and swapping tasks while it raises the objective within the limits.

    Parameters
    ----------
    problem : the choice being made.
    deadline : on the clock of `time.perf_counter`.
    """

    def __init__(self, problem: LargeProgramme, deadline: float) -> None:
        self.problem, self.slots, self.deadline = problem, problem.slots, deadline
        m = problem.slots.sizes.shape[1]
        self.budgets = np.array([budget_of(problem.slots, slot) for slot in range(m)])
        self.weights = np.moveaxis(problem.slots.rows, 2, 1)  # [row, group, task]
        self.least = RELATIVE * float(np.abs(problem.values).sum()) * m

    def climb(self, groups: Members) -> Members:
        """The groups when no move gains any more, or when the time is over; groups and result with shape (m, n)."""
        groups = groups.copy()
        gains = self.problem.gains(groups)
        value, gained = self._worth(gains), True
        while gained:
            gained = False
            for out, into in self._moves(groups):
                if time.perf_counter() >= self.deadline:
                    return groups
                if not all(groups[pair] for pair in out) or any(groups[pair] for pair in into):
                    continue  # an earlier move of this pass was there first
                changed = sorted({group for group, _ in out + into})
                before = groups[changed]
                for pair in out + into:
                    groups[pair] ^= True
                if self._meets(groups, changed, [task for _, task in out + into]):
                    trial = gains.copy()
                    trial[changed] = self.problem.gains(groups[changed])
                    worth = self._worth(trial)
                    if worth > value + self.least:
                        gains, value, gained = trial, worth, True
                        continue
                groups[changed] = before
        return groups

    def _worth(self, gains: FloatArray) -> float:
        if self.problem.overlap == "best_served":
            return float(gains.max(axis=0).sum())
        return float(gains[np.isfinite(gains)].sum())

    def _moves(self, groups: Members) -> Iterator[tuple[Pairs, Pairs]]:
        """Memberships to end and to begin, read off the groups as they are when each task's turn comes."""
        m, n = groups.shape
        for task in range(n):
            inside = np.flatnonzero(groups[:, task]).tolist()
            for group in range(m):
                if group in inside:
                    if self.problem.distinct:
                        yield ((group, task),), ()
                    continue
                if self.problem.distinct:
                    yield (), ((group, task),)
                for left in inside:
                    yield ((left, task),), ((group, task),)
                for other in np.flatnonzero(groups[group]).tolist():
                    if self.problem.distinct:
                        yield ((group, other),), ((group, task),)
                    for left in inside:
                        yield ((left, task), (group, other)), ((group, task), (left, other))

    def _meets(self, groups: Members, changed: list[int], tasks: list[int]) -> bool:
        """Whether the groups still meet the limits after these groups changed by these tasks."""
        slots, cover, some = self.slots, groups[:, tasks].sum(axis=0), groups[changed]
        size = some.sum(axis=1)
        if (cover < 1).any() or (not self.problem.distinct and (cover > 1).any()):
            return False
        if (size < slots.sizes[0, changed]).any() or (size > slots.sizes[1, changed]).any():
            return False
        if slots.costs is not None and ((some * slots.costs[:, changed].T).sum(axis=1) > self.budgets[changed]).any():
            return False
        if len(slots.rows):
            total = (self.weights * groups).sum(axis=(1, 2))
            if (total < slots.lower - SLACK).any() or (total > slots.upper + SLACK).any():
                return False
        if not self.problem.distinct:
            return True
        return all(int((groups == groups[group]).all(axis=1).sum()) == 1 for group in changed)
