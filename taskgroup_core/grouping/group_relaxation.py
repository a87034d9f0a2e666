"""The linear relaxation of choosing groups, by column generation over all sets of tasks."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import csr_array

from taskgroup_core.grouping.group_selection import NoSolutionError, Selection
from taskgroup_core.grouping.group_values import Masks, members_of
from taskgroup_core.matrices import FloatArray

BATCH = 100  # columns added for each kind and step
ENOUGH = 400  # sets that an integer programme chooses from in well under 0.1 s
TOLERANCE = 1e-7


@dataclass(frozen=True)
class Relaxation:
    """Prices, and the bound they prove.

    Parameters
    ----------
    cover : price of each task, with shape (n,).
    reduced : payoff of every set at these prices, with shape (kinds, 2^n); -inf where a set is not allowed.
    bound : upper bound on every choice of groups.
    violation : by how much the relaxation breaks its limits, which it may at a fine; 0 where they can be met.
    """

    cover: FloatArray
    reduced: FloatArray
    bound: float
    violation: float


class _Master:
    """The linear programme over the sets generated so far."""

    def __init__(self, selection: Selection, weight: float, fine: float) -> None:
        self.selection, self.weight, self.fine = selection, weight, fine
        n, limits = selection.payoff.n_tasks, selection.limits
        self.kinds, self.masks = np.zeros(0, np.int64), np.zeros(0, np.int64)
        self.cover, self.payoff = np.zeros((n, 0)), np.zeros(0)
        self.seen: set[tuple[int, int, int]] = set()
        self.chosen = np.zeros(0)  # how much of each column the last solution takes
        self.shared: list[int] = []  # sets that the relaxation wanted in several kinds at once
        self.lower = np.concatenate([np.ones(n), limits.lower])
        self.upper = np.concatenate([np.full(n, selection.payoff.cover_upper), limits.upper])

    def add(self, kind: int, masks: Masks, prices: FloatArray) -> int:
        """Add sets as columns, with the tasks that they cover at these prices; how many were new."""
        cover, payoff = self.selection.payoff.columns(kind, masks, prices, self.weight)
        covered = (cover.T.astype(np.int64) << np.arange(len(cover))).sum(axis=1)
        keys = [(kind, int(mask), int(tasks)) for mask, tasks in zip(masks, covered, strict=True)]
        new = np.array([key not in self.seen for key in keys], dtype=bool)
        self.seen.update(keys)
        self.kinds = np.concatenate([self.kinds, np.full(int(new.sum()), kind)])
        self.masks = np.concatenate([self.masks, masks[new]])
        self.cover, self.payoff = np.hstack([self.cover, cover[:, new]]), np.concatenate([self.payoff, payoff[new]])
        return int(new.sum())

    def share(self, cover: FloatArray) -> int:
        """Ask that sets which the last solution uses more than once over the kinds are used once; how many."""
        masks, place = np.unique(self.masks[: len(self.chosen)], return_inverse=True)
        used = np.bincount(place, weights=self.chosen, minlength=len(masks))
        new = [int(mask) for mask in masks[used > 1 + TOLERANCE] if int(mask) not in self.shared]
        self.shared.extend(new)
        for kind, allowed in enumerate(self.selection.allowed):
            self.add(kind, np.array([mask for mask in new if allowed[mask]], dtype=np.int64), cover)
        return len(new)

    def solve(self) -> tuple[float, float, FloatArray]:
        """Value, violation, and prices of tasks and limits."""
        limits, n = self.selection.limits, len(self.cover)
        members = members_of(self.masks, n)
        sums = np.einsum("rct,ct->rc", limits.weight[:, self.kinds], members) + limits.constant[:, self.kinds]
        rows = np.vstack([self.cover, sums])
        above, below = np.flatnonzero(np.isfinite(self.upper)), np.flatnonzero(np.isfinite(self.lower))
        once = np.equal.outer(np.array(self.shared, dtype=np.int64), self.masks)
        eye = np.eye(len(rows))
        matrix = np.vstack(
            [
                np.hstack([rows[above], -eye[above]]),
                np.hstack([-rows[below], -eye[below]]),
                np.hstack([once, np.zeros((len(once), len(rows)))]),
            ]
        )
        result = linprog(
            np.concatenate([-self.payoff, np.full(len(rows), self.fine)]),
            A_ub=csr_array(matrix),
            b_ub=np.concatenate([self.upper[above], -self.lower[below], np.ones(len(once))]),
            bounds=[(0, self.selection.payoff.column_upper)] * len(self.payoff) + [(0, np.inf)] * len(rows),
            method="highs-ds",
        )
        if result.x is None:
            raise NoSolutionError(f"HiGHS stopped on the relaxation: {result.message}")
        prices = np.zeros(len(rows))
        prices[above] -= result.ineqlin.marginals[: len(above)]
        prices[below] += result.ineqlin.marginals[len(above) : len(above) + len(below)]
        self.chosen = result.x[: len(self.payoff)]
        return -float(result.fun), float(result.x[len(self.payoff) :].sum()), prices


def relax(selection: Selection, weight: float, fine: float, deadline: float) -> Relaxation:
    """Solve the relaxation, as far as the deadline allows; the bound holds wherever it stops.

    Parameters
    ----------
    selection : the choice to be made.
    weight : scale of the payoff; 0 asks for feasibility alone.
    fine : paid for each unit by which a limit is broken: high enough, it is paid only where limits cannot be met.
    deadline : on the clock of `time.perf_counter`.

    Raises
    ------
    NoSolutionError : HiGHS gave up.
    """
    master, n = _Master(selection, weight, fine), selection.payoff.n_tasks
    cover, rows = np.zeros(n), np.zeros(len(selection.limits.lower))
    best: Relaxation | None = None
    value, violation, free = -np.inf, np.inf, np.inf
    while True:
        reduced = selection.reduced(cover, rows, weight)
        bound = selection.bound(cover, rows, reduced)
        # Free tasks (the first step) bound the choice, but tell good sets from bad ones less well than any prices do.
        free = bound if best is None else free
        if best is None or bound < best.bound or best.violation == np.inf:
            best = Relaxation(cover, reduced, bound, violation)
        new = sum(master.add(kind, _top(row), cover) for kind, row in enumerate(reduced))
        if selection.distinct:
            new += master.share(cover)
        # Prices go on changing long after the bound is sharp; what is left is little enough for an integer programme.
        near = int((best.reduced >= -2 * (best.bound - value)).sum()) <= ENOUGH
        late = time.perf_counter() >= deadline and violation <= TOLERANCE
        if value > -np.inf and (not new or near or late):
            return Relaxation(best.cover, best.reduced, min(best.bound, free), violation)
        value, violation, prices = master.solve()
        cover, rows = prices[:n], prices[n:]


def _top(reduced: FloatArray) -> Masks:
    """The sets with the highest reduced payoff above zero, at most a batch of them."""
    top: Masks = np.argpartition(reduced, -min(BATCH, reduced.size))[-BATCH:]
    return top[reduced[top] > TOLERANCE]
