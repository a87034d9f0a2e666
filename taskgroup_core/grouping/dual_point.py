"""The multipliers of the eigenvalue bound on groups, and the steps of an accelerated descent on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from taskgroup_core.matrices import FloatArray

Steepness = list[float | FloatArray]  # of each part, by which its step is divided


@dataclass
class Point:
    """A dual point, or a slope at one; every part but `cover` of disjoint groups keeps one sign.

    Parameters
    ----------
    cover : price of each task, with shape (n,).
    rows : prices of the programme's rows, >= 0, with shape (r,).
    pairs : N >= 0 of each block, with shape (b, n, n); a block is a kind of group, a range of its sizes, and the
        cluster that leads.
    large, small : multipliers >= 0 of the largest and the smallest size, with shape (b, n).
    lead : multipliers >= 0 of the lead over each cluster, with shape (b, c, n).
    with_another : Z >= 0 of each block: a task is held with another no more often than at all; with shape (b, n, n).
    """

    cover: FloatArray
    rows: FloatArray
    pairs: FloatArray
    large: FloatArray
    small: FloatArray
    lead: FloatArray
    with_another: FloatArray

    def parts(self) -> list[FloatArray]:
        """The parts, in order."""
        return [self.cover, self.rows, self.pairs, self.large, self.small, self.lead, self.with_another]

    @classmethod
    def at_prices(cls, cover: FloatArray, rows: FloatArray, blocks: int, clusters: int) -> Self:
        """The point where all multipliers beside the prices are zero."""
        b, n = blocks, len(cover)
        size, square = np.zeros((b, n)), np.zeros((b, n, n))
        return cls(cover, rows, square, size, size.copy(), np.zeros((b, clusters, n)), square.copy())

    def down(self, slope: Point, step: float, steep: Steepness) -> Point:
        """The point a step down a slope, each part by its own steepness."""
        parts = zip(self.parts(), slope.parts(), steep, strict=True)
        return Point(*(part - step * grown / c for part, grown, c in parts))

    def beyond(self, last: Point, push: float) -> Point:
        """The point further on the way from the last one."""
        return Point(*(new + push * (new - old) for new, old in zip(self.parts(), last.parts(), strict=True)))

    def turns(self, ahead: Point, last: Point, steep: Steepness) -> bool:
        """Whether the step from `ahead` to here goes back on the way from the last point."""
        parts = zip(ahead.parts(), self.parts(), last.parts(), steep, strict=True)
        return sum(float((c * (a - new) * (new - old)).sum()) for a, new, old, c in parts) > 0

    def clip(self, free: bool) -> None:
        """Give every part its sign back; prices of tasks have none where they are free."""
        if not free:
            np.minimum(self.cover, 0.0, out=self.cover)
        for part in self.parts()[1:]:
            np.maximum(part, 0.0, out=part)
