"""The two ways a choice of groups is paid for, as columns of a linear programme: every group, or every task once."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from taskgroup_core.grouping.group_values import Masks, holding, members_of, subset_sums
from taskgroup_core.matrices import FloatArray

Served = tuple[NDArray[np.int64], NDArray[np.int64], FloatArray]


class Payoff(Protocol):
    """What a programme that chooses groups earns; `weight` scales it (0 asks for feasibility alone).

    Attributes
    ----------
    n_tasks : n.
    largest : largest absolute payoff of a set, for scaling.
    cover_upper : how often a task may be covered at most; at least once is always asked for.
    column_upper : upper bound on a column of the linear programme.
    """

    n_tasks: int
    largest: float
    cover_upper: float
    column_upper: float

    def reduced(self, kind: int, prices: FloatArray, weight: float) -> FloatArray:
        """Payoff of every set less the price of the tasks it covers, with shape (2^n,)."""

    def columns(self, kind: int, masks: Masks, prices: FloatArray, weight: float) -> tuple[FloatArray, FloatArray]:
        """The tasks that each set covers at these prices, with shape (n, m), and its payoff, with shape (m,)."""

    def served(self, kinds: Masks, masks: Masks) -> Served | None:
        """Place in `masks`, task and gain of each way to serve a task; None where groups are paid, not tasks."""


class WholeGroups:
    """A chosen group earns its value, whichever tasks are in other groups as well.

    Parameters
    ----------
    values : value of every set, with shape (2^n,).
    disjoint : whether a task must be in exactly one group.
    """

    column_upper = 1.0  # a group chosen once: this is what keeps the relaxation from repeating the best group

    def __init__(self, values: FloatArray, *, disjoint: bool) -> None:
        self.values = values
        self.n_tasks = len(values).bit_length() - 1
        self.largest = float(np.abs(values).max())
        self.cover_upper = 1.0 if disjoint else np.inf

    def reduced(self, kind: int, prices: FloatArray, weight: float) -> FloatArray:  # noqa: ARG002
        """See `Payoff`."""
        return weight * self.values - subset_sums(prices)

    def columns(self, kind: int, masks: Masks, prices: FloatArray, weight: float) -> tuple[FloatArray, FloatArray]:  # noqa: ARG002
        """See `Payoff`: a group covers all its members."""
        return members_of(masks, self.n_tasks).T.astype(np.float64), weight * self.values[masks]

    def served(self, kinds: Masks, masks: Masks) -> None:  # noqa: ARG002
        """None: groups are paid."""
        return


class ServedTasks:
    """Every task earns its gain in the one chosen group that serves it.

    Parameters
    ----------
    gains : for each kind of group, the gain of each task in every set that holds it, with shape (kinds, n, 2^n).
    """

    cover_upper = 1.0
    column_upper = np.inf  # a group chosen twice earns nothing more

    def __init__(self, gains: FloatArray) -> None:
        self.gains = gains
        self.n_tasks = gains.shape[1]
        self.largest = self.n_tasks * max(float(gains.max()), -float(gains.min()))

    def reduced(self, kind: int, prices: FloatArray, weight: float) -> FloatArray:
        """See `Payoff`: a group serves the members whose gain is above their price."""
        total = np.zeros(1 << self.n_tasks)
        for task, price in enumerate(prices):
            part = holding(total, task)
            part += np.maximum(weight * holding(self.gains[kind][task], task) - price, 0.0)
        return total

    def columns(self, kind: int, masks: Masks, prices: FloatArray, weight: float) -> tuple[FloatArray, FloatArray]:
        """See `Payoff`."""
        gains = weight * self.gains[kind][:, masks]
        cover = ((gains > prices[:, None]) & members_of(masks, self.n_tasks).T).astype(np.float64)
        return cover, (gains * cover).sum(axis=0)

    def served(self, kinds: Masks, masks: Masks) -> Served:
        """See `Payoff`."""
        place, task = np.nonzero(members_of(masks, self.n_tasks))
        return place, task, self.gains[kinds[place], task, masks[place]]
