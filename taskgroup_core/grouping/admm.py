"""A first-order solver for GRAD-TAG's relaxation: two blocks, each with a closed-form projection."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr
from numpy.typing import ArrayLike
from torch import Tensor

from taskgroup_core.checks import check_whole, is_number
from taskgroup_core.device import resolve_device
from taskgroup_core.errors import InputError
from taskgroup_core.grouping.eigen import largest_eigenpairs, largest_eigenvalues
from taskgroup_core.grouping.grouping import check_n_groups
from taskgroup_core.matrices import FloatArray, check_affinity

RELAXATION = 1.8  # over-relaxation; from 1.0 to 1.8 the iterations fell on every instance tried
CHECK_EVERY = 20  # iterations between two looks at the gap, which cost three to four iterations each
# The penalty aims at a dual residual of 5 times the primal one, and moves by STEP when they are 2 times off that: on
# relaxations that are not tight this takes fewer iterations than balanced residuals.
DUAL_WEIGHT, IMBALANCE, STEP = 0.2, 2.0, 1.5
REPAIRS, OVERSHOOT = 3, 1.9  # steps of `_feasible` at each look
EXTRA = 8  # eigenvectors computed beyond the rank of the last X


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
    affinity: xr.DataArray | ArrayLike,
    n_groups: int,
    *,
    tolerance: float = 1e-5,
    max_iterations: int = 20_000,
    device: str | torch.device = "cpu",
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
    device : where to compute, in float64 everywhere; a GPU pays from some hundred tasks on.

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
    if not is_number(tolerance) or not 0 < tolerance < 1:
        raise InputError("tolerance", repr(tolerance), "Use a number between 0 and 1.")
    check_whole("max_iterations", max_iterations)
    cost = _off_mean(torch.from_numpy((values + values.T) / 2).to(resolve_device(device)))
    middle = torch.full_like(cost, (n - k) / (n * (n - 1)))  # the mean over all relabellings: every entry is positive
    middle.fill_diagonal_(k / n)
    penalty = float(cost.norm())
    if penalty <= 1e-12 * float(np.abs(values).max()) * n:  # nothing but rounding: every X is optimal
        return ADMMResult(middle.cpu().numpy(), np.zeros((n, n)), 0.0, 0, True)
    base = float((cost * middle).sum())
    clipped, dual, rank = middle, torch.zeros_like(cost), k
    best_x, best_n, lower, upper, gap, iteration = middle, dual, base, np.inf, 1.0, 0
    while gap > tolerance and iteration < max_iterations:
        iteration += 1
        x, rank = _project(clipped - dual + cost / penalty, k, rank)
        before, target = clipped, RELAXATION * x + (1 - RELAXATION) * clipped + dual
        clipped = target.clamp_min(0.0)
        dual = target - clipped  # never positive
        if iteration % CHECK_EVERY and iteration < max_iterations:
            continue
        bound = _bound(cost - penalty * dual, k)
        if bound < upper:
            upper, best_n = bound, -penalty * dual
        point = _feasible(x, middle, k, rank)
        value = float((cost * point).sum())
        if value > lower:
            lower, best_x = value, point
        gap = max(upper - lower, 0.0) / max(upper - base, float(np.finfo(np.float64).tiny))
        primal = float((x - clipped).norm()) / float(x.norm())
        change = DUAL_WEIGHT * float((clipped - before).norm()) / max(float(dual.norm()), 1e-12)
        if max(primal, change) > IMBALANCE * min(primal, change):
            factor = STEP if primal > change else 1 / STEP
            penalty, dual = penalty * factor, dual / factor
    return ADMMResult(best_x.cpu().numpy(), best_n.cpu().numpy(), gap, iteration, gap <= tolerance)


def _off_mean(matrix: Tensor) -> Tensor:
    """P A P for a symmetric A, with P the projection off e."""
    rows = matrix.mean(dim=1)
    return matrix - (rows[:, None] + (rows - rows.mean())[None, :])


def _below(matrix: Tensor) -> Tensor:
    """P A P with e moved from eigenvalue 0 to one below all others, so that it is never among the largest."""
    centred = _off_mean(matrix)
    centred -= 2 * float(centred.norm()) / len(centred)
    return centred


def _feasible(x: Tensor, middle: Tensor, k: int, rank: int) -> Tensor:
    """A feasible point near x: steps through X >= 0 and back, then the least step to `middle` that mends the rest.

    Without the steps the last one is longer, and loses most of the gap wherever the relaxation is not tight.
    """
    for _ in range(REPAIRS):
        x, _ = _project(x + OVERSHOOT * (x.clamp_min(0.0) - x), k, rank)
    part = max(0.0, float((-x / (middle - x.clamp_max(0.0))).max()))
    return (1 - part) * x + part * middle


def _project(matrix: Tensor, k: int, rank: int) -> tuple[Tensor, int]:
    """The nearest X with X e = e, trace k and eigenvalues from 0 to 1, and the rank of X - e e' / n."""
    n = len(matrix)
    centred, count = _below(matrix), min(max(rank, k) + EXTRA, n - 1)
    weights = np.ones(1)
    while weights[0] > 0 and count < n:  # a second time where the rank grew: more eigenvectors have a part in X
        values, vectors = largest_eigenpairs(centred, count)
        if len(values) == n:
            values, vectors, count = values[1:], vectors[:, 1:], n  # the first is e
        weights, count = _weights(values.cpu().numpy(), k - 1), 2 * count
    first = int((weights == 0).sum())  # weights ascend with the eigenvalues
    basis = vectors[:, first:] * torch.from_numpy(np.sqrt(weights[first:])).to(vectors)
    projected = basis @ basis.T
    projected += 1 / n
    return projected, len(weights) - first


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


def _bound(matrix: Tensor, k: int) -> float:
    """Sum of A / n, plus the k - 1 largest eigenvalues of P A P: what `certify` proves, without paying for rounding."""
    return float(matrix.sum()) / len(matrix) + float(largest_eigenvalues(_below(matrix), k - 1).sum())
