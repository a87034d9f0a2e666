"""A first-order solver for GRAD-TAG's relaxation: two blocks, each with a closed-form projection."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike
from scipy.linalg import eigh

from taskgroup_core.errors import InputError
from taskgroup_core.grouping.grouping import check_n_groups
from taskgroup_core.matrices import FloatArray, check_affinity

RELAXATION = 1.8  # over-relaxation; from 1.0 to 1.8 the iterations fell on every instance tried
CHECK_EVERY = 20  # iterations between two looks at the gap, which cost three to four iterations each
# The penalty aims at a dual residual of 5 times the primal one, and moves by STEP when they are 2 times off that: on
# relaxations that are not tight this takes fewer iterations than balanced residuals.
DUAL_WEIGHT, IMBALANCE, STEP = 0.2, 2.0, 1.5
REPAIRS, OVERSHOOT = 3, 1.9  # steps of `_feasible` at each look
EXTRA = 8  # eigenvectors computed beyond the rank of the last X
MOST_OF = 3  # above n / 3 eigenvectors, computing all (divide and conquer) is faster than computing some


@dataclass(frozen=True)
class ADMMResult:
    """An almost optimal pair of points of the relaxation.

    Parameters
    ----------
    relaxation : X, feasible up to rounding, with shape (n, n).
    multipliers : N of the constraints X >= 0, with shape (n, n), in the affinity's unit; see `certify`.
    gap : (upper - lower) / (upper - mean over all relabellings of a partition), the bounds as computed.
    iterations : how many were made.
    converged : whether the gap fell to the tolerance.
    """

    relaxation: FloatArray
    multipliers: FloatArray
    gap: float
    iterations: int
    converged: bool


def solve_admm(
    affinity: xr.DataArray | ArrayLike, n_groups: int, *, tolerance: float = 1e-5, max_iterations: int = 20_000
) -> ADMMResult:
    """Maximise <T, X> over symmetric X with X e = e, trace X = k, X >= 0 entrywise and X positive semidefinite.

    X e = e fixes one eigenvector: X = e e' / n + Y, with Y e = 0, trace Y = k - 1 and eigenvalues from 0 to 1 (rows of
    X sum to 1, so none is larger: the upper limit cuts nothing off and speeds the way to partitions). Projecting on
    that set needs one eigendecomposition, projecting on X >= 0 a clipping: a splitting in two blocks.

    Parameters
    ----------
    affinity : T, with shape (n, n).
    n_groups : k, from 2 to n - 1; for 1 and n only one X is feasible.
    tolerance : the relative gap to stop at.
    max_iterations : the iterations to stop at.

    Raises
    ------
    InputError : an affinity, a number of groups or an option that cannot be used.

    References
    ----------
    GRAD-TAG, Equation (10). S. Boyd et al., Distributed optimization and statistical learning via the alternating
    direction method of multipliers, 2011, sections 3.4.1 (penalty) and 3.4.3 (over-relaxation).
    """
    values = check_affinity(affinity)
    n, k = len(values), check_n_groups(n_groups, len(values))
    if k in (1, n):
        raise InputError("n_groups", str(k), f"Use 2 to {n - 1}: for 1 and n one X is feasible and nothing is solved.")
    if isinstance(tolerance, bool) or not isinstance(tolerance, (int, float)) or not 0 < tolerance < 1:
        raise InputError("tolerance", repr(tolerance), "Use a number between 0 and 1.")
    whole = isinstance(max_iterations, (int, np.integer)) and not isinstance(max_iterations, bool)
    if not whole or max_iterations < 1:
        raise InputError("max_iterations", repr(max_iterations), "Use an integer of at least 1.")
    cost = _off_mean((values + values.T) / 2)
    middle = np.full((n, n), (n - k) / (n * (n - 1)))  # the mean over all relabellings: every entry is positive
    np.fill_diagonal(middle, k / n)
    penalty = float(np.linalg.norm(cost))
    if penalty <= 1e-12 * float(np.abs(values).max()) * n:  # nothing but rounding: every X is optimal
        return ADMMResult(middle, np.zeros((n, n)), 0.0, 0, True)
    base = float(np.vdot(cost, middle))
    clipped, dual, rank = middle, np.zeros((n, n)), k
    best_x, best_n, lower, upper, gap, iteration = middle, dual, base, np.inf, 1.0, 0
    while gap > tolerance and iteration < max_iterations:
        iteration += 1
        x, rank = _project(clipped - dual + cost / penalty, k, rank)
        before, target = clipped, RELAXATION * x + (1 - RELAXATION) * clipped + dual
        clipped = np.maximum(target, 0.0)
        dual = target - clipped  # never positive
        if iteration % CHECK_EVERY and iteration < max_iterations:
            continue
        bound = _bound(cost - penalty * dual, k)
        if bound < upper:
            upper, best_n = bound, -penalty * dual
        point = _feasible(x, middle, k, rank)
        value = float(np.vdot(cost, point))
        if value > lower:
            lower, best_x = value, point
        gap = max(upper - lower, 0.0) / max(upper - base, float(np.finfo(np.float64).tiny))
        primal = float(np.linalg.norm(x - clipped)) / float(np.linalg.norm(x))
        change = DUAL_WEIGHT * float(np.linalg.norm(clipped - before)) / max(float(np.linalg.norm(dual)), 1e-12)
        if max(primal, change) > IMBALANCE * min(primal, change):
            factor = STEP if primal > change else 1 / STEP
            penalty, dual = penalty * factor, dual / factor
    return ADMMResult(best_x, best_n, gap, iteration, gap <= tolerance)


def _off_mean(matrix: FloatArray) -> FloatArray:
    """P A P for a symmetric A, with P the projection off e."""
    rows = matrix.mean(axis=1)
    centred: FloatArray = matrix - (rows[:, None] + (rows - rows.mean())[None, :])
    return centred


def _below(matrix: FloatArray) -> FloatArray:
    """P A P with e moved from eigenvalue 0 to one below all others, so that it is never among the largest."""
    centred = _off_mean(matrix)
    centred -= 2 * float(np.linalg.norm(centred)) / len(centred)
    return centred


def _feasible(x: FloatArray, middle: FloatArray, k: int, rank: int) -> FloatArray:
    """A feasible point near x: steps through X >= 0 and back, then the least step to `middle` that mends the rest.

    Without the steps the last one is longer, and loses most of the gap wherever the relaxation is not tight.
    """
    for _ in range(REPAIRS):
        x, _ = _project(x + OVERSHOOT * (np.maximum(x, 0.0) - x), k, rank)
    part = max(0.0, float((-x / (middle - np.minimum(x, 0.0))).max()))
    point: FloatArray = (1 - part) * x + part * middle
    return point


def _project(matrix: FloatArray, k: int, rank: int) -> tuple[FloatArray, int]:
    """The nearest X with X e = e, trace k and eigenvalues from 0 to 1, and the rank of X - e e' / n."""
    n = len(matrix)
    centred, count = _below(matrix), min(max(rank, k) + EXTRA, n - 1)
    weights = np.ones(1)
    while weights[0] > 0 and count < n:  # a second time where the rank grew: more eigenvectors have a part in X
        if MOST_OF * count < n:
            values, vectors = eigh(centred, subset_by_index=[n - count, n - 1], check_finite=False)
        else:
            values, vectors = eigh(centred, driver="evd", check_finite=False)
            values, vectors, count = values[1:], vectors[:, 1:], n  # the first is e
        weights, count = _weights(values, k - 1), 2 * count
    kept = weights > 0
    basis = vectors[:, kept] * np.sqrt(weights[kept])
    projected: FloatArray = basis @ basis.T
    projected += 1 / n
    return projected, int(kept.sum())


