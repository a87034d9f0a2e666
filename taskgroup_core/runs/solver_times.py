"""Times of two solvers of the relaxation at equal accuracy, in one process, one after the other."""

from __future__ import annotations

from dataclasses import dataclass
from time import process_time
from typing import Any

import numpy as np

from taskgroup_core.grouping.grouping import random_density
from taskgroup_core.grouping.sdp import SDPGrouper
from taskgroup_core.matrices import FloatArray

SCS_TOLERANCES = (1e-4, 1e-5, 1e-6, 1e-7)


@dataclass(frozen=True)
class SolverTimes:
    """CPU seconds of our solver and of SCS through cvxpy until both were as accurate as asked.

    Parameters
    ----------
    ours, scs : CPU seconds of all threads; infinity where SCS never got there.
    our_error, scs_error : the accuracy reached.
    scs_tolerance : the largest of `SCS_TOLERANCES` at which SCS was as accurate as asked, or the smallest of all.
    """

    ours: float
    scs: float
    our_error: float
    scs_error: float
    scs_tolerance: float

    @property
    def ratio(self) -> float:
        """SCS's time over ours."""
        return self.scs / self.ours


def solver_times(values: FloatArray, k: int, accuracy: float = 1e-4) -> SolverTimes:
    """Solve with both, each certificate included.

    Accuracy is measured alike for both: the larger of how far <T, X> and the certified bound lie from the optimum, as a
    share of what the optimum gains over random groups. SCS runs at looser and then tighter tolerances until it is as
    accurate as asked, and only that run is counted; that its X is not quite feasible is not held against it. What
    cvxpy takes to be imported, and to translate the problem, is in the first call's time and in every call's time.

    Parameters
    ----------
    values : T, with shape (n, n).
    k : the number of groups.
    accuracy : asked of both.

    Raises
    ------
    MissingExtra : cvxpy is not installed.
    """
    optimum = _timed(values, k, "ADMM", tolerance=accuracy / 10)[0].relaxation_objective_
    gain = optimum - random_density(values, k)

    def error(grouper: SDPGrouper) -> float:
        ends = grouper.relaxation_objective_, grouper.certified_bound_
        return max(abs(end - optimum) for end in ends) / gain

    ours, seconds = _timed(values, k, "ADMM", tolerance=accuracy)
    for eps in SCS_TOLERANCES:
        scs, longer = _timed(values, k, "SCS", eps_abs=eps, eps_rel=eps)
        if error(scs) <= accuracy:
            return SolverTimes(seconds, longer, error(ours), error(scs), eps)
    return SolverTimes(seconds, np.inf, error(ours), error(scs), eps)


def _timed(values: FloatArray, k: int, solver: str, **options: Any) -> tuple[SDPGrouper, float]:
    start = process_time()
    grouper = SDPGrouper(k, solver=solver, solver_options=options, rounding="average_linkage").fit(values)
    return grouper, process_time() - start
