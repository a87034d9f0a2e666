"""Logistic regression with an offset: Eq. (3) and (4) of GRAD-TAG on projected gradients."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from taskgroup_core.affinity.newton import newton
from taskgroup_core.affinity.task_rows import TaskRows
from taskgroup_core.errors import InputError


@dataclass(frozen=True)
class Regression:
    """A solution with shape (d,), the objective there, and how the solver ended."""

    solution: Tensor
    objective: float
    gradient_norm: float
    iterations: int
    converged: bool
    flops: int

    @property
    def status(self) -> str:
        """A sentence a person can act on."""
        if self.converged:
            return f"minimum found in {self.iterations} Newton steps"
        return (
            f"no minimum within {self.iterations} Newton steps (gradient norm {self.gradient_norm:.1e}): "
            "where a hyperplane separates the labels there is none; use a finite C"
        )


def logistic_regression(
    features: Tensor,
    label: Tensor,
    offset: Tensor,
    C: float,
    tolerance: float = 1e-8,
    max_iterations: int = 100,
) -> Regression:
    """Minimise over w the mean of log(1 + exp(-y (g.w + f))) plus |w|^2 / (2 C r), by damped Newton steps.

    With w = W - theta* in the projected space this is Eq. (3), (4): there -y f is called b. The minimum is that of
    scikit-learn's `LogisticRegression(C=C, fit_intercept=False)`, which has no offset.

    Parameters
    ----------
    features : projected gradients g, float64 with shape (r, d).
    label : 0 or 1, with shape (r,).
    offset : outputs f of the network at theta*, float64 with shape (r,); zeros to leave it out.
    C : inverse strength of the L2 penalty, relative to the summed loss; infinity for Eq. (4) as printed.
    tolerance : on the length of the next Newton step, see `newton`.
    max_iterations : Newton steps.

    Raises
    ------
    InputError : C <= 0 or NaN; for the rows see `TaskRows`.

    Deviations
    ----------
    Eq. (4) has no penalty and then no minimum where the rows can be separated, which is the rule once d approaches
    the number of rows. Proposition 3.3 searches within a ball of radius D, which the paper does not give; the
    penalty is the Lagrangian form of that ball.
    """
    if not C > 0:
        raise InputError("C", str(C), "Use a positive number, or infinity for no penalty.")
    rows = TaskRows("binary", features[:, None], offset[:, None], label)
    found = newton([rows], 1 / (C * len(rows)), tolerance, max_iterations)
    converged = found.error <= max(tolerance, 1e-6)
    return Regression(found.solution, found.objective, found.gradient_norm, found.iterations, converged, found.flops)
