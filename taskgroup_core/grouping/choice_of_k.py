"""How many groups an affinity asks for, if it asks for any: a grouper's gain against pairs dealt out at random."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, clone
from sklearn.metrics import silhouette_score

from taskgroup_core.checks import check_whole, is_number
from taskgroup_core.errors import InputError
from taskgroup_core.grouping.grouping import (
    Grouper,
    Labels,
    average_density,
    check_n_groups,
    check_random_state,
    random_density,
)
from taskgroup_core.matrices import FloatArray, check_affinity
from taskgroup_core.seeds import numpy_generator

FEWEST_TASKS = 4  # with three, a level for each task fits every pair, and nothing is left to deal out
TIE = 1e-9  # excess gains closer than this share of the largest gain are taken as equal


class ChoiceOfK(BaseEstimator):  # type: ignore[misc]
    """Chooses k, or finds no groups, by what a grouper gains on T beyond what it gains on T with its pairs dealt out.

    Average densities of different k cannot be compared: a constant affinity c has density c n / k. What can be is the
    gain G(k) = k (average density - its mean over random relabellings), the sum over groups: of n / s noiseless blocks
    of s tasks, of height 1, it is (k - 1) n (s - 1) / (n - 1) up to k = n / s, the blocks' number, and falls beyond.
    But G grows on noise too, as more groups leave more to choose. So the grouper also groups copies of T in which the
    pairs are dealt out anew, and

        excess(k) = G(k) - mean over copies of G(k),

    is compared over k; for k = 1 it is 0. The k with the largest is taken where that maximum is larger than the same
    maximum of all but a share `level` of the copies; else k is 1: no groups.

    A copy keeps what belongs to one task and deals out what belongs to two: off the diagonal (T + T') / 2 is
    m + a_i + a_j + e_ij by least squares; the e_ij change places among the pairs, are fitted again, since they have
    means of their own now, and scaled to the sum of squares they had. T's diagonal and its m and a_i stay.

    Parameters
    ----------
    grouper : any `Grouper`; its own `n_groups` is not used.
    candidates : the k to compare, from 2 to n; None takes 2 to n / 2.
    draws : number of copies; 1 / (draws + 1) is the smallest p-value there is.
    level : largest p-value at which groups are reported.
    random_state : seed of the copies.

    Attributes
    ----------
    n_groups_ : the k chosen; 1 where nothing speaks for groups.
    p_value_ : share of T and its copies whose largest excess is as large as T's.
    candidates_ : the k compared, ascending, with shape (c,).
    gains_, null_gains_, excess_ : G of T with shape (c,), of the copies with shape (draws, c), and the excess with
        shape (c,), in the affinity's unit.
    silhouettes_ : mean silhouette of T's groups in the distance max T - T, with shape (c,), NaN where it has none: for
        comparison, it takes no part in the choice.
    grouper_ : the grouper, fitted to (T + T') / 2 with k as chosen.
    status_ : a sentence that says what was chosen and why.

    Raises
    ------
    InputError : (on fit) arguments that cannot be used, or fewer than 4 tasks.

    References
    ----------
    The idea of comparing with a reference: R. Tibshirani, G. Walther, T. Hastie, Estimating the number of clusters in
    a data set via the gap statistic, Journal of the Royal Statistical Society B, 2001. The largest statistic over k
    as one test: P. Westfall, S. Young, Resampling-based Multiple Testing, 1993. P. Rousseeuw, Silhouettes, 1987.

    Deviations
    ----------
    1. Ours: the gain over random relabellings in the place of the logarithm of distances within, pairs dealt out in
       the place of points drawn uniformly, the largest excess in the place of the first k within one standard error,
       and k = 1 by a test.
    2. The grouper sees (T + T') / 2, all that the average density sees, so that T and its copies are alike.
    """

    def __init__(
        self,
        grouper: Grouper,
        candidates: Sequence[int] | None = None,
        *,
        draws: int = 19,
        level: float = 0.05,
        random_state: int = 0,
    ) -> None:
        self.grouper = grouper
        self.candidates = candidates
        self.draws = draws
        self.level = level
        self.random_state = random_state

    def fit(self, affinity: xr.DataArray | ArrayLike, y: None = None) -> Self:  # noqa: ARG002
        """Choose k for an affinity.

        Parameters
        ----------
        affinity : T[target, source], labelled or a plain array with shape (n, n).
        y : ignored; here because scikit-learn's conventions ask for it.
        """
        values = check_affinity(affinity)
        self._check(len(values))
        symmetric = (values + values.T) / 2
        generator = numpy_generator(check_random_state(self.random_state), "choice of k")
        copies = [_dealt_out(symmetric, generator) for _ in range(self.draws)]
        fits = [self._fitted(symmetric, int(k)) for k in self.candidates_]
        self.gains_ = np.array([_gain(symmetric, one) for one in fits])
        self.null_gains_ = np.array([[_gain(c, self._fitted(c, int(k))) for k in self.candidates_] for c in copies])
        self.silhouettes_ = np.array([_silhouette(symmetric, one.labels_) for one in fits])
        self.excess_: FloatArray = self.gains_ - self.null_gains_.mean(axis=0)
        # T and its copies are each compared with the mean of the others, so that none is singled out.
        everyone = np.vstack([self.gains_, self.null_gains_])
        largest = (everyone - everyone.mean(axis=0)).max(axis=1) * len(everyone) / self.draws
        tie = TIE * float(np.abs(everyone).max())
        self.p_value_ = float(np.mean(largest >= largest[0] - tie))
        best = int(np.flatnonzero(self.excess_ >= self.excess_.max() - tie)[0])  # of equals the smallest k
        clear = self.p_value_ <= self.level and self.excess_[best] > tie
        self.n_groups_ = int(self.candidates_[best]) if clear else 1
        self.grouper_ = fits[best] if clear else self._fitted(symmetric, 1)
        self.status_ = self._status(int(self.candidates_[best]), clear)
        return self

    def _check(self, n: int) -> None:
        if n < FEWEST_TASKS:
            raise InputError("affinity", f"{n} tasks", f"Use {FEWEST_TASKS} tasks or more: fewer leave nothing to ask.")
        if not isinstance(self.grouper, Grouper):
            raise InputError("grouper", repr(self.grouper), "Use a Grouper, such as SDPGrouper(2).")
        given: Any = range(2, n // 2 + 1) if self.candidates is None else self.candidates
        try:
            numbers = sorted({check_n_groups(k, n) for k in given})
        except (TypeError, InputError):
            numbers = []
        if not numbers or numbers[0] < 2:
            remedy = f"Give one number of groups or more, each an integer from 2 to {n}, or None."
            raise InputError("candidates", repr(given), remedy)
        self.candidates_ = np.array(numbers)
        check_whole("draws", self.draws)
        if not is_number(self.level) or not 1 / (self.draws + 1) <= self.level < 1:
            least = 1 / (self.draws + 1)
            raise InputError("level", repr(self.level), f"Use a number from {least:.3g}, which takes more draws, to 1.")

    def _fitted(self, values: FloatArray, k: int) -> Grouper:
        grouper: Grouper = clone(self.grouper).set_params(n_groups=k)
        return grouper.fit(values)

    def _status(self, best: int, clear: bool) -> str:
        among = f"{len(self.candidates_)} candidates"
        compared = f"largest excess gain at k = {best} among {among}, p = {self.p_value_:.2g}"
        if not clear:
            return f"No groups found ({compared}): dealt-out pairs give as large an excess. k = 1 is reported."
        if best == self.candidates_[-1] and len(self.candidates_) > 1:
            return f"{best} groups ({compared}); it is the largest k compared: try larger ones."
        return f"{best} groups ({compared})."


def _off_levels(symmetric: FloatArray) -> FloatArray:
    """The e_ij of (S)_ij = m + a_i + a_j + e_ij by least squares over i != j, with shape (n, n), 0 on the diagonal."""
    rows = symmetric.sum(axis=1) - np.diag(symmetric)
    level = (rows - rows.mean()) / (len(symmetric) - 2)  # what makes the sum over j of e_ij 0 for every i
    left: FloatArray = symmetric - rows.mean() / (len(symmetric) - 1) - level[:, None] - level[None, :]
    np.fill_diagonal(left, 0.0)
    return left


def _dealt_out(symmetric: FloatArray, generator: np.random.Generator) -> FloatArray:
    """A copy in which what belongs to pairs has changed places; levels of tasks, and the diagonal, have not."""
    left, upper = _off_levels(symmetric), np.triu_indices(len(symmetric), 1)
    dealt = np.zeros_like(left)
    dealt[upper] = generator.permutation(left[upper])
    # Dealt out, the e_ij have levels of their own again, and without these would spread less than T's: on pure noise of
    # six tasks the test then gave 15 % false alarms at a level of 10 %.
    dealt = _off_levels(dealt + dealt.T)
    spread = float(np.linalg.norm(dealt))
    copied: FloatArray = symmetric - left + dealt * (float(np.linalg.norm(left)) / spread if spread > 0 else 0.0)
    return copied


def _gain(values: FloatArray, fitted: Grouper) -> float:
    """The sum of the groups' densities over its mean for random relabellings, for as many groups as were found."""
    k = len(fitted.groups_)
    return k * (average_density(values, fitted.groups_) - random_density(values, k))


def _silhouette(symmetric: FloatArray, labels: Labels) -> float:
    found = len(np.unique(labels))
    if not 1 < found < len(labels):
        return float("nan")
    distances = symmetric.max() - symmetric
    np.fill_diagonal(distances, 0.0)
    return float(silhouette_score(distances, labels, metric="precomputed"))