def _weights(values: FloatArray, total: int) -> FloatArray:
    """clip(values - t, 0, 1) with the t that makes their sum `total`; values ascend, and those left out weigh 0."""
    points = np.sort(np.concatenate([values, values - 1]))
    above = np.concatenate([np.cumsum(values[::-1])[::-1], [0.0]])
    upper, lower = np.searchsorted(values, points, "right"), np.searchsorted(values - 1, points, "right")
    n = len(values)
    sums = above[upper] - (n - upper) * points - (above[lower] - (n - lower) * (points + 1))
    after = int(np.searchsorted(-sums, -total, "right"))  # sums fall from n to 0
    first, second = sums[after - 1], sums[min(after, len(sums) - 1)]
    step = (first - total) / (first - second) if first > second else 0.0
    t = points[after - 1] + step * (points[min(after, len(points) - 1)] - points[after - 1])
    weights: FloatArray = np.clip(values - t, 0.0, 1.0)
    return weights


def _bound(matrix: FloatArray, k: int) -> float:
    """Sum of A / n, plus the k - 1 largest eigenvalues of P A P: what `certify` proves, without paying for rounding."""
    n = len(matrix)
    largest = eigh(_below(matrix), eigvals_only=True, subset_by_index=[n - k + 1, n - 1], check_finite=False)
    return float(matrix.sum()) / n + float(largest.sum())
