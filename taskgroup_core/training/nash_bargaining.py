"""Nash-MTL: the combination of the tasks' gradients that Nash's bargaining solution picks."""

from __future__ import annotations

import torch
from torch import Tensor

from taskgroup_core.errors import InputError

MOST_STEPS = 100  # Newton takes about ten, and some forty where the weights are held by FLATTEST alone
FLATTEST = 1e-12  # the smallest eigenvalue of the cosines that counts: there is then always a solution


class NashBargaining:
    """J' a with the positive weights a that solve J J' a = 1 / a, entry by entry.

    The equation says that the gradient of a' J J' a / 2 - sum_i log a_i is zero. This function is convex, so that
    Newton's method finds its only minimum. At the solution |J' a| = sqrt(n), whatever the gradients are.

    Parameters
    ----------
    max_norm : of the result: by the line above, its norm is the smaller one of `max_norm` and sqrt(n); 0 for no limit.
    every : calls for which the weights are kept.

    Raises
    ------
    InputError : a negative norm, or an interval below 1.

    References
    ----------
    Navon et al., Multi-task learning as a bargaining game, ICML 2022, Claim 3.1 and Algorithm 1. Principled task
    grouping and SCA compare with it.

    Deviations
    ----------
    1. The paper solves the equation by a sequence of convex approximations; here by Newton's method, damped as for a
       self-concordant function: the same weights, about a hundred times faster (tests/benchmarks).
    2. Where a positive combination of the gradients vanishes there is no solution. The smallest eigenvalues of the
       gradients' cosines are raised to 1e-12, so that large weights and a short combination are found there.
    3. A gradient of exactly 0 is left out.
    4. The limit of the norm is the released code's, 1 by default; the paper has none.
    """

    def __init__(self, max_norm: float = 1.0, every: int = 1) -> None:
        for name, value, least in (("max_norm", max_norm, 0), ("every", every, 1)):
            if not value >= least:
                raise InputError(name, str(value), f"Use {least} or more.")
        self.max_norm, self.every = max_norm, every
        self._calls, self._weights = 0, torch.empty(0)

    def __call__(self, jacobian: Tensor) -> Tensor:
        """One gradient, with shape (p,), from those of the tasks, with shape (n, p)."""
        if self._calls % self.every == 0:
            self._weights = nash_weights((jacobian @ jacobian.T).double().cpu()).to(jacobian)
        self._calls += 1
        combined: Tensor = self._weights @ jacobian
        norm = combined.norm()
        return combined * (self.max_norm / norm) if 0 < self.max_norm < norm else combined


def nash_weights(gramian: Tensor) -> Tensor:
    """The positive a with G a = 1 / a, float64 with shape (n,); 0 where the diagonal is 0.

    Parameters
    ----------
    gramian : G, positive semidefinite, float64 with shape (n, n).
    """
    length = gramian.diagonal().clamp_min(0).sqrt()
    there = length > 0
    cosines = (gramian / torch.outer(length, length))[there][:, there]
    eigenvalues, vectors = torch.linalg.eigh(cosines)
    cosines = vectors * eigenvalues.clamp_min(FLATTEST) @ vectors.T
    weights = torch.ones(len(cosines), dtype=torch.float64)  # of gradients scaled to length 1
    for _ in range(MOST_STEPS):
        slope = cosines @ weights - 1 / weights
        step = torch.linalg.solve(cosines + torch.diag(weights**-2), slope)
        decrement = float((slope @ step).clamp_min(0).sqrt())
        weights = weights - step / (1 + decrement if decrement > 0.25 else 1)
        if decrement < 1e-9:
            break
    result = torch.zeros_like(length)
    result[there] = weights / length[there]
    return result
