"""Estimates of f(S, t) from meta-initialisations: what they have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
import xarray as xr
from torch import nn

from taskgroup_core.affinity.collected import check_choice
from taskgroup_core.affinity.subset_scores import ORDER, Values
from taskgroup_core.device import resolve_device
from taskgroup_core.errors import InputError
from taskgroup_core.gradients.flat import FlatNetwork
from taskgroup_core.matrices import make_scores
from taskgroup_core.problems.problem import Problem, Split
from taskgroup_core.subsets import Subsets, check_subsets


class EnsembleEstimate(ABC):
    """Estimates scores around each of M meta-initialisations, and averages (GRAD-TAG, Algorithm 1, line 11).

    Subclasses name their `method` and estimate the scores around one of them.
    """

    method: str

    def __init__(
        self,
        problem: Problem,
        meta: Sequence[nn.Module],
        C: float,
        evaluation: str,
        device: str | torch.device,
        split: Split,
        meta_flops: int,
    ) -> None:
        if not meta:
            raise InputError("meta", "no network", "Give at least one meta-initialisation.")
        if not C > 0:
            raise InputError("C", str(C), "Use a positive number, or infinity for no penalty.")
        check_choice("evaluation", evaluation, tuple(ORDER))
        self.problem, self.C, self.evaluation, self.split = problem, C, evaluation, split
        self.device = resolve_device(device)
        self.flops, self.unconverged = meta_flops, 0
        self._flat = [FlatNetwork(network.to(self.device)) for network in meta]

    @abstractmethod
    def _scores_of_one(self, k: int, member: Subsets) -> Values:
        """Scores around the k-th meta-initialisation, each with shape (m, n); adds to `flops` and `unconverged`."""

    @property
    def task_names(self) -> Sequence[str]:
        """The n task names."""
        return self.problem.task_names

    def scores(self, subsets: Subsets) -> xr.Dataset:
        """Estimated scores of `subsets`, a membership matrix with shape (m, n), averaged over the ensemble.

        Raises
        ------
        InputError : see `check_subsets`.
        """
        member = check_subsets(subsets, self.problem.n_tasks)
        ensemble = [self._scores_of_one(k, member) for k in range(len(self._flat))]
        values = {name: np.mean([one[name] for one in ensemble], axis=0) for name in ensemble[0]}
        return make_scores(values, member, self.task_names, **self._attributes())

    def _attributes(self) -> dict[str, str | int | float]:
        return {
            "method": self.method,
            "meta_initialisations": len(self._flat),
            "C": self.C,
            "evaluation": self.evaluation,
            "split": self.split,
        }
