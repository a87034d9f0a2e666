"""L-BFGS on many regressions at once that share their rows, each preconditioned by its own factor."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor
from torch.linalg import solve_triangular

from taskgroup_core.affinity.newton import relative_step
from taskgroup_core.affinity.shared_rows import SharedRows

PAIRS: Final = 6  # that L-BFGS keeps
HANDOVER: Final = 1e-5  # estimated error at which single precision has done its part
SINGLE_STEPS: Final = 25
PATIENCE: Final = 12  # steps after which an estimated error above LOST tells that the factor is of no use
LOST: Final = 0.1


class Descent:
    """All subsets of a block in step: single precision while it helps, then double.

    A step is tried, then kept or cut. The objectives are convex, so that the slope at the end of a step tells whether
    it went too far; values, which rounding spoils near a minimum, are not compared.

    Parameters
    ----------
    shared : the rows.
    member : boolean with shape (m, n).
    penalty : factor of |w|^2 / 2 for each subset, with shape (m,).

    Attributes
    ----------
    solution, gradient_norm, objective, iterations, converged : of each subset, with shape (m, ...); an iteration is
        one evaluation of the gradient, in either precision. Where labels are nearly separated, the Hessian at the
        joint solution tells little about the subset's: such subsets are given up early, not `converged`.
    """

    def __init__(self, shared: SharedRows, member: Tensor, penalty: Tensor) -> None:
        self._shared, self._member, self._penalty = shared, member, penalty[:, None]
        self._total = (member.double() @ shared.count)[:, None]
        self._factor = shared.factors(member, penalty)
        self._point = (shared.start @ shared.root).expand(len(member), -1).clone()
        slope = member.double() @ shared.gradients / self._total + self._penalty * shared.start
        self._slope = slope @ shared.whiten.T
        self._pairs: list[tuple[Tensor, Tensor, Tensor]] = []
        self._step = self._direction(slice(None))
        self.solution = self._point @ shared.whiten
        self.gradient_norm, self.objective = penalty * torch.nan, penalty * torch.nan
        self.iterations = torch.zeros(len(member), dtype=torch.int64, device=member.device)
        self.converged = torch.zeros_like(member[:, 0])

    def run(self, tolerance: float, max_iterations: int) -> None:
        """Descend until the estimated largest error of a solution's entries, relative to the largest, is small."""
        short = self._phase(max(tolerance, HANDOVER), min(max_iterations, SINGLE_STEPS), exact=False)
        self.solution = self._point @ self._shared.whiten
        # The slopes so far carry rounding: no pair is formed with them, and the pending steps are taken as they are.
        self._phase(tolerance, max_iterations, exact=True, without=short)

    def _phase(self, goal: float, limit: int, exact: bool, without: Tensor | None = None) -> Tensor:
        """Descend to an error of `goal`; returns which subsets do not come there."""
        active, first = torch.ones_like(self.converged) if without is None else ~without, exact
        short = active.clone()
        before = torch.full_like(self.gradient_norm, torch.inf)
        while len(chosen := (active & (self.iterations < limit)).nonzero()[:, 0]):
            # A slice, unlike an index, copies no factors; those already at rest are carried along for as long.
            at = slice(None) if 2 * len(chosen) > len(active) else chosen
            trial, base, move = self._point[at] + self._step[at], self._slope[at], self._step[at]
            slope = self._exact(trial, at) if exact else self._single(trial, at)
            self.iterations[at] += 1
            start, end = (base * move).sum(dim=1, keepdim=True), (slope * move).sum(dim=1, keepdim=True)
            kept = (end <= 0.5 * start.abs()) | (first & slope.isfinite().all(dim=1, keepdim=True))
            if not first:
                self._remember(at, move, slope - base)
            self._point[at] = torch.where(kept, trial, self._point[at])
            self._slope[at] = torch.where(kept, slope, base)
            ahead = self._direction(at)
            self._step[at] = torch.where(kept, ahead, move * (start.abs() / (start.abs() + end)))
            error = self._error(self._point[at], ahead)
            done = kept[:, 0] & (error <= goal)
            if exact:
                self.converged[at] |= done
            else:  # single precision has nothing more to give once the error no longer falls
                done |= (error < 1e-3) & (error >= before[at])
            short[at] &= ~done
            active[at] &= ~done & ((self.iterations[at] < PATIENCE) | (error < LOST))
            before[at], first = error, False
        return short

    def _single(self, trial: Tensor, at: slice | Tensor) -> Tensor:
        """Slope at `trial` in single precision, in coordinates u."""
        whiten: Tensor = self._shared.whiten
        summed = self._shared.gradient(trial.float(), self._member[at]).double()
        slope: Tensor = summed / self._total[at] + self._penalty[at] * (trial @ whiten) @ whiten.T
        return slope

    def _exact(self, trial: Tensor, at: slice | Tensor) -> Tensor:
        """Slope at `trial` in double precision; what is reported is taken from here."""
        w = trial @ self._shared.whiten
        self.objective[at], gradient = self._shared.objective(w, self._member[at], self._penalty[at, 0])
        self.solution[at], self.gradient_norm[at] = w, gradient.norm(dim=1)
        slope: Tensor = gradient @ self._shared.whiten.T
        return slope

    def _remember(self, at: slice | Tensor, move: Tensor, change: Tensor) -> None:
        """Keep a pair and 1 / curvature along it; one without curvature, as of a subset at rest, has no effect."""
        pair = torch.zeros_like(self._step), torch.zeros_like(self._step), torch.zeros_like(self._total)
        curvature = (move * change).sum(dim=1, keepdim=True)
        pair[0][at], pair[1][at], pair[2][at] = move, change, torch.where(curvature > 0, 1 / curvature, 0)
        self._pairs = [*self._pairs, pair][-PAIRS:]

    def _direction(self, at: slice | Tensor) -> Tensor:
        """L-BFGS's direction at `_point`."""
        ahead: Tensor = -self._slope[at]
        shares: list[Tensor] = []
        pairs = [(move[at], change[at], inverse[at]) for move, change, inverse in self._pairs]
        for move, change, inverse in reversed(pairs):
            shares.append(inverse * (move * ahead).sum(dim=1, keepdim=True))
            ahead = torch.addcmul(ahead, shares[-1], change, value=-1)
        factor = self._factor[at]
        half = solve_triangular(factor, ahead.float()[..., None], upper=False)
        ahead = solve_triangular(factor.mT, half, upper=True)[..., 0].double()
        for (move, change, inverse), share in zip(pairs, reversed(shares), strict=True):
            ahead = torch.addcmul(ahead, move, share - inverse * (change * ahead).sum(dim=1, keepdim=True))
        return ahead

    def _error(self, point: Tensor, ahead: Tensor) -> Tensor:
        """Largest entry of the step to come relative to that of the solution, both in coordinates w."""
        return relative_step(point @ self._shared.whiten, ahead @ self._shared.whiten)
