"""Damped Newton steps for one regression on the rows of several tasks: the careful way, for the hard cases."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.linalg import cholesky_ex

from taskgroup_core.affinity.task_rows import TaskRows, joined


@dataclass(frozen=True)
class NewtonResult:
    """Where the steps ended; `error` estimates the largest error of an entry, relative to the largest entry."""

    solution: Tensor
    hessian: Tensor
    objective: float
    gradient_norm: float
    error: float
    iterations: int
    flops: int


def relative_step(solution: Tensor, step: Tensor) -> Tensor:
    """Largest entry of steps (..., d) relative to that of the solutions, or to itself where it is larger."""
    size, longest = solution.abs().amax(dim=-1), step.abs().amax(dim=-1)
    return longest / torch.maximum(size, longest).clamp_min(1e-300)


def newton(
    tasks: Sequence[TaskRows], penalty: float, tolerance: float, max_iterations: int, start: Tensor | None = None
) -> NewtonResult:
    """Minimise over w the mean loss of the tasks' examples plus penalty |w|^2 / 2.

    It stops once the next step is, relative to the largest entries of both, at most `tolerance`. Where there is no
    minimum, along directions in which the labels can be separated, steps stay about as long as the loss falls, so that
    `error` stays large however small the gradient gets.

    Parameters
    ----------
    tasks : rows with features of one dimension d.
    penalty : at least 0.
    tolerance, max_iterations : when to stop.
    start : with shape (d,); zero by default.
    """
    tasks = joined(tasks)  # few large products are faster than many small ones
    count = sum(len(task) for task in tasks)
    features = [task.features.flatten(0, 1) for task in tasks]
    offsets = [task.offset.flatten() for task in tasks]
    # The Hessians of examples that are left out add up to a tenth of the penalty at most, in every direction.
    least = [0.1 * penalty / matrix.square().sum(dim=1) for matrix in features]
    dimension = features[0].shape[1]

    def outputs(w: Tensor) -> list[Tensor]:
        return [offset + matrix @ w for offset, matrix in zip(offsets, features, strict=True)]

    def objective(w: Tensor) -> Tensor:
        losses = [task.loss(output[None])[0] for task, output in zip(tasks, outputs(w), strict=True)]
        return torch.stack(losses).sum() / count + 0.5 * penalty * w.square().sum()

    solution = features[0].new_zeros(dimension) if start is None else start
    value = objective(solution)
    for iteration in range(max_iterations + 1):
        gradient, hessian = penalty * solution, solution.new_zeros(dimension, dimension)
        residuals: list[Tensor] = []
        for task, matrix, low, output in zip(tasks, features, least, outputs(solution), strict=True):
            hessian += task.hessian(output, matrix, low) / count
            residual = task.residual(output[None])[0] / count
            gradient = gradient + residual @ matrix
            residuals.append(residual)
        # Without a penalty the Hessian may be singular; the floor bends the step a little, never the minimum.
        floor = max(penalty, 1e-12 * float(hessian.diagonal().max())) + 1e-300
        hessian.diagonal().add_(floor)
        factor, failed = cholesky_ex(hessian)
        while failed and floor < math.inf:  # by rounding, as in softmax's Hessian, which is a difference
            hessian.diagonal().add_(99 * floor)
            floor *= 100
            factor, failed = cholesky_ex(hessian)
        step = torch.cholesky_solve(gradient[:, None], factor)[:, 0]
        error = float(relative_step(solution, step))
        if error <= tolerance or iteration == max_iterations:
            break
        size, slope = 1.0, float(gradient @ step)
        while (trial := objective(solution - size * step)) > value - 1e-4 * size * slope and size > 1e-10:
            size /= 2
        if size <= 1e-10:  # rounding: the objective cannot be lowered any more
            break
        solution, value = solution - size * step, trial
    if error > tolerance:
        rounding = sum(part.abs() @ matrix.abs() for part, matrix in zip(residuals, features, strict=True))
        if (gradient.abs() <= 1e-15 * rounding).all():  # no digit of it is known, as where the minimum is at 0
            error = 0.0
    outputs_count = sum(len(matrix) for matrix in features)
    flops = (iteration + 1) * (2 * outputs_count * dimension * (dimension + 3) + dimension**3 // 3)
    return NewtonResult(solution, hessian, float(value), float(gradient.norm()), error, iteration, flops)
