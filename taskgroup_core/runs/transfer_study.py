"""Exhaustive tables of f(S, t): all subsets of a few tasks, replicated, at several training budgets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
import xarray as xr

from taskgroup_core.affinity.full_training import replicated_scores
from taskgroup_core.errors import InputError
from taskgroup_core.problems.problem import Problem
from taskgroup_core.runs.checkpoint import Checkpoint, Deadline, cached
from taskgroup_core.runs.provenance import measured, provenance
from taskgroup_core.runs.record import Arrays, RunRecord
from taskgroup_core.seeds import derive
from taskgroup_core.subsets import Subsets, all_subsets
from taskgroup_core.training.recipe import Recipe

METRICS = ("score", "negative_loss")


@dataclass(frozen=True)
class TransferParameters:
    """What the study is asked.

    Parameters
    ----------
    budgets : epochs of every training, ascending; one table for each.
    replicates : trainings of every subset, each from an initialisation of its own, 2 or more.
    batch_size, learning_rate : of Adam.
    seed : decides everything random.

    Raises
    ------
    InputError : no budget or budgets that do not ascend, or fewer than 2 replicates; see also `Recipe`.
    """

    budgets: tuple[int, ...] = (30,)
    replicates: int = 3
    batch_size: int = 64
    learning_rate: float = 0.01
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.budgets or any(a >= b for a, b in zip(self.budgets, self.budgets[1:], strict=False)):
            raise InputError("budgets", str(self.budgets), "Give numbers of epochs, each larger than the last.")
        if self.replicates < 2:
            raise InputError("replicates", str(self.replicates), "Train every subset twice or more.")
        self.recipe(self.budgets[0])

    def recipe(self, epochs: int) -> Recipe:
        """The recipe of one budget."""
        return Recipe(epochs=epochs, batch_size=self.batch_size, learning_rate=self.learning_rate)


def transfer_study(
    problem: Problem,
    parameters: TransferParameters,
    device: torch.device,
    *,
    data: Sequence[Path | str] = (),
    checkpoint: Checkpoint | None = None,
    deadline: Deadline | None = None,
) -> RunRecord:
    """Train every subset of the tasks, several times and for several numbers of epochs, and score its members.

    A replicate has one initialisation for all subsets and all budgets, so that the longer trainings continue the
    shorter ones.

    Parameters
    ----------
    problem : 12 tasks at most.
    parameters : what is asked.
    device : where to compute.
    data : the files the problem was read from, for the provenance.
    checkpoint : where finished slices are kept.
    deadline : looked at before every replicate.

    Returns
    -------
    A record with the arrays `member` with shape (2^n - 1, n), and `score` and `negative_loss`: f on the validation
    examples with shape (budgets, replicates, 2^n - 1, n), NaN outside the subset. Its result `flops` is what each
    budget's trainings took.

    Raises
    ------
    InputError : too many tasks; see also `fit_many`.
    OutOfTime : the deadline has passed.
    """
    p, subsets = parameters, all_subsets(problem.n_tasks)
    values: dict[str, list[Arrays]] = {}
    flops = []

    def compute(epochs: int, replicate: int) -> Arrays:
        seed = derive(p.seed, "transfer", replicate)
        scores = replicated_scores(problem, subsets, p.recipe(epochs), [seed], device)
        return {**{name: scores[name].values[0] for name in METRICS}, "flops": np.array(scores.attrs["flops"])}

    with measured(device) as cost:
        for epochs in p.budgets:
            parts = [
                cached(checkpoint, f"epochs-{epochs}-{replicate}", partial(compute, epochs, replicate), deadline)
                for replicate in range(p.replicates)
            ]
            values[str(epochs)] = parts
            flops.append(sum(int(part["flops"]) for part in parts))
    arrays = {name: np.stack([[part[name] for part in parts] for parts in values.values()]) for name in METRICS}
    results = {"tasks": list(problem.task_names), "flops": flops}
    origin = provenance(device, cost, p.seed, data)
    return RunRecord("transfer", asdict(p), results, {"member": subsets, **arrays}, origin)


def transfer_table(record: RunRecord, metric: str, budget: int = -1) -> xr.DataArray:
    """The table of one budget: dims ("replicate", "subset", "task") with the coordinate "member".

    Parameters
    ----------
    record : of `transfer_study`.
    metric : one of `METRICS`.
    budget : index into the record's budgets; the last is the longest.

    Raises
    ------
    InputError : an unknown metric.
    """
    if metric not in METRICS:
        raise InputError("metric", repr(metric), f"Use one of {', '.join(METRICS)}.")
    member: Subsets = record.arrays["member"].astype(bool)
    return xr.DataArray(
        record.arrays[metric][budget],
        dims=("replicate", "subset", "task"),
        coords={"task": record.results["tasks"], "member": (("subset", "task"), member)},
        name=metric,
    )
