"""How SCA's scores depend on the number of samples (SCA, section 6.4, Figs. 11 and 12)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from tqdm import tqdm

from taskgroup_core.affinity.sample_convergence import SampleConvergenceAffinity
from taskgroup_core.errors import InputError
from taskgroup_core.matrices import FloatArray
from taskgroup_core.problems.problem import Problem
from taskgroup_core.runs.provenance import measured, provenance
from taskgroup_core.runs.record import RunRecord
from taskgroup_core.runs.sample_convergence_study import HEADS
from taskgroup_core.seeds import derive


def sample_size_study(
    problem: Problem,
    sizes: Sequence[int],
    draws: int,
    device: torch.device,
    *,
    inputs: Literal["same", "own"] = "same",
    seed: int = 0,
    progress: bool = True,
    data: Sequence[Path | str] = (),
) -> RunRecord:
    """Draw several sets of each size, and score the tasks on each set at one and the same network.

    Parameters
    ----------
    problem : the tasks.
    sizes : the values of N, ascending.
    draws : sets of each size, 2 or more.
    device : where to compute.
    inputs : of `SampleConvergenceAffinity`.
    seed : decides the network and the sets.
    progress : show a text bar.
    data : the files the problem was read from, for the provenance.

    Returns
    -------
    A record with the arrays `apart` and `equal`, scores by kind of heads, and `apart.distance` and `equal.distance`,
    the distances of Eq. (16), all with shape (sizes, draws, n, n).

    Raises
    ------
    InputError : sizes that do not ascend, fewer than 2 draws, or see `SampleConvergenceAffinity`.
    """
    if not len(sizes) or any(late <= early for early, late in pairwise(sizes)):
        raise InputError("sizes", str(list(sizes)), "Give ascending numbers of samples.")
    if draws < 2:
        raise InputError("draws", str(draws), "Use 2 or more: their spread is asked for.")
    network = problem.network(derive(seed, "initialisation", 0))
    arrays: dict[str, list[FloatArray]] = {f"{heads}{what}": [] for heads in HEADS for what in ("", ".distance")}
    with measured(device) as cost:
        for size in tqdm(sizes, disable=not progress, unit="size", mininterval=5):
            for draw in range(draws):
                for heads, equal in HEADS.items():
                    stream = derive(seed, "samples", size, draw)
                    made = SampleConvergenceAffinity(size, stream, device, inputs=inputs, equal_heads=equal)
                    arrays[heads].append(made.affinity(problem, network).values)
                    arrays[f"{heads}.distance"].append(made.distances_.values)
    shape = (len(sizes), draws, problem.n_tasks, problem.n_tasks)
    parameters = {"sizes": list(sizes), "draws": draws, "inputs": inputs, "seed": seed}
    stacked = {name: np.stack(matrices).reshape(shape) for name, matrices in arrays.items()}
    results = {"tasks": list(problem.task_names)}
    return RunRecord("sample_size", parameters, results, stacked, provenance(device, cost, seed, data))
