"""GRAD-TAE by one Gauss-Newton step in all p parameters, without a projection (GRAD-TAG, Remark 3.1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import grad, jvp, vjp

from taskgroup_core.affinity.ensemble import EnsembleEstimate
from taskgroup_core.affinity.subset_scores import ORDER, Values, network_scores
from taskgroup_core.errors import InputError
from taskgroup_core.flops import count_flops
from taskgroup_core.gradients.flat import FlatNetwork
from taskgroup_core.problems.problem import Problem, Split
from taskgroup_core.scores import elementwise_loss, present
from taskgroup_core.subsets import Subsets
from taskgroup_core.training.epochs import labelled_rows


class GaussNewton(EnsembleEstimate):
    """f(S, t) at theta* + v, where v minimises a quadratic model of the subset's loss around theta*.

    With J the derivatives of the outputs, l' and H the first and second derivatives of the summed loss with respect to
    the outputs, v solves (J'HJ + I / C) v = -J' l' by conjugate gradients; a product with J'HJ is one forward-mode and
    one reverse-mode derivative. This v is the first Newton step, from W = theta*, of Eq. (4) with d = p and the penalty
    of `GradTAE`: for squared error both are the same, elsewhere Eq. (4) goes on with the curvature at new outputs.

    Parameters
    ----------
    problem : tasks of any kinds with their examples.
    meta : the M meta-initialisations, trained on all tasks.
    C : inverse strength of the penalty |v|^2 / (2 C) on the summed loss; infinity for none.
    tolerance : of the residual's norm, relative to that of J' l'.
    max_iterations : of conjugate gradients, for each subset.
    device, split, meta_flops : as of `GradTAE`.
    evaluation : "network" scores the network itself, "linear" and "quadratic" its Taylor expansions of order 1 and 2.

    Attributes
    ----------
    flops : operations spent so far, those of `meta` included. Beside GRAD-TAE, which pays for d columns of P once, each
        subset pays here for about 5 forward passes over its own training inputs in every iteration.
    unconverged : systems so far that were not solved to the tolerance.
    iterations : of all systems so far.

    Raises
    ------
    InputError : no meta-initialisation, or bad parameters.

    References
    ----------
    GRAD-TAG, Remark 3.1; Schraudolph, Fast curvature matrix-vector products for second-order gradient descent, 2002.

    Deviations
    ----------
    The remark reports a test of "the Hessian approximation" and no method. The Hessian of the loss is J'HJ plus the
    sum of l' times the outputs' own Hessians; the sum is left out, because it makes the model unbounded below.
    """

    method = "Gauss-Newton"

    def __init__(
        self,
        problem: Problem,
        meta: Sequence[nn.Module],
        *,
        C: float = 1.0,
        tolerance: float = 1e-4,
        max_iterations: int = 200,
        device: str | torch.device = "auto",
        split: Split = "val",
        evaluation: Literal["network", "linear", "quadratic"] = "network",
        meta_flops: int = 0,
    ) -> None:
        for name, value in {"tolerance": tolerance, "max_iterations": max_iterations}.items():
            if not value > 0:
                raise InputError(name, str(value), "Use a positive number.")
        super().__init__(problem, meta, C, evaluation, device, split, meta_flops)
        self.tolerance, self.max_iterations, self.iterations = tolerance, max_iterations, 0

    def _scores_of_one(self, k: int, member: Subsets) -> Values:
        flat = self._flat[k]

        def steps(part: slice) -> Tensor:
            return torch.stack([self.step(flat, np.flatnonzero(row).tolist()) for row in member[part]])

        values, flops = network_scores(self.problem, self.split, flat, steps, member, ORDER[self.evaluation])
        self.flops += flops
        return values

    def step(self, flat: FlatNetwork, subset: Sequence[int]) -> Tensor:
        """The update v of one subset (task indices), with shape (p,)."""
        columns = self.problem.columns(subset).to(self.device)
        used, known = labelled_rows(self.problem, subset)
        tasks = tuple(self.problem.tasks[index] for index in subset)
        there = present(known).to(self.device)
        inputs, labels = self.problem.inputs[used].to(self.device), known.nan_to_num().to(self.device)

        def outputs(parameters: Tensor) -> Tensor:
            return flat(parameters, inputs)[:, columns]

        def slope(values: Tensor) -> Tensor:
            derivative: Tensor = grad(lambda x: (elementwise_loss(x, labels, tasks) * there).sum())(values)
            return derivative

        theta = flat.theta
        values, pull, *_ = vjp(outputs, theta)
        slopes, bend, *_ = vjp(slope, values)  # H is symmetric

        def product(direction: Tensor) -> Tensor:
            change = jvp(outputs, (theta,), (direction,))[1]
            bent: Tensor = pull(bend(change)[0])[0]
            return bent + direction / self.C

        with torch.no_grad():
            right = -pull(slopes)[0]
            cost = count_flops(lambda: product(right))
            solution, iterations, converged = conjugate_gradients(product, right, self.tolerance, self.max_iterations)
        # J' l' costs about what half a product does, with a forward pass before it.
        self.flops += cost * iterations + cost // 2 + len(used) * self.problem.row_flops[0]
        self.iterations += iterations
        self.unconverged += not converged
        return solution


def conjugate_gradients(
    product: Callable[[Tensor], Tensor], right: Tensor, tolerance: float, max_iterations: int
) -> tuple[Tensor, int, bool]:
    """Solve A x = b for a positive semidefinite A that is known by its products: (x, iterations, converged).

    Parameters
    ----------
    product : from x with shape (p,) to A x.
    right : b, with shape (p,).
    tolerance : of |b - A x| / |b|.
    """
    solution, residual = torch.zeros_like(right), right
    direction, square = right, right @ right
    goal = tolerance**2 * square
    for iteration in range(max_iterations):
        if square <= goal:
            return solution, iteration, True
        bent = product(direction)
        size = square / (direction @ bent)
        solution, residual = solution + size * direction, residual - size * bent
        square, previous = residual @ residual, square
        direction = residual + (square / previous) * direction
    return solution, max_iterations, bool(square <= goal)
