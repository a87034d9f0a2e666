"""How good an affinity estimate is: the paper's measures, and what noise and trivial predictors reach."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from taskgroup_core.checks import real_array
from taskgroup_core.errors import InputError
from taskgroup_core.matrices import FloatArray, check_affinity, in_order_of, oriented, upright


def _pair(estimate: Any, truth: Any) -> tuple[FloatArray, FloatArray]:
    """Both as numbers of one shape: labelled ones are brought to the order of the truth's dims and names."""
    truth = upright(truth)
    true = real_array(truth, "truth")
    guess = real_array(in_order_of(truth, upright(estimate), "estimate"), "estimate")
    if guess.shape != true.shape:
        raise InputError("estimate", f"shape {guess.shape}", f"Give the shape of the truth, {true.shape}.")
    if np.isnan(true).all():
        raise InputError("truth", "no measured entry", "Measure some.")
    return guess, true


def _both(estimate: Any, truth: Any) -> tuple[FloatArray, FloatArray]:
    """Both matrices; pairs that the truth never measured (NaN) are set to 0 in a copy only for the check."""
    guess, true = _pair(oriented(estimate, "estimate"), oriented(truth, "truth"))
    measured = ~np.isnan(true)
    check_affinity(np.where(measured, true, 0.0), "truth")
    check_affinity(np.where(measured, guess, 0.0), "estimate")
    return guess, true


def relative_distance(estimate: ArrayLike, truth: ArrayLike) -> float:
    """Squared Frobenius norm of T - T* over that of T*: GRAD-TAG's Distance(T, T*), section 5.2.

    The ratio is SQUARED: 0.057 is an error of 24 % in norm.

    Parameters
    ----------
    estimate, truth : affinities with shape (n, n), or scores with shape (m, n); entries that are NaN in the truth were
        not measured and are left out, here and in all measures of this module. Where both are labelled, they are
        compared by dims and names, whatever their order.

    Raises
    ------
    InputError : other shapes, dims or names, values that are no finite reals where the truth is measured, or zeros.
    """
    guess, true = _pair(estimate, truth)
    measured = ~np.isnan(true)
    if not np.isfinite(guess[measured]).all() or not np.isfinite(true[measured]).all():
        raise InputError("estimate, truth", "NaN or infinity where the truth is measured", "Score every entry.")
    if not np.any(true[measured]):
        raise InputError("truth", "only zeros", "The distance is relative to the norm of the truth.")
    return float(((guess - true)[measured] ** 2).sum() / (true[measured] ** 2).sum())


def affine_distance(estimate: ArrayLike, truth: ArrayLike) -> float:
    """`relative_distance` after the best a + b T, b >= 0: for estimates that are not in units of the truth.

    At best the distance of the constant; what it gains on that, the estimate knows of the truth up to scale.

    Parameters
    ----------
    estimate, truth : affinities with shape (n, n).
    """
    guess, true = _both(estimate, truth)
    measured = ~np.isnan(true)
    x, y = guess[measured], true[measured]
    spread = ((x - x.mean()) ** 2).sum()
    # The mean of equal numbers may differ from them in the last digit.
    varies = spread > 1e-24 * (x**2).sum()
    slope = max(0.0, ((x - x.mean()) * y).sum() / spread) if varies else 0.0
    return relative_distance(y.mean() + slope * (guess - x.mean()), true)


def _mean_rank_correlation(first: FloatArray, second: FloatArray, keep: NDArray[np.bool_]) -> float:
    """Mean over rows of Spearman's coefficient on the kept entries; rows where one side is constant count as 0.

    Rows with fewer than 3 kept entries are left out: two entries always give +1 or -1.
    """
    coefficients: list[float] = []
    counts = keep.sum(axis=1)
    for count in np.unique(counts[counts >= 3]):
        rows = counts == count
        ranks = [rankdata(one[rows][keep[rows]].reshape(-1, count), axis=1) for one in (first, second)]
        x, y = (rank - rank.mean(axis=1, keepdims=True) for rank in ranks)
        spread = np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))
        coefficients += np.divide((x * y).sum(axis=1), spread, out=np.zeros(len(x)), where=spread > 0).tolist()
    if not coefficients:
        raise InputError("truth", "no row with 3 measured entries", "Measure more pairs (4 tasks or more).")
    return float(np.mean(coefficients))


