"""The programme of choosing m groups from too many sets to list: its limits as rows, and what sets and choices earn."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from taskgroup_core.grouping.group_limits import ROUNDING, Slots
from taskgroup_core.matrices import FloatArray

Members = NDArray[np.bool_]


@dataclass(frozen=True)
class LargeProgramme:
    """The best choice of m groups of n tasks, within limits.

    Parameters
    ----------
    values : T as it is counted, with shape (n, n).
    divisor : "size" or "others".
    overlap : "every_group", "best_served" or "none".
    slots : limits of the m groups.
    """

    values: FloatArray
    divisor: str
    overlap: str
    slots: Slots

    @cached_property
    def kinds(self) -> list[list[int]]:
        """The groups, gathered by equal limits."""
        return self.slots.kinds

    @cached_property
    def counts(self) -> FloatArray:
        """How many groups there are of each kind."""
        return np.array([len(kind) for kind in self.kinds], dtype=np.float64)

    @cached_property
    def sizes(self) -> list[tuple[int, int]]:
        """Smallest and largest size of each kind of group."""
        return [(int(self.slots.sizes[0, kind[0]]), int(self.slots.sizes[1, kind[0]])) for kind in self.kinds]

    @cached_property
    def rows(self) -> tuple[FloatArray, FloatArray]:
        """W and u of: sum over chosen groups of W[r, kind] over members <= u[r]; with shapes (r, kinds, n) and (r,)."""
        slots, first = self.slots, [kind[0] for kind in self.kinds]
        given = slots.rows[:, :, first].transpose(0, 2, 1)
        above, below = np.isfinite(slots.upper), np.isfinite(slots.lower)
        parts, limits = [given[above], -given[below]], [slots.upper[above], -slots.lower[below]]
        if slots.costs is not None:
            # One row for each kind: its groups together cost no more than their budgets together.
            parts.append(np.eye(len(first))[:, :, None] * slots.costs[:, first].T)
            limits.append(self.counts * np.array([self.budget(kind) for kind in range(len(first))]))
        return np.concatenate(parts), np.concatenate(limits)

    @property
    def distinct(self) -> bool:
        """Whether two groups could be equal: not where they are disjoint."""
        return self.overlap != "none"

    def budget(self, kind: int) -> float:
        """The budget of a kind of group, with the slack for rounding that costs of 0.1 + 0.2 need to fit 0.3."""
        return budget_of(self.slots, self.kinds[kind][0])

    def divided(self, sizes: NDArray[np.int64]) -> FloatArray:
        """What the sums of groups of these sizes are divided by."""
        return np.maximum(sizes - (self.divisor == "others"), 1).astype(np.float64)

    def gains(self, groups: Members) -> FloatArray:
        """The gain of each task in each group, -inf where it is not a member; groups and result with shape (g, n)."""
        rows = groups.astype(np.float64) @ self.values.T
        return np.where(groups, rows / self.divided(groups.sum(axis=1))[:, None], -np.inf)

    def reduced(self, groups: Members, cover: FloatArray, price: FloatArray) -> FloatArray:
        """What each group adds at prices of covering each task and of holding it, with shape (g,)."""
        gains = self.gains(groups) - cover
        earned = np.maximum(gains, 0.0) if self.overlap == "best_served" else np.where(groups, gains, 0.0)
        return np.asarray(earned.sum(axis=1) - groups @ price)

    def total(self, groups: Members) -> float:
        """The objective of a choice of m groups, each a row."""
        gains = self.gains(groups)
        return float((gains.max(axis=0) if self.overlap == "best_served" else gains[groups]).sum())

    def suits(self, groups: Members, kind: int) -> Members:
        """Which groups meet the limits on one group of a kind, with shape (g,)."""
        size, (low, high) = groups.sum(axis=1), self.sizes[kind]
        fits: Members = (low <= size) & (size <= high)
        if self.slots.costs is not None:
            fits &= groups @ self.slots.costs[:, self.kinds[kind][0]] <= self.budget(kind)
        return fits


def budget_of(slots: Slots, slot: int) -> float:
    """The budget of one group with its slack, as `Slots.allowed` reads it; infinite where there is none."""
    if slots.costs is None or slots.budgets is None:
        return np.inf
    limit = float(slots.budgets[slot])
    return limit + ROUNDING * max(float(np.abs(slots.costs[:, slot]).sum()), abs(limit))
