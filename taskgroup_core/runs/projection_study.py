"""GRAD-TAE's regression without any projection, in the span of the gradients: p may be in the millions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from taskgroup_core.affinity.subset_regression import Regression, logistic_regression
from taskgroup_core.device import resolve_device
from taskgroup_core.errors import InputError
from taskgroup_core.gradients.flat import FlatNetwork
from taskgroup_core.gradients.per_example import per_example_gradients
from taskgroup_core.matrices import make_scores
from taskgroup_core.problems.problem import Problem, Split
from taskgroup_core.subsets import Subsets, check_subsets
from taskgroup_core.training.evaluate import evaluate
from taskgroup_core.training.fit import check_members


@dataclass(frozen=True)
class LinearExamples:
    """Training examples as the linearised network sees them.

    Parameters
    ----------
    gradients : g of each example, float32 with shape (E, p).
    gram : their inner products, float64 with shape (E, E).
    inputs : the input of each example, with shape (E, ...).
    task_index : int64 with shape (E,).
    label : 0 or 1, float64 with shape (E,).
    offset : outputs at theta*, float64 with shape (E,).
    """

    gradients: Tensor
    gram: Tensor
    inputs: Tensor
    task_index: Tensor
    label: Tensor
    offset: Tensor

    def of_tasks(self, tasks: Sequence[int]) -> LinearExamples:
        """The examples of some tasks (indices)."""
        keep = torch.isin(self.task_index, torch.tensor(list(tasks), device=self.task_index.device))
        rows = (self.inputs, self.task_index, self.label, self.offset)
        return LinearExamples(self.gradients[keep], self.gram[keep][:, keep], *(part[keep] for part in rows))


def linear_examples(
    problem: Problem, network: nn.Module, tasks: Sequence[int], device: str | torch.device = "auto", budget: int = 2**28
) -> LinearExamples:
    """Gradients and outputs of all training examples of some tasks; holds E x p and E x E numbers.

    Parameters
    ----------
    problem, network : binary tasks, and theta* in evaluation mode.
    tasks : task indices.
    budget : bytes of gradients that are computed at once.

    Raises
    ------
    InputError : no task, an unknown one, or one that is not binary.
    """
    check_members(problem, tasks, "tasks")
    if any(problem.tasks[index].kind != "binary" for index in tasks):
        raise InputError("tasks", "a task that is not binary", "Linearise binary tasks only.")
    place = resolve_device(device)
    flat = FlatNetwork(network.to(place))
    rows = problem.train.of_tasks(tasks)
    inputs, task_index = problem.inputs[rows.input_index].to(place), rows.task_index.to(place)
    size = max(1, budget // (4 * flat.n_parameters))
    slices = zip(inputs.split(size), task_index.split(size), strict=True)
    gradients = torch.cat([per_example_gradients(flat, some, which) for some, which in slices])
    gram = gradients.new_zeros(len(gradients), len(gradients), dtype=torch.float64)
    for part in _columns(gradients):
        gram += part @ part.T
    with torch.no_grad():
        outputs = flat(flat.theta, inputs).gather(1, task_index[:, None])[:, 0]
    return LinearExamples(gradients, gram, inputs, task_index, rows.label.double().to(place), outputs.double())


def regress_unprojected(examples: LinearExamples, C: float) -> tuple[Tensor, Regression]:
    """The minimiser of Eq. (3) with the L2 penalty in all p dimensions: (v = W - theta* with shape (p,), how it ended).

    The penalised minimiser is a combination of the gradients, so E numbers decide it: with the Gram matrix
    K = Q L Q', the rows of Q L^(1/2) have the gradients' inner products, and a regression on them has the same minimum.

    Parameters
    ----------
    examples : of the subset's tasks.
    C : inverse strength of the penalty; with infinity the solution is the one in the gradients' span, where one exists.

    References
    ----------
    GRAD-TAG, Eq. (3); the representer theorem.
    """
    values, vectors = torch.linalg.eigh(examples.gram)
    kept = values > 1e-12 * values[-1]  # rounding makes zeros of the others
    root, vectors = values[kept].sqrt(), vectors[:, kept]
    regression = logistic_regression(vectors * root, examples.label, examples.offset, C)
    weights = vectors @ (regression.solution / root)
    return torch.cat([part.T @ weights for part in _columns(examples.gradients)]), regression


def _columns(gradients: Tensor) -> Iterator[Tensor]:
    """Parts in float64, because a copy of all in float64 would double and triple the memory."""
    for part in gradients.split(2**16, dim=1):
        yield part.double()


def unprojected_scores(
    problem: Problem,
    network: nn.Module,
    subsets: Subsets,
    *,
    C: float = 1.0,
    device: str | torch.device = "auto",
    split: Split = "val",
) -> xr.Dataset:
    """What `GradTAE(dimension=None)` estimates from one meta-initialisation, without its p x p systems.

    Parameters
    ----------
    problem, network, C, split : as for `GradTAE`.
    subsets : with shape (m, n).

    Raises
    ------
    InputError : see `check_subsets` and `linear_examples`.
    """
    member = check_subsets(subsets, problem.n_tasks)
    place = resolve_device(device)
    examples = linear_examples(problem, network, np.flatnonzero(member.any(axis=0)).tolist(), place)
    flat = FlatNetwork(network)
    theta, rows = flat.theta, []
    for subset in member:
        tasks = np.flatnonzero(subset).tolist()
        displacement, _ = regress_unprojected(examples.of_tasks(tasks), C)
        rows.append(evaluate(flat.at(theta + displacement.to(theta)), problem, split, tasks, place))
    values = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    return make_scores(values, member, problem.task_names, method="GRAD-TAE, unprojected", C=C, split=split)
