"""A surrogate for T*: a few real trainings, a cheap estimate, and a model of what the two leave open."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from taskgroup_core.affinity.variance_components import MixedModel, fit_mixed_model
from taskgroup_core.errors import InputError
from taskgroup_core.matrices import FloatArray, check_affinity, make_affinity
from taskgroup_core.subsets import Subsets, check_subsets

COMPONENTS = ("target", "source", "pair", "alike", "noise")
Kernels = dict[str, tuple[FloatArray, FloatArray]]


class SurrogateAffinity:
    """The best linear unbiased prediction of pairwise T* from the scores of any subsets that were really trained.

    The model of the score f(S, t) of one training (the partners of t are the other tasks of S, or t itself if alone):

        f(S, t) = mean of T[t, s] over the partners s + noise
        T[t, s] = m + b prior[t, s] + u_t + v_s + w_ts + z_ts

    Here m and b are unknown constants (for b see `belief`). The others are independent normal effects: u_t says how
    easy the target is, v_s how useful the source is to all, w_ts is particular to the pair, and z_ts is what alike
    targets gain from alike sources: its covariance is alike[t, t'] alike[s, s']. The variances of the four, and of the
    noise, are estimated by restricted maximum likelihood: each effect is shrunk as far as the scores ask for.

    Parameters
    ----------
    prior : a cheap estimate T[target, source], in any unit; only the differences within a row count, and the diagonal
        does not. None for none.
    alike : similarity of the tasks as a kernel, symmetric and positive semi-definite with shape (n, n). None for none.
    belief : the correlation with T* that the prior is taken to have, give or take as much, before any training: b is
        drawn towards belief x the standard deviation of the scores about their targets' means, as by one observation
        with that error. With few scores the order of partners is then the prior's. None believes nothing.
    variances : those of "target", "source", "pair", "alike" and "noise" that are known, in squared units of the
        scores; the others are estimated.

    Attributes
    ----------
    affinity_ : the prediction, T[target, source], in the unit of the scores; without any effect of a partner (the
        variances of "source", "pair" and "alike" at zero) it ranks partners as b times the prior does.
    standard_error_ : of each entry of it, the uncertainty of m and b included, that of the variances not.
    variances_ : the five variances, in squared units of the scores.
    slope_ : b, in units of the scores for one standard deviation of the prior; 0 without a prior.

    Raises
    ------
    InputError : (on fit) a prior, a kernel or variances that cannot be used, or too few scores.

    References
    ----------
    C. R. Henderson, Best linear unbiased estimation and prediction under a selection model, Biometrics 31, 1975. That
    a subset scores by the mean of its pairs is the approximation of HOA, see `PairAverage`. Its use here is our own.
    """

    affinity_: xr.DataArray
    standard_error_: xr.DataArray
    variances_: dict[str, float]
    slope_: float

    def __init__(
        self,
        prior: xr.DataArray | ArrayLike | None = None,
        alike: xr.DataArray | ArrayLike | None = None,
        belief: float | None = 0.3,
        variances: Mapping[str, float] | None = None,
    ) -> None:
        self.prior, self.alike, self.belief, self.variances = prior, alike, belief, variances

    def fit(self, scores: xr.DataArray) -> Self:
        """Predict T from the scores of trained subsets, and return self.

        Parameters
        ----------
        scores : one metric of `MultitaskAlgorithm.scores(subsets)`, dims ("subset", "task"). The same subset may occur
            several times, with the scores of several trainings.
        """
        member = check_subsets(scores["member"].values, scores.sizes["task"])
        subset, target = np.nonzero(member)
        y = scores.values[subset, target]
        if len(y) < 3 or not np.ptp(y) > 0:
            raise InputError("scores", f"{len(y)} scores, all alike", "Train subsets that differ.")
        partners = _partners(member[subset], target)
        kernels, fixed = self._kernels(member.shape[1]), self._fixed_effects(member.shape[1])
        X = np.einsum("os,pos->op", partners, fixed[:, target])
        noise, known = np.ones(len(y)), self._known(kernels)
        believed = self._believed(y, target)
        if believed is not None:  # one more observation, of b itself
            y, X = np.append(y, believed), np.vstack([X, [0, 1]])
            partners, target = np.vstack([partners, np.zeros(member.shape[1])]), np.append(target, 0)
            noise, known = np.append(noise, 0), known | {"belief": believed**2}
        observed = {
            name: of_target[np.ix_(target, target)] * (partners @ of_source @ partners.T)
            for name, (of_target, of_source) in kernels.items()
        }
        observed["noise"] = np.diag(noise)
        if believed is not None:
            observed["belief"] = np.diag(1 - noise)
        model = fit_mixed_model(y, X, observed, known)
        mean, error = _predict(model, kernels, fixed, X, partners, target)
        self.variances_ = {name: value for name, value in model.variances.items() if name != "belief"}
        self.slope_ = float(model.fixed[1]) if len(fixed) > 1 else 0.0
        names = scores["task"].values.tolist()
        self.affinity_ = make_affinity(mean, names, method="surrogate", metric=scores.name, subsets=len(member))
        self.standard_error_ = make_affinity(error, names, method="standard error", metric=scores.name)
        return self

    def _believed(self, y: FloatArray, target: NDArray[np.int64]) -> float | None:
        """The slope that is expected before any training, in units of the scores; None where none is."""
        if self.belief is None or self.prior is None:
            return None
        if not 0 < self.belief <= 1:
            raise InputError("belief", str(self.belief), "Use a correlation above 0 and up to 1, or None.")
        counts = np.bincount(target)
        means = np.bincount(target, y) / np.maximum(counts, 1)
        freedom = len(y) - np.count_nonzero(counts)
        within = float(((y - means[target]) ** 2).sum())
        if within <= 1e-12 * len(y) * y.var():  # every target's scores are equal: rounding is no scale
            return float(self.belief * y.std())
        return float(self.belief * np.sqrt(within / freedom))

    def _known(self, kernels: Kernels) -> dict[str, float]:
        known = {name: float(value) for name, value in (self.variances or {}).items()}
        for name, value in known.items():
            if name not in (*kernels, "noise") or not 0 <= value < np.inf:
                found = f"{value:g} for {name!r}"
                raise InputError("variances", found, f"Give finite variances of {', '.join(kernels)} or noise.")
        return known

    def _kernels(self, n_tasks: int) -> Kernels:
        """Covariances of the effects on T[t, s], as products of one between targets and one between sources."""
        same, all_alike = np.eye(n_tasks), np.ones((n_tasks, n_tasks))
        kernels = {"target": (same, all_alike), "source": (all_alike, same), "pair": (same, same)}
        if self.alike is not None:
            alike = _of_size(check_affinity(self.alike, "alike"), n_tasks, "alike")
            values = np.linalg.eigvalsh((alike + alike.T) / 2)
            if not np.allclose(alike, alike.T) or values[0] < -1e-8 * max(1.0, values[-1]):
                raise InputError("alike", "no kernel", "Give a symmetric matrix without negative eigenvalues.")
            kernels["alike"] = (alike, alike)
        return kernels

    def _fixed_effects(self, n_tasks: int) -> FloatArray:
        """What m and b multiply in T, with shape (1 or 2, n, n)."""
        constant = np.ones((1, n_tasks, n_tasks))
        if self.prior is None:
            return constant
        prior = _of_size(check_affinity(self.prior, "prior"), n_tasks, "prior")
        others = ~np.eye(n_tasks, dtype=bool)
        level = (prior * others).sum(axis=1, keepdims=True) / (n_tasks - 1)
        centred = np.where(others, prior - level, 0.0)
        size = np.sqrt((centred**2).sum() / others.sum())
        if not size > 1e-12 * np.abs(prior).max():
            raise InputError("prior", "rows that are constant", "Give an estimate that tells partners apart.")
        return np.concatenate([constant, centred[None] / size])


def _of_size(matrix: FloatArray, n_tasks: int, argument: str) -> FloatArray:
    if len(matrix) != n_tasks:
        raise InputError(argument, f"shape {matrix.shape}", f"Give shape ({n_tasks}, {n_tasks}), as the scores have.")
    return matrix


def _partners(member: Subsets, target: NDArray[np.int64]) -> FloatArray:
    """The weight of each source in each score, with shape (N, n): rows add up to 1."""
    others = member & ~np.eye(member.shape[1], dtype=bool)[target]
    weights = np.where(others.any(axis=1, keepdims=True), others, member).astype(np.float64)
    share: FloatArray = weights / weights.sum(axis=1, keepdims=True)
    return share


def _predict(
    model: MixedModel,
    kernels: Kernels,
    fixed: FloatArray,
    X: FloatArray,
    partners: FloatArray,
    target: NDArray[np.int64],
) -> tuple[FloatArray, FloatArray]:
    """T and its standard errors, each with shape (n, n): one row, hence one target, at a time."""
    mean, error = np.empty(fixed.shape[1:]), np.empty(fixed.shape[1:])
    for row in range(len(mean)):
        cross = sum(
            model.variances[name] * of_target[row, target] * (of_source @ partners.T)
            for name, (of_target, of_source) in kernels.items()
        )
        total = sum(model.variances[name] * of[row, row] * np.diag(by) for name, (of, by) in kernels.items())
        effects = fixed[:, row].T
        mean[row] = effects @ model.fixed + cross @ model.weights
        explained = np.einsum("so,op,sp->s", cross, model.inverse, cross)
        left = effects - cross @ model.inverse @ X
        variance = total - explained + np.einsum("sp,pq,sq->s", left, model.fixed_covariance, left)
        error[row] = np.sqrt(np.maximum(variance, 0))
    return mean, error