def spearman_over_targets(estimate: ArrayLike, truth: ArrayLike) -> float:
    """Spearman's coefficient over targets at a fixed source, mean over sources: GRAD-TAG, C.2.2.

    It rewards knowing which TASK is hard: a predictor that knows each task's average and nothing about partners can
    come close to 1.
    """
    guess, true = _both(estimate, truth)
    return _mean_rank_correlation(guess.T, true.T, ~np.isnan(true.T))


def spearman_over_sources(estimate: ArrayLike, truth: ArrayLike) -> float:
    """Spearman's coefficient over sources at a fixed target, the diagonal included, mean over targets."""
    guess, true = _both(estimate, truth)
    return _mean_rank_correlation(guess, true, ~np.isnan(true))


def partner_spearman(estimate: ArrayLike, truth: ArrayLike) -> float:
    """Spearman's coefficient over sources at a fixed target WITHOUT the diagonal, mean over targets.

    This asks what grouping needs: which PARTNER helps this target. Predictors that are constant over sources get 0.

    Raises
    ------
    InputError : no target with 3 measured partners.
    """
    guess, true = _both(estimate, truth)
    return _mean_rank_correlation(guess, true, ~np.isnan(true) & ~np.eye(len(true), dtype=bool))


def replicate_ceiling(replicates: ArrayLike) -> float:
    """Reliability of the mean of T*'s replicates, on the scale of `partner_spearman`.

    The partner Spearman between the means of two halves of the replicates, averaged over all ways to halve, then
    stepped up from half to full length by Spearman and Brown's formula 2 r / (1 + r). An estimate without any noise
    of its own could reach about the square root of it.

    Parameters
    ----------
    replicates : with shape (R, n, n), R >= 2; with an odd R the halves differ by one.

    Raises
    ------
    InputError : fewer than 2 replicates, or ones that cannot be compared.
    """
    stack = real_array(upright(replicates), "replicates")
    if stack.ndim != 3 or len(stack) < 2:
        raise InputError("replicates", f"shape {stack.shape}", "Give 2 or more replicates, with shape (R, n, n).")
    count = len(stack)
    halves = [half for half in combinations(range(count), count // 2) if count % 2 or 0 in half]
    correlations = []
    for half in halves:
        rest = [index for index in range(count) if index not in half]
        try:
            correlations.append(partner_spearman(stack[list(half)].mean(axis=0), stack[rest].mean(axis=0)))
        except InputError as error:
            raise InputError("replicates", error.found, error.remedy) from error
    return stepped_up(float(np.mean(correlations)), 2)


def stepped_up(reliability: float, factor: float) -> float:
    """The reliability of a mean of `factor` times as many replicates, by Spearman and Brown; 0 where there is none.

    Parameters
    ----------
    reliability : correlation of two independent means of one size.
    factor : new number of replicates over the old one; below 1 steps down.
    """
    return factor * reliability / (1 + (factor - 1) * reliability) if reliability > 0 else 0.0


def trivial_predictors(truth: xr.DataArray, single_task: ArrayLike) -> dict[str, xr.DataArray]:
    """Predictions that know nothing about partners, to be judged beside every estimate.

    Parameters
    ----------
    truth : T*, from which "constant" takes the grand mean and "task mean" each target's mean over partners: both
        know more than any estimator may, which makes them the harder to beat on distance.
    single_task : f({t}, t) with shape (n,), for "single task".

    Returns
    -------
    name -> affinity constant over sources.

    Raises
    ------
    InputError : other dims, other scores than one a task, or a task without a measured pair.
    """
    truth = oriented(truth, "truth")
    true = truth.values
    single = np.asarray(single_task, dtype=np.float64)
    if single.shape != (len(true),) or not np.isfinite(single).all():
        raise InputError("single_task", f"shape {single.shape}", f"Give {len(true)} finite scores.")
    off_diagonal = np.where(np.eye(len(true), dtype=bool), np.nan, true)
    if np.isnan(off_diagonal).all(axis=1).any():
        raise InputError("truth", "a task without a measured pair", "Measure one for every task.")
    levels = {
        "constant": np.full(len(true), np.nanmean(off_diagonal)),
        "task mean": np.nanmean(off_diagonal, axis=1),
        "single task": single,
    }
    return {name: truth.copy(data=np.repeat(level[:, None], len(true), axis=1)) for name, level in levels.items()}
