"""How well a network's Taylor expansion predicts it after fine-tuning, by distance (GRAD-TAG, section 3.1, Table 1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector
from tqdm import tqdm

from taskgroup_core.affinity.grad_tae import meta_initialisations
from taskgroup_core.errors import InputError
from taskgroup_core.flops import count_flops
from taskgroup_core.gradients.flat import FlatNetwork
from taskgroup_core.gradients.linearisation import (
    directional_derivative,
    residual_sum_of_squares,
    second_directional_derivative,
)
from taskgroup_core.problems.problem import Problem
from taskgroup_core.runs.fine_tuning_path import crossings, fine_tuning_path
from taskgroup_core.runs.linearisation_parameters import LinearisationParameters
from taskgroup_core.runs.provenance import measured, provenance
from taskgroup_core.runs.record import Arrays, RunRecord
from taskgroup_core.scores import present
from taskgroup_core.seeds import derive, torch_generator
from taskgroup_core.subsets import sample_subsets
from taskgroup_core.training.epochs import labelled_rows
from taskgroup_core.training.fit import fit
from taskgroup_core.training.recipe import Recipe

WAYS = ("path", "straight", "random")
ENDS = ("fine-tuned", "from scratch")
ORDERS = (0, 1, 2)

Errors = NDArray[np.float64]


def linearisation_study(
    problem: Problem,
    parameters: LinearisationParameters,
    device: torch.device,
    progress: bool = True,
    data: Sequence[Path | str] = (),
) -> RunRecord:
    """Train theta* on all tasks, leave it in several ways for each subset, and measure the errors of the expansion.

    Parameters
    ----------
    problem : binary, multiclass or regression tasks.
    parameters : what is asked.
    device : where to compute.
    progress : show a text bar.
    data : the files the problem was read from, for the provenance.

    Returns
    -------
    A record with these arrays, errors being the RSS of the expansion of order 0 (no change), 1 and 2 over the
    training examples of the subset, NaN where a distance was not reached:

    - `path` : along real fine-tuning with small steps of Adam, with shape (n_subsets, distances, 3).
    - `straight` : on the line from theta* to where the recipe's own fine-tuning ends, the same shape.
    - `random` : on a line in a uniformly random direction, the same shape.
    - `steps` : steps of the path to each distance, with shape (n_subsets, distances).
    - `end_distance`, `end_error` : of `ENDS`, the recipe's fine-tuning from theta* and its training from a new
      initialisation, with shapes (n_subsets, 2) and (n_subsets, 2, 3).

    Raises
    ------
    InputError : see `sample_subsets` and `fit`.

    References
    ----------
    GRAD-TAG, Eq. (2), Table 1, Remark 3.1.

    Deviations
    ----------
    The paper does not say how a model at a given distance is chosen, with which optimiser it is fine-tuned, or over
    which examples the RSS runs.
    """
    p = parameters
    subsets = sample_subsets(problem.n_tasks, p.subset_size, p.n_subsets, p.seed)
    recipe = Recipe(epochs=p.epochs)
    with measured(device) as cost:
        meta, _ = meta_initialisations(problem, recipe, 1, derive(p.seed, "linearisation"), device)
        expansion = _Expansion(problem, meta[0].to(device), p)
        rows = [
            expansion.of_subset(index, row.nonzero()[0].tolist(), recipe)
            for index, row in enumerate(tqdm(subsets, disable=not progress, unit="subset", mininterval=5))
        ]
    arrays = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    results = {
        "n_tasks": problem.n_tasks,
        "n_parameters": expansion.flat.n_parameters,
        "norm": expansion.norm,
        "flops": expansion.flops(),
    }
    return RunRecord("linearisation", asdict(p), results, arrays, provenance(device, cost, p.seed, data))


def error_table(record: RunRecord, way: str) -> pd.DataFrame:
    """Table 1's layout: a row per distance, mean and standard error over the subsets that reached it, and their number.

    Parameters
    ----------
    record : from `linearisation_study`.
    way : one of `WAYS`.

    Raises
    ------
    InputError : an unknown way.
    """
    if way not in WAYS:
        raise InputError("way", repr(way), f"Use one of {', '.join(WAYS)}.")
    table = pd.DataFrame(index=pd.Index(record.parameters["distances"], name="distance"))
    for order in ORDERS:
        values = pd.DataFrame(record.arrays[way][:, :, order])
        table[f"order {order}"] = values.mean().to_numpy()
        table[f"error {order}"] = values.sem().to_numpy()
    table["subsets"] = np.isfinite(record.arrays[way][:, :, 0]).sum(axis=0)
    return table


class _Expansion:
    """The expansion around theta*, and what one subset contributes to the study."""

    def __init__(self, problem: Problem, network: nn.Module, parameters: LinearisationParameters) -> None:
        self.problem, self.network, self.p = problem, network, parameters
        self.flat = FlatNetwork(network)
        self.theta = self.flat.theta
        self.norm = float(self.theta.norm())
        self.lengths = [distance * self.norm for distance in parameters.distances]

    def of_subset(self, index: int, subset: list[int], recipe: Recipe) -> Arrays:
        """All arrays of the record for one subset."""
        seed = derive(self.p.seed, "subset", index)
        # The first step of Adam moves every parameter that has a gradient by the rate.
        rate = self.p.stride * self.norm / len(self.theta) ** 0.5
        points = fine_tuning_path(self.problem, subset, self.network, rate, self.p.max_steps, seed)
        reached, taken = crossings(points, self.theta, self.lengths)
        path = np.full((len(self.lengths), len(ORDERS)), np.nan)
        steps = np.full(len(self.lengths), np.nan)
        steps[: len(taken)] = taken
        for row, displacement in enumerate(reached):
            path[row] = self._errors(subset, displacement, [1.0])[0]
        ends = [
            parameters_to_vector(fit(self.problem, subset, recipe, seed, self.theta.device, start).network.parameters())
            for start in (self.network, None)
        ]
        displacements = [end.detach() - self.theta for end in ends]
        generator = torch_generator(seed, "direction")
        random = torch.randn(len(self.theta), generator=generator, dtype=torch.float32).to(self.theta)
        return {
            "path": path,
            "straight": self._on_a_line(subset, displacements[0]),
            "random": self._on_a_line(subset, random),
            "steps": steps,
            "end_distance": np.array([float(one.norm()) / self.norm for one in displacements]),
            "end_error": np.concatenate([self._errors(subset, one, [1.0]) for one in displacements]),
        }

    def _on_a_line(self, subset: list[int], direction: Tensor) -> Errors:
        return self._errors(subset, direction, [length / float(direction.norm()) for length in self.lengths])

    def _errors(self, subset: list[int], direction: Tensor, scales: list[float]) -> Errors:
        """RSS of orders 0, 1 and 2 at theta* + scale x direction, with shape (scales, 3)."""
        used, labels = labelled_rows(self.problem, subset)
        place = self.theta.device
        inputs, columns = self.problem.inputs[used].to(place), self.problem.columns(subset).to(place)
        sizes = torch.tensor([self.problem.tasks[task].n_outputs for task in subset])
        known = present(labels).repeat_interleave(sizes, dim=1).to(place)
        rows = []
        with torch.no_grad():
            # The derivatives along a line scale with it: they are needed once.
            value, slope = directional_derivative(self.flat, inputs, direction)
            curvature = second_directional_derivative(self.flat, inputs, direction)
            for scale in scales:
                first = value + scale * slope
                predictions = (value, first, first + 0.5 * scale**2 * curvature)
                actual = self.flat(self.theta + scale * direction, inputs)[:, columns][known]
                rows.append([residual_sum_of_squares(actual, one[:, columns][known]) for one in predictions])
        return np.array(rows)

    def flops(self) -> dict[str, int]:
        """Operations per input of a forward pass and of the expansions of order 1 and 2, for all outputs at once."""
        row = self.problem.inputs[:1].to(self.theta.device)
        with torch.no_grad():
            forward = count_flops(lambda: self.flat(self.theta, row))
            first = count_flops(lambda: directional_derivative(self.flat, row, self.theta))
            second = count_flops(lambda: second_directional_derivative(self.flat, row, self.theta))
        return {"forward": forward, "first order": first, "second order": first + second}
