"""The problem of choosing groups of tasks under linear limits, and what bounds its best choice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from taskgroup_core.errors import InputError
from taskgroup_core.grouping.group_payoffs import Payoff
from taskgroup_core.grouping.group_values import subset_sums
from taskgroup_core.matrices import FloatArray


class InfeasibleError(InputError):
    """Limits that no choice of groups meets; `found` names those that stand in the way."""


class NoSolutionError(RuntimeError):
    """The solver stopped before it found any grouping: the message says why and what to do."""


@dataclass(frozen=True)
class Limits:
    """lower[r] <= sum over chosen groups of constant[r, kind] + weight[r, kind, task] over members <= upper[r].

    Parameters
    ----------
    weight, constant : with shapes (r, kinds, n) and (r, kinds).
    lower, upper : with shape (r,); may be infinite.
    """

    weight: FloatArray
    constant: FloatArray
    lower: FloatArray
    upper: FloatArray


@dataclass(frozen=True)
class Selection:
    """The best choice of groups from all sets of up to 20 tasks.

    Parameters
    ----------
    payoff : what a choice earns.
    allowed : which sets may be a group of each kind, with shape (kinds, 2^n).
    limits : linear limits on the choice.
    caps : the most groups of each kind that the limits leave room for.
    distinct : whether one set may be a group of one kind only.
    """

    payoff: Payoff
    allowed: NDArray[np.bool_]
    limits: Limits
    caps: tuple[int, ...]
    distinct: bool

    def reduced(self, cover: FloatArray, rows: FloatArray, weight: float) -> FloatArray:
        """Payoff of every set less what it costs at the prices of tasks and limits; -inf where not allowed."""
        reduced = np.empty(self.allowed.shape)
        for kind, allowed in enumerate(self.allowed):
            cost = subset_sums(rows @ self.limits.weight[:, kind]) + rows @ self.limits.constant[:, kind]
            reduced[kind] = np.where(allowed, self.payoff.reduced(kind, cover, weight) - cost, -np.inf)
        return reduced

    def bound(self, cover: FloatArray, rows: FloatArray, reduced: FloatArray) -> float:
        """An upper bound on every choice by weak duality: true for any prices, however they were found."""
        price = np.concatenate([cover, rows])
        lower = np.concatenate([np.ones(len(cover)), self.limits.lower])
        upper = np.concatenate([np.full(len(cover), self.payoff.cover_upper), self.limits.upper])
        total = float(np.where(price > 0, upper, np.where(price < 0, lower, 0.0)) @ price) if price.any() else 0.0
        best, caps = (reduced.max(axis=0)[None], (sum(self.caps),)) if self.distinct else (reduced, self.caps)
        for row, cap in zip(best, caps, strict=True):
            total += float(np.sort(row[row > 0])[-cap:].sum()) if cap else 0.0
        return total
