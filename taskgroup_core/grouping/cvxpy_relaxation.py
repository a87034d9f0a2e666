"""The semidefinite relaxation through cvxpy, by one of its solvers."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from taskgroup_core.errors import InputError, MissingExtra
from taskgroup_core.matrices import FloatArray


class SolverError(RuntimeError):
    """The solver stopped without a solution; the message holds its status and what to try."""


def solve_by_cvxpy(
    centred: FloatArray, n_groups: int, solver: str, options: dict[str, Any]
) -> tuple[FloatArray, FloatArray, str]:
    """X, the multipliers of X >= 0 in the unit of `centred`, and the solver's status word; see `SDPGrouper`.

    Raises
    ------
    InputError : an option that the solver does not have.
    MissingExtra : cvxpy is not installed.
    SolverError : the solver found no solution.
    """
    try:
        import cvxpy
    except ImportError as error:
        raise MissingExtra("cvxpy", "solve") from error
    cp: Any = cvxpy  # its names are re-exported in ways that a type checker cannot follow
    n = len(centred)
    scale = float(np.abs(centred).max()) or 1.0
    x = cp.Variable((n, n), PSD=True)
    # X is symmetric with a non-negative diagonal already: its strict upper triangle is enough, and half the work.
    constraints = [cp.sum(x, axis=1) == 1, cp.trace(x) == n_groups, cp.upper_tri(x) >= 0]
    problem = cp.Problem(cp.Maximize(cp.sum(cp.multiply(centred / scale, x))), constraints)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Solution may be inaccurate")  # said in status_
            problem.solve(solver=solver, **options)
    except (TypeError, ValueError) as error:  # how the solvers answer an option they do not know, or its value
        raise InputError(
            "solver_options", str(error), f"Use names, types and values of options that {solver} has."
        ) from error
    except cp.error.SolverError as error:
        raise SolverError(f"{solver} failed: {error}. Try the other solver, or give it more iterations.") from error
    if problem.status not in ("optimal", "optimal_inaccurate"):
        raise SolverError(f"{solver} ended with {problem.status!r}. Try the other solver, or give it more iterations.")
    solution: FloatArray = np.asarray(x.value, dtype=np.float64)
    multipliers = np.zeros((n, n))
    multipliers[np.triu_indices(n, 1)] = scale * np.asarray(constraints[2].dual_value).ravel()
    return solution, (multipliers + multipliers.T) / 2, str(problem.status)
