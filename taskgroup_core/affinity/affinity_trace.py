"""The scores of an estimator along a training (SCA, section 6.3, Figs. 9 and 10)."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import xarray as xr
from torch import nn

from taskgroup_core.errors import InputError
from taskgroup_core.problems.problem import Problem


class NetworkEstimator(Protocol):
    """An estimator that can be asked about the network as it is, and leaves it unchanged."""

    def affinity(self, problem: Problem, network: nn.Module) -> xr.DataArray:
        """T[target, source] at `network`."""
        ...


class AffinityTrace:
    """Asks an estimator at moments of any training that shows its network, and keeps the answers in order.

    With joint training, `joint_training(..., observe=lambda moment: trace.observe(moment.step, moment.network))`; with
    meta-learning, `reptile(..., observe=trace.observe)`. The estimator's samples are the same at every moment, so that
    the scores differ by the network alone.

    Parameters
    ----------
    estimator : such as `SampleConvergenceAffinity`.
    problem : whose tasks are trained.
    """

    def __init__(self, estimator: NetworkEstimator, problem: Problem) -> None:
        self.estimator, self.problem = estimator, problem
        self._answers: dict[int, xr.DataArray] = {}

    def observe(self, step: int, network: nn.Module) -> None:
        """Keep the affinity at `network`, which the training reached after `step` steps."""
        self._answers[step] = self.estimator.affinity(self.problem, network)

    def result(self) -> xr.DataArray:
        """All answers so far, dims ("step", "target", "source").

        Raises
        ------
        InputError : nothing was observed.
        """
        if not self._answers:
            raise InputError("trace", "no moment", "Give `observe` to a training, and train.")
        first = next(iter(self._answers.values()))
        return xr.DataArray(
            np.stack([answer.values for answer in self._answers.values()]),
            dims=("step", *first.dims),
            coords={"step": list(self._answers), **first.coords},
            attrs=first.attrs,
        )
