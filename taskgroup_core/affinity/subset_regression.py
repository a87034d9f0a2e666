"""Logistic regression with an offset: Eq. (3) and (4) of GRAD-TAG on projected gradients."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

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
    offset : outputs f of the network at theta*, with shape (r,); zeros to leave it out.
    C : inverse strength of the L2 penalty, relative to the summed loss; infinity for Eq. (4) as printed.
    tolerance : on the Euclidean norm of the objective's gradient.
    max_iterations : Newton steps.

    Raises
    ------
    InputError : C <= 0, NaN or infinite features, no row, or labels other than 0 and 1.

    Deviations
    ----------
    Eq. (4) has no penalty and then no minimum where the rows can be separated, which is the rule once d approaches
    the number of rows. Proposition 3.3 searches within a ball of radius D, which the paper does not give; the
    penalty is the Lagrangian form of that ball.
    """
    if not C > 0:
        raise InputError("C", str(C), "Use a positive number, or infinity for no penalty.")
    rows, dimension = features.shape
    if not rows or not torch.isfinite(features).all() or not torch.isfinite(offset).all():
        raise InputError("features, offset", "no row, NaN or infinity", "Check the examples and the network.")
    if not ((label == 0) | (label == 1)).all():
        raise InputError("label", "values other than 0 and 1", "Recode the labels.")
    sign, penalty = 2 * label - 1, 1 / (C * rows)

    def objective(w: Tensor) -> Tensor:
        return softplus(-sign * (features @ w + offset)).mean() + 0.5 * penalty * w.square().sum()

    solution = features.new_zeros(dimension)
    value = objective(solution)
    for iteration in range(max_iterations + 1):
        probability = torch.sigmoid(features @ solution + offset)
        gradient = features.T @ (probability - label) / rows + penalty * solution
        norm = float(gradient.norm())
        if norm <= tolerance or iteration == max_iterations:
            break
        curvature = probability * (1 - probability) / rows
        hessian = features.T @ (curvature[:, None] * features)
        # Without a penalty the Hessian may be singular; the floor bends the step a little, never the minimum.
        hessian.diagonal().add_(max(penalty, 1e-12 * float(hessian.diagonal().max())) + 1e-300)
        step = torch.cholesky_solve(gradient[:, None], torch.linalg.cholesky(hessian))[:, 0]
        size, slope = 1.0, float(gradient @ step)
        while (trial := objective(solution - size * step)) > value - 1e-4 * size * slope and size > 1e-10:
            size /= 2
        if size <= 1e-10:  # rounding: the objective cannot be lowered any more
            break
        solution, value = solution - size * step, trial
    flops = iteration * (2 * rows * dimension * (dimension + 3) + dimension**3 // 3)
    # A vanishing gradient proves no minimum when every row lies on its label's side of the hyperplane: scale w up.
    separated = penalty == 0 and bool((sign * (features @ solution) > 0).all())
    return Regression(solution, float(value), norm, iteration, norm <= max(tolerance, 1e-6) and not separated, flops)
