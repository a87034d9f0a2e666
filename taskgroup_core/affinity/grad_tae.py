"""GRAD-TAE: f(S, t) estimated from gradients at a meta-initialisation (GRAD-TAG, Algorithm 1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from taskgroup_core.affinity.subset_regression import logistic_regression
from taskgroup_core.device import resolve_device
from taskgroup_core.errors import InputError
from taskgroup_core.flops import count_flops
from taskgroup_core.gradients.flat import FlatNetwork
from taskgroup_core.gradients.projection import GaussianProjection, IdentityProjection, projected_gradients
from taskgroup_core.matrices import FloatArray, make_scores
from taskgroup_core.problems.problem import Problem, Split
from taskgroup_core.seeds import derive
from taskgroup_core.subsets import Subsets, check_subsets
from taskgroup_core.training.evaluate import evaluate
from taskgroup_core.training.fit import Recipe, fit


def meta_initialisations(
    problem: Problem, recipe: Recipe, count: int, seed: int, device: str | torch.device = "auto"
) -> tuple[list[nn.Module], list[int]]:
    """theta*_1 to theta*_M, each trained on all tasks (Algorithm 2, line 1), and the operations each one cost."""
    if count < 1:
        raise InputError("count", str(count), "Train at least one meta-initialisation.")
    everything = range(problem.n_tasks)
    fits = [fit(problem, everything, recipe, derive(seed, "meta", k), device) for k in range(count)]
    return [fitted.network for fitted in fits], [fitted.flops for fitted in fits]


@dataclass(frozen=True)
class _Linearised:
    """One meta-initialisation, ready for regressions: its projected training gradients and what goes with them."""

    flat: FlatNetwork
    theta: Tensor
    projection: GaussianProjection
    features: Tensor  # (E, d), float64
    offset: Tensor  # (E,)


class GradTAE:
    """The estimate f^(S, t) of f(S, t): a regression on projected gradients in place of a training.

    Parameters
    ----------
    problem : binary tasks with their examples.
    meta : the M meta-initialisations, trained on all tasks (see `meta_initialisations`).
    dimension : d of the projection; None for no projection at all (small networks only).
    C : inverse strength of the L2 penalty of the regression (see `logistic_regression`).
    offset : keep b_i of Eq. (3); without it the regression ignores what theta* already predicts.
    seed : decides the projections, one for each meta-initialisation.
    device : where to compute.
    split : the examples that are scored.
    meta_flops : operations that training `meta` took, counted into `flops`.

    Attributes
    ----------
    flops : operations spent so far, the meta-initialisations included.
    unconverged : regressions so far that ended without a minimum (see `Regression.status`).

    Raises
    ------
    InputError : a task that is not binary, no meta-initialisation, or bad parameters.

    References
    ----------
    GRAD-TAG, Algorithm 1, Eq. (2) to (5), section 3.2.

    Deviations
    ----------
    1. f is the logit. The paper calls it the output and gives it the label as an argument.
    2. An L2 penalty: see `logistic_regression`.
    3. The projected gradients may come from forward mode: see `projected_gradients`. The numbers are the same.
    """

    def __init__(
        self,
        problem: Problem,
        meta: Sequence[nn.Module],
        *,
        dimension: int | None = 200,
        C: float = 1.0,
        offset: bool = True,
        seed: int = 0,
        device: str | torch.device = "auto",
        split: Split = "val",
        meta_flops: int = 0,
    ) -> None:
        if any(task.kind != "binary" for task in problem.tasks):
            raise InputError("problem", "a task that is not binary", "GRAD-TAE estimates binary tasks only so far.")
        if not meta:
            raise InputError("meta", "no network", "Give at least one meta-initialisation.")
        self.problem, self.dimension, self.C, self.split = problem, dimension, C, split
        self.device, self.offset, self.seed = resolve_device(device), offset, seed
        self.flops, self.unconverged = meta_flops, 0
        used, labels = problem.table("train")
        self._input_index, self._task_index = (~labels.isnan()).nonzero(as_tuple=True)
        self._label = labels[self._input_index, self._task_index].double().to(self.device)
        self._inputs = problem.inputs[used].to(self.device)
        self._validation_rows = len(problem.table(split)[0])
        self._linearised = [self._linearise(network, k) for k, network in enumerate(meta)]

    @property
    def task_names(self) -> Sequence[str]:
        """The n task names."""
        return self.problem.task_names

    def _linearise(self, network: nn.Module, k: int) -> _Linearised:
        """Algorithm 1, lines 2 to 4."""
        flat = FlatNetwork(network.to(self.device))
        theta, where = flat.theta, (self._input_index.to(self.device), self._task_index.to(self.device))
        projection = (
            IdentityProjection(flat.n_parameters)
            if self.dimension is None
            else GaussianProjection(flat.n_parameters, self.dimension, derive(self.seed, "grad-tae", k))
        )
        features: list[Tensor] = []
        with torch.no_grad():
            outputs = flat(theta, self._inputs)[where]
        self.flops += count_flops(lambda: features.append(projected_gradients(flat, projection, self._inputs, *where)))
        return _Linearised(flat, theta, projection, features[0].double(), outputs.double())

    def scores(self, subsets: Subsets) -> xr.Dataset:
        """Estimated scores of `subsets`, a membership matrix with shape (m, n), averaged over the ensemble (line 11).

        Raises
        ------
        InputError : see `check_subsets`.
        """
        member = check_subsets(subsets, self.problem.n_tasks)
        ensemble = [self._scores_of_one(linearised, member) for linearised in self._linearised]
        values = {name: np.mean([one[name] for one in ensemble], axis=0) for name in ensemble[0]}
        return make_scores(
            values,
            member,
            self.task_names,
            method="GRAD-TAE",
            dimension=self.dimension or 0,
            meta_initialisations=len(ensemble),
            C=self.C,
            seed=self.seed,
            split=self.split,
        )

    def _scores_of_one(self, linearised: _Linearised, member: Subsets) -> dict[str, FloatArray]:
        """Lines 5 to 8 for one meta-initialisation: regress, lift by Eq. (5), run the network."""
        solutions = torch.stack([self._regress(linearised, row) for row in member])
        forward = self.problem.row_flops[0]
        self.flops += len(member) * (
            forward * self._validation_rows + 2 * linearised.projection.dimension * len(linearised.theta)
        )
        rows = []
        # Slices keep the lifted parameters, p numbers a subset, within about 256 MiB.
        size = max(1, 2**26 // len(linearised.theta))
        for start in range(0, len(member), size):
            lifted = linearised.projection.lift(solutions[start : start + size].to(linearised.theta))
            for displacement, subset in zip(lifted, member[start : start + size], strict=True):
                outputs = linearised.flat.at(linearised.theta + displacement)
                tasks = np.flatnonzero(subset).tolist()
                rows.append(evaluate(outputs, self.problem, self.split, tasks, self.device))
        return {name: np.stack([row[name] for row in rows]) for name in rows[0]}

    def _regress(self, linearised: _Linearised, row: Subsets) -> Tensor:
        """Line 6: Eq. (4) on the training examples of the subset's tasks."""
        chosen = torch.from_numpy(row)[self._task_index].to(self.device)
        offset = linearised.offset[chosen] if self.offset else torch.zeros_like(linearised.offset[chosen])
        regression = logistic_regression(linearised.features[chosen], self._label[chosen], offset, self.C)
        self.flops += regression.flops
        self.unconverged += not regression.converged
        return regression.solution
