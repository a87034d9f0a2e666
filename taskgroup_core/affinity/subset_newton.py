"""Damped Newton steps for many regressions that share their rows: Hessians in single precision, all else in double."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor
from torch.linalg import cholesky_ex

from taskgroup_core.affinity.newton import relative_step
from taskgroup_core.affinity.shared_rows import SharedRows

HALVINGS: Final = 20


class SubsetNewton:
    """Each subset's own Hessian at each of its points, where the one at the joint solution is of no use.

    Subsets with a Hessian that single precision cannot factor, or with a step that cannot be cut short enough, are
    left where they are, not `converged`.

    Parameters
    ----------
    shared : the rows.
    member : boolean with shape (m, n).
    penalty : factor of |w|^2 / 2 for each subset, with shape (m,).
    start : w to begin from, with shape (m, d).

    Attributes
    ----------
    solution, gradient_norm, objective, iterations, converged : of each subset, with shape (m, ...).
    """

    def __init__(self, shared: SharedRows, member: Tensor, penalty: Tensor, start: Tensor) -> None:
        self._shared, self._member, self._penalty = shared, member, penalty
        self.solution = start.clone()
        self.objective, self._gradient = shared.objective(start, member, penalty)
        self.iterations = torch.zeros(len(member), dtype=torch.int64, device=member.device)
        self.converged = torch.zeros_like(member[:, 0])

    @property
    def gradient_norm(self) -> Tensor:
        """Length of the gradient at the solution."""
        length: Tensor = self._gradient.norm(dim=1)
        return length

    def run(self, tolerance: float, max_iterations: int) -> None:
        """Step until the next step is, relative to the largest entries of both, at most `tolerance`."""
        active = self._gradient.isfinite().all(dim=1)
        for iteration in range(max_iterations + 1):
            at = active.nonzero()[:, 0]
            if not len(at):
                break
            step, usable = self._steps(at)
            done = usable & (relative_step(self.solution[at], step) <= tolerance)
            self.converged[at] = done
            active[at] = moving = usable & ~done
            if iteration < max_iterations:
                active[at[moving]] = self._move(at[moving], step[moving])

    def _steps(self, at: Tensor) -> tuple[Tensor, Tensor]:
        """Newton's steps, and which of them can be used: they are finite and not uphill."""
        factor, failed = cholesky_ex(self._shared.hessians(self.solution[at], self._member[at], self._penalty[at]))
        downhill = -(self._gradient[at] @ self._shared.whiten.T)
        step = torch.cholesky_solve(downhill.float()[..., None], factor)[..., 0].double() @ self._shared.whiten
        slope = (self._gradient[at] * step).sum(dim=1)
        return step, (failed == 0) & step.isfinite().all(dim=1) & (slope <= 0)

    def _move(self, at: Tensor, step: Tensor) -> Tensor:
        """Take the steps, halved until the objective falls by a share of what the slope promises; which were taken."""
        slope = (self._gradient[at] * step).sum(dim=1)
        taken, size = torch.zeros_like(slope, dtype=torch.bool), 1.0
        for _ in range(HALVINGS):
            left = (~taken).nonzero()[:, 0]
            if not len(left):
                break
            chosen = at[left]
            trial = self.solution[chosen] + size * step[left]
            value, gradient = self._shared.objective(trial, self._member[chosen], self._penalty[chosen])
            falls = value <= self.objective[chosen] + 1e-4 * size * slope[left]
            kept = chosen[falls]
            self.solution[kept], self.objective[kept] = trial[falls], value[falls]
            self._gradient[kept] = gradient[falls]
            taken[left], size = falls, size / 2
        self.iterations[at[taken]] += 1
        return taken
