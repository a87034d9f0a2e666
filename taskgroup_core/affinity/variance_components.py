"""Linear models with correlated random effects whose variances are estimated by restricted maximum likelihood."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import scipy.linalg
from scipy.optimize import minimize

from taskgroup_core.errors import InputError
from taskgroup_core.matrices import FloatArray

SMALLEST, LARGEST = 1e-6, 1e3  # of an estimated variance, in units of the variance of y


@dataclass(frozen=True)
class MixedModel:
    """A fitted model.

    Parameters
    ----------
    variances : by the names of the kernels.
    fixed : b with shape (p,), and `fixed_covariance` with shape (p, p).
    inverse : of the covariance V of y, with shape (N, N).
    weights : V^-1 (y - X b) with shape (N,): what best predictions are made of.
    """

    variances: dict[str, float]
    fixed: FloatArray
    fixed_covariance: FloatArray
    inverse: FloatArray
    weights: FloatArray


def fit_mixed_model(
    y: FloatArray, X: FloatArray, kernels: Mapping[str, FloatArray], known: Mapping[str, float]
) -> MixedModel:
    """Fit y = X b + normal errors with covariance V = the sum over kernels of variance x kernel.

    Time grows with N cubed: seconds at N = 1,000.

    Parameters
    ----------
    y : observations with shape (N,), not all equal.
    X : fixed effects with shape (N, p).
    kernels : name -> positive semi-definite matrix with shape (N, N); the noise's is the identity.
    known : variances that are not estimated.

    Raises
    ------
    InputError : fewer than p + 2 observations, columns of X that cannot be told apart, or known variances that
        leave V singular.

    References
    ----------
    Patterson and Thompson, Biometrika 58, 1971: the likelihood of what is left after X, which does not favour small
    variances as the full likelihood does.
    """
    if len(y) < X.shape[1] + 2 or np.linalg.matrix_rank(X) < X.shape[1]:
        raise InputError("scores", f"{len(y)} scores, too few or too much alike to fit", "Train more subsets.")
    spread = float(np.var(y))
    free = [name for name in kernels if name not in known]
    fixed_part = sum((known[name] * kernels[name] for name in known), np.zeros((len(y),) * 2))

    def covariance(logarithms: FloatArray) -> FloatArray:
        return sum((np.exp(v) * kernels[name] for v, name in zip(logarithms, free, strict=True)), fixed_part)

    def objective(logarithms: FloatArray) -> tuple[float, FloatArray]:
        try:
            V = _Solved(y, X, covariance(logarithms))
        except np.linalg.LinAlgError:
            return np.inf, np.zeros(len(free))
        slopes = [
            0.5 * np.exp(v) * ((V.projection * kernels[name]).sum() - V.weights @ kernels[name] @ V.weights)
            for v, name in zip(logarithms, free, strict=True)
        ]
        return V.negative_log_likelihood, np.array(slopes)

    best = np.full(len(free), np.log(spread / max(1, len(kernels))))
    if free:
        limits = [(np.log(spread * SMALLEST), np.log(spread * LARGEST))] * len(free)
        best = minimize(objective, best, jac=True, method="L-BFGS-B", bounds=limits).x
    try:
        solved = _Solved(y, X, covariance(best))
    except np.linalg.LinAlgError as error:
        raise InputError("variances", "a singular covariance of the scores", "Give the noise a variance.") from error
    variances = dict(known) | dict(zip(free, np.exp(best).tolist(), strict=True))
    return MixedModel(
        {name: float(variances[name]) for name in kernels},
        solved.fixed,
        solved.fixed_covariance,
        solved.inverse,
        solved.weights,
    )


class _Solved:
    """The generalised least squares of one covariance V."""

    def __init__(self, y: FloatArray, X: FloatArray, V: FloatArray) -> None:
        factor = np.linalg.cholesky(V)
        self.inverse = scipy.linalg.cho_solve((factor, True), np.eye(len(y)))
        left = self.inverse @ X
        information = X.T @ left
        self.fixed_covariance = np.linalg.inv(information)
        self.fixed = self.fixed_covariance @ (left.T @ y)
        self.projection = self.inverse - left @ self.fixed_covariance @ left.T
        self.weights = self.projection @ y  # equals V^-1 (y - X b)
        self.negative_log_likelihood = float(
            np.log(np.diag(factor)).sum() + 0.5 * (np.linalg.slogdet(information)[1] + y @ self.weights)
        )
