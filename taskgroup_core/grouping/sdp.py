"""GRAD-TAG's grouping: a semidefinite relaxation of the average density, rounded to groups."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from taskgroup_core.errors import InputError
from taskgroup_core.grouping.admm import solve_admm
from taskgroup_core.grouping.certificate import Certificate, certify
from taskgroup_core.grouping.cvxpy_relaxation import solve_by_cvxpy
from taskgroup_core.grouping.grouping import Grouper, Labels, average_density, random_density
from taskgroup_core.grouping.local_search import round_by_local_search
from taskgroup_core.grouping.rounding import Rounding, round_by_average_linkage, round_by_threshold
from taskgroup_core.matrices import FloatArray

# Interior points (Clarabel) are more accurate, but each step factors a system in the n (n + 1) / 2 entries of X;
# splitting takes more, cheap steps. On two cores the first stays well below a second up to about here.
LARGEST_FOR_CLARABEL = 30
PROVED = 1e-4  # the certified gap up to which groups count as proved best
DEFAULT_OPTIONS: dict[str, dict[str, Any]] = {
    # At its own 1e-8 Clarabel gives up on every tenth planted instance with n from 16 to 30 ("optimal_inaccurate").
    "CLARABEL": {"tol_gap_abs": 1e-7, "tol_gap_rel": 1e-7, "tol_feas": 1e-7},
    "SCS": {"eps_abs": 1e-6, "eps_rel": 1e-6, "max_iters": 50_000},
    "ADMM": {"tolerance": 1e-6, "max_iterations": 20_000},
}
ROUNDINGS: dict[str, Callable[[FloatArray, int, FloatArray], Rounding]] = {
    "threshold": lambda relaxation, n_groups, _: round_by_threshold(relaxation, n_groups),
    "average_linkage": lambda relaxation, n_groups, _: round_by_average_linkage(relaxation, n_groups),
    "local_search": round_by_local_search,
}


class SDPGrouper(Grouper):
    """Groups by the semidefinite relaxation of the average density.

    Solves: maximise <T, X> over symmetric X with X e = e, trace X = k, X >= 0 entrywise, X positive semidefinite.
    Every partition into k groups is a feasible X, so the maximum over k is an upper bound on every partition's average
    density. X is then rounded. On a symmetric X, <T, X> sees only (T + T') / 2: how good source j is for target i and
    target j's gain from i count as their mean. A constant added to a row or a column of T moves the objective of every
    X alike, so the groups depend on neither a task's own mean as target nor as source; row SCALES do matter.

    Parameters
    ----------
    n_groups : k, from 1 to n.
    solver : "CLARABEL", "SCS" or "ADMM" (this package's own, see `solve_admm`: no cvxpy needed, and the fastest from
        n = 100 on); None takes Clarabel up to n = 30 (more accurate) and ADMM beyond (far faster there).
    rounding : "threshold" (the paper's), "average_linkage", or "local_search" (ours: the better of both, improved).
    solver_options : passed to the solver, over this module's `DEFAULT_OPTIONS`; for example {"max_iters": 100_000},
        or {"device": "cuda"} for ADMM.

    Attributes
    ----------
    relaxation_ : X, with shape (n, n).
    relaxation_objective_ : <T, X> / k, in the affinity's unit, comparable with `objective_`.
    bound_ : the same number read as an upper bound on every partition into k groups: true up to the solver's accuracy
        only.
    certificate_ : the `Certificate` made from the solver's dual solution: a proof for <T, X>, rounding errors included.
    certified_bound_ : what it proves of the average density of every partition into k groups, whatever the solver did.
    certified_gap_ : the gap below, with `certified_bound_` in the place of `bound_`: never below 0, and 0 = proved.
        What `status_` says of the groups rests on it.
    gap_ : (bound - objective) / (bound - expected density of a random relabelling of any partition into k groups):
        0 = as good as the solver's X, 1 = no better than random; unchanged when T is shifted or scaled; may lie below 0
        by the solver's accuracy, and proves nothing; 0 where T gives nothing to gain.
    rounding_ : the `Rounding`.
    solver_status_ : the solver's own word, "optimal" or "optimal_inaccurate"; "closed_form" where k is 1 or n.
    grouping_, groups_, labels_, objective_, status_ : see `Grouper`.

    Raises
    ------
    InputError : (on fit) arguments that cannot be used.
    MissingExtra : (on fit) cvxpy is not installed.
    SolverError : (on fit) the solver found no solution.

    References
    ----------
    GRAD-TAG, Section 4, Equations (7) to (10). The same relaxation, for the inner products of k-means: J. Peng, Y. Wei,
    Approximating k-means-type clustering via semidefinite programming, SIAM Journal on Optimization, 2007.

    Deviations
    ----------
    1. The solver sees T symmetrised, with the constants of rows and columns removed, and scaled to entries within
       [-1, 1]: the same X, better conditioned. Results are reported in T's own unit.
    2. The rounding: see `round_by_threshold`.
    """

    def __init__(
        self,
        n_groups: int,
        *,
        solver: str | None = None,
        rounding: str = "threshold",
        solver_options: Mapping[str, Any] | None = None,
    ) -> None:
        self.n_groups = n_groups
        self.solver = solver
        self.rounding = rounding
        self.solver_options = solver_options

    def _group(self, values: FloatArray, n_groups: int) -> tuple[Labels, str]:
        n = len(values)
        if self.rounding not in list(ROUNDINGS):
            raise InputError("rounding", repr(self.rounding), f"Use one of {', '.join(ROUNDINGS)}.")
        if self.solver is not None and self.solver not in list(DEFAULT_OPTIONS):
            raise InputError("solver", repr(self.solver), f"Use one of {', '.join(DEFAULT_OPTIONS)}, or None.")
        if self.solver_options is not None and not isinstance(self.solver_options, Mapping):
            raise InputError("solver_options", repr(self.solver_options), "Use a dictionary, or None.")
        solver = self.solver or ("CLARABEL" if n <= LARGEST_FOR_CLARABEL else "ADMM")
        centred = _centred(values)
        multipliers = np.zeros((n, n))
        if n_groups in (1, n):  # one feasible point, and no interior for a solver to walk in
            self.relaxation_ = np.eye(n) if n_groups == n else np.full((n, n), 1 / n)
            self.solver_status_, told = "closed_form", f"With k = {n_groups} and n = {n} only one X is feasible"
        else:
            options = DEFAULT_OPTIONS[solver] | dict(self.solver_options or {})
            solve = _solve_admm if solver == "ADMM" else solve_by_cvxpy
            self.relaxation_, multipliers, self.solver_status_ = solve(centred, n_groups, solver, options)
            told = f"{solver} reports {self.solver_status_}"
        # <T, X> = <centred T, X> + n mean(T) because X e = e; this form does not multiply T's offset by X's error.
        offset = n * float(values.mean())
        self.relaxation_objective_ = (float(np.vdot(centred, self.relaxation_)) + offset) / n_groups
        self.bound_ = self.relaxation_objective_
        self.certificate_: Certificate = certify(values, n_groups, multipliers)
        self.certified_bound_ = math.nextafter(self.certificate_.bound / n_groups, math.inf)
        self.rounding_: Rounding = ROUNDINGS[self.rounding](self.relaxation_, n_groups, values)
        groups = [np.flatnonzero(self.rounding_.labels == group).tolist() for group in range(n_groups)]
        random, density = random_density(values, n_groups), average_density(values, groups)
        nothing = 1e-9 * float(np.abs(centred).max()) + 4 * self.certificate_.rounding_error / n_groups
        self.gap_, self.certified_gap_ = (
            0.0 if bound - random <= nothing else (bound - density) / (bound - random)
            for bound in (self.bound_, self.certified_bound_)
        )
        return self.rounding_.labels, f"{told}. Rounding: {self.rounding_.reason}. {self._advice()}"

    def _advice(self) -> str:
        left = f"{100 * self.certified_gap_:.2g} % of what the certified bound gains over random groups"
        if self.certified_gap_ <= PROVED:
            return (
                "The groups reach the certified bound: no partition has a higher average density, up to "
                f"{100 * PROVED:.2g} % of the gain over random groups."
            )
        if self.solver_status_ == "optimal_inaccurate":
            return (
                "The solver stopped short of its tolerance: bound_ and gap_ are rough. The certified bound holds all "
                f"the same, and the groups give up at most {left}; try another solver or more iterations."
            )
        if self.gap_ <= PROVED:
            return (
                f"The groups reach the solver's value; proved is that they give up at most {left}. A smaller tolerance "
                "may prove them best."
            )
        return (
            f"The groups give up at most {left}: the relaxation is not tight or the rounding lost something; compare "
            "with another rounding or grouper."
        )


def _centred(values: FloatArray) -> FloatArray:
    """The part of T that can change the solution: symmetric, with the constants of rows and columns removed."""
    symmetric = (values + values.T) / 2
    rows = symmetric.mean(axis=1)
    centred: FloatArray = symmetric - rows[:, None] - rows[None, :] + rows.mean()
    return centred


def _solve_admm(
    centred: FloatArray, n_groups: int, solver: str, options: dict[str, Any]
) -> tuple[FloatArray, FloatArray, str]:
    """X, the multipliers of X >= 0, and a status word as cvxpy's."""
    try:
        result = solve_admm(centred, n_groups, **options)
    except TypeError as error:
        raise InputError("solver_options", str(error), f"Use names of options that {solver} has.") from error
    return result.relaxation, result.multipliers, "optimal" if result.converged else "optimal_inaccurate"
