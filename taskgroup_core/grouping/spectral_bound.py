"""An upper bound on a choice of groups from eigenvalues: it sees that pairs must agree, which single rows do not."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from taskgroup_core.grouping.dual_point import Point, Steepness
from taskgroup_core.grouping.large_problem import LargeProgramme
from taskgroup_core.grouping.row_bound import RowBound
from taskgroup_core.matrices import FloatArray

SMOOTHING = ((0.02, 200), (0.005, 400), (0.002, 400))  # share of the largest eigenvalue, and iterations at it
LED = ((0.01, 150), (0.003, 800), (0.0012, 150))  # the same where groups are told apart by the cluster that leads them
NARROW = 0.015  # so much may s / (s - 1) differ within a range of sizes that is bounded as one
WORK = 2.5e10  # n^3 for each matrix and iteration: half a minute on one core of 2020
CHECK_EVERY = 20  # iterations between two looks at the bound
LONGER = 12  # times the step that surely goes down, with leads: far too short a one, and any point bounds
UNIT = np.finfo(np.float64).eps


class SpectralBound:
    """A group x of size s in [a, b] adds w x'Tx / s - q'x, at most the largest eigenvalue of

        w (T + T') / 2 + N - (q e' + e q') / 2 + diag(b u - a v) - (u e' + e u') / 2 + (v e' + e v') / 2

    + diag(Z e) - (Z + Z') / 2 for all N, u, v, Z >= 0: x'x = s, x' (diag(b u) - u e') x = (b - s) u'x >= 0, as for v,
    and x' (diag(Z e) - Z) x = sum of Z_ij x_i (1 - x_j) >= 0. w is 1 for the divisor |G|, s / (s - 1) for |G| - 1,
    where narrow ranges [a, b] are bounded apart, each by its two ends because the largest eigenvalue is convex in w.

    A cluster F leads x if no other has more members in it: then x'(e_F - e_C) >= 0 for every cluster C, and with r >= 0
    ((e_F - e_C) r' + r (e_F - e_C)') / 2 may be added. Some cluster leads every group, so the largest bound over all
    leads holds. Without leads, the bound is that of a mixture of clusters, each with the tasks its noise favours.

    Weak duality turns this into a bound on every choice; with cover prices of either sign, its minimum is that of
    GRAD-TAG's semidefinite relaxation. It is sought by accelerated gradient steps on a smoothed maximum, and holds
    wherever they stop.

    Parameters
    ----------
    problem : the choice to be made, its groups paid as wholes.
    by_rows : the `RowBound` of the same problem; the smaller of the two counts for each size.
    ranges : sizes (from, to) of each kind that the eigenvalue bounds; all others are left to `by_rows`.
    labels : a cluster of each task, with shape (n,), to bound groups by the cluster that leads; None for no leads.

    References
    ----------
    Y. Nesterov, Smoothing technique and its applications in semidefinite optimization, 2007.
    """

    def __init__(
        self,
        problem: LargeProgramme,
        by_rows: RowBound,
        ranges: list[tuple[int, int]],
        labels: NDArray[np.int64] | None = None,
    ) -> None:
        self.problem, self.by_rows = problem, by_rows
        labels = np.zeros(len(problem.values), dtype=np.int64) if labels is None else labels
        clusters = np.equal.outer(np.unique(labels), labels).astype(np.float64)
        self.leads = len(clusters)
        whole = problem.divisor == "size"
        parts = [[one] if whole else _split(*one) for one in ranges]
        each = range(self.leads)
        blocks = [(kind, *part, lead) for kind, some in enumerate(parts) for part in some for lead in each]
        self.kind, low, high, lead = np.array(blocks, dtype=np.int64).reshape(-1, 4).T
        self.before = clusters[lead][:, None] - clusters  # [block, cluster, task]
        self.low, self.high = low[:, None].astype(np.float64), high[:, None].astype(np.float64)
        ends = [(i, size) for i, (_, a, b, _) in enumerate(blocks) for size in ([b] if whole else sorted({a, b}))]
        self.block, sizes = np.array(ends, dtype=np.int64).reshape(-1, 2).T
        weights = np.ones(len(ends)) if whole else sizes / (sizes - 1.0)
        symmetric = (problem.values + problem.values.T) / 2
        self.pays = weights[:, None, None] * symmetric
        self.scale = float(np.abs(np.linalg.eigvalsh(symmetric)).max()) or 1.0
        self.best, self.prices, self.relaxation = np.inf, (np.zeros(0), np.zeros(0)), symmetric

    def minimise(self, cover: FloatArray, rows: FloatArray, deadline: float, enough: float = -np.inf) -> None:
        """Go down from these prices of tasks and rows; the lowest bound met is kept with its prices.

        Stops at the deadline, or when a bound is low enough.
        """
        n, b, led, free = len(cover), len(self.low), self.leads > 1, self.problem.overlap == "none"
        at = Point.at_prices(cover, rows, b, self.leads)
        weights = self.problem.rows[0]
        steep: Steepness = [
            n / 2,
            1 + n * (weights**2).sum(axis=(1, 2)) / 2,
            4.0 if led else 1.0,
            2 * self.high**2,
            n / 2 + self.low**2,
            max(3.0 * float((self.before**2).sum(axis=2).max()), 1.0),
            1.5 * n,
        ]
        stages = LED if led else SMOOTHING
        most = max(int(WORK / (len(self.pays) * n**3)) // len(stages), CHECK_EVERY)
        for share, iterations in stages:
            smoothing = share * self.scale
            ahead, inertia = at, 1.0
            for iteration in range(min(iterations, most)):
                eigenvalues, slope = self._slope(ahead, smoothing)
                if iteration % CHECK_EVERY == 0:
                    self._look(ahead, eigenvalues, slope)
                    if time.perf_counter() >= deadline or self.best <= enough:
                        return
                step = (LONGER if led else 1) * smoothing / self.problem.counts.max()
                moved = ahead.down(slope, step, steep)
                moved.clip(free)
                if moved.turns(ahead, at, steep):
                    inertia = 1.0  # begin anew
                faster = (1 + np.sqrt(1 + 4 * inertia**2)) / 2
                ahead = moved.beyond(at, (inertia - 1) / faster)
                ahead.clip(free)
                at, inertia = moved, faster
        self._look(at, *self._slope(at, smoothing))

    def _slope(self, point: Point, smoothing: float) -> tuple[FloatArray, Point]:
        """The largest eigenvalue of each block, rounding paid, and the slope of the smoothed bound."""
        problem, n, task = self.problem, len(point.cover), np.arange(len(point.cover))
        weights = problem.rows[0][:, self.kind]
        linear = point.cover + np.einsum("r,rbt->bt", point.rows, weights) + point.large - point.small
        rest = point.pairs - (linear[:, :, None] + linear[:, None, :]) / 2
        rest[:, task, task] += self.high * point.large - self.low * point.small
        rest[:, task, task] += point.with_another.sum(axis=2)
        led = self.before.transpose(0, 2, 1) @ point.lead - point.with_another
        rest += (led + led.transpose(0, 2, 1)) / 2
        matrix = self.pays + rest[self.block]
        values, vectors = np.linalg.eigh(matrix)
        of, kinds = self.kind[self.block], len(problem.counts)
        top = np.full(kinds, -np.inf)
        np.maximum.at(top, of, values[:, -1])
        share = np.exp((values - top[of, None]) / smoothing)
        share *= (problem.counts / np.bincount(of, share.sum(axis=1), kinds).clip(UNIT))[of, None]
        x = np.zeros_like(rest)
        np.add.at(x, self.block, (vectors * share[:, None]) @ vectors.transpose(0, 2, 1))
        held, diagonal = x.sum(axis=2), x[:, task, task]
        slope = Point(
            1 - held.sum(axis=0),
            problem.rows[1] - np.einsum("rbt,bt->r", weights, held),
            x,
            self.high * diagonal - held,
            held - self.low * diagonal,
            self.before @ x,
            diagonal[:, :, None] - x,
        )
        # LAPACK's eigenvalues are those of a matrix within a small multiple of n units of rounding of the one given,
        # whose entries are sums that may be larger than they are.
        summed = np.abs(linear).sum(axis=1) + point.lead.sum(axis=(1, 2)) + point.with_another.sum(axis=(1, 2))
        summed += (self.high * (point.large + point.small)).sum(axis=1)
        size = np.sqrt((matrix**2).sum(axis=(1, 2))) + summed[self.block]
        largest = np.full(len(rest), -np.inf)
        np.maximum.at(largest, self.block, values[:, -1] + 10 * n * UNIT * size)
        return largest, slope

    def _look(self, point: Point, eigenvalues: FloatArray, slope: Point) -> None:
        """Keep the bound at a point, if it is the lowest so far."""
        bound = self.by_rows.bound(point.cover, point.rows, self.cap(eigenvalues))
        if bound < self.best:
            self.best, self.prices = bound, (point.cover.copy(), point.rows.copy())
            self.relaxation = slope.pairs.sum(axis=0)

    def cap(self, eigenvalues: FloatArray) -> FloatArray:
        """What the eigenvalues say of a group of each kind and size, infinite outside the ranges; (kinds, n)."""
        cap = np.full((len(self.problem.counts), len(self.problem.values)), np.inf)
        first = slice(None, None, self.leads)  # blocks that differ in who leads follow one another
        worst, low, high = eigenvalues.reshape(-1, self.leads).max(axis=1), self.low[first, 0], self.high[first, 0]
        for kind, a, b, value in zip(self.kind[first], low, high, worst, strict=True):
            cap[kind, int(a) - 1 : int(b)] = value
        return cap


def _split(low: int, high: int) -> list[tuple[int, int]]:
    """Ranges of sizes, each with s / (s - 1) alike within NARROW; a single task's value needs no bound but its row."""
    parts, first = [], max(low, 2)
    while first <= high:
        last = first
        while last < high and first * last <= (1 + NARROW) * (first - 1) * (last + 1):
            last += 1
        parts.append((first, last))
        first = last + 1
    return parts
