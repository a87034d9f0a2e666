"""The paper-scale runs the book wants recorded, and what each costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from taskgroup_core.errors import InputError
from taskgroup_core.runs.checkpoint import Checkpoint, Deadline
from taskgroup_core.runs.record import RunRecord


@dataclass(frozen=True)
class Recording:
    """One run the book wants recorded.

    Parameters
    ----------
    name : of the record and its files.
    title : what it measures, in words.
    chapter : the notebook that shows it.
    parameters : JSON values, handed to `run`.
    data : the files it reads, relative to the checkout.
    minutes, memory_gib, flops : what it costs on an H100: estimates, until a record says what it took.
    entries : the modules that compute it: the record is stale when one of them, or one they import, has changed.
    run : computes the record from parameters, device, checkpoint and deadline; raises `OutOfTime` between slices.
    official : further files that it reads, as "DATA SET/FILE", which do not come with the project: to record it they
        have to be in the data folder, with the checksums that the project knows.
    """

    name: str
    title: str
    chapter: str
    parameters: Mapping[str, Any]
    data: tuple[Path, ...]
    minutes: float
    memory_gib: float
    flops: float
    entries: tuple[str, ...]
    run: Callable[[Mapping[str, Any], torch.device, Checkpoint, Deadline], RunRecord]
    official: tuple[str, ...] = ()


DEBIAN = tuple(Path("data", "debian", f"{table}.parquet") for table in ("nodes", "edges", "communities"))


def _with_tuples(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """JSON's lists as the tuples that they were."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in parameters.items()}


def _grad_tag_debian(
    parameters: Mapping[str, Any], device: torch.device, checkpoint: Checkpoint, deadline: Deadline
) -> RunRecord:
    # Imported here, so that listing the plan does not import every estimator.
    from taskgroup_core.problems.debian import debian_problem
    from taskgroup_core.runs.experiment import grad_tag_experiment
    from taskgroup_core.runs.grad_tag_parameters import GradTagParameters

    asked = GradTagParameters(**_with_tuples(parameters))
    problem = debian_problem(asked.n_tasks, seed=asked.seed)
    return grad_tag_experiment(problem, asked, device, checkpoint, deadline, data=DEBIAN)


def _transfer_debian(
    parameters: Mapping[str, Any], device: torch.device, checkpoint: Checkpoint, deadline: Deadline
) -> RunRecord:
    from taskgroup_core.problems.debian import TEACHING_TAGS, debian_problem
    from taskgroup_core.runs.transfer_study import TransferParameters, transfer_study

    asked = TransferParameters(**_with_tuples(parameters))
    problem = debian_problem(TEACHING_TAGS, seed=asked.seed)
    return transfer_study(problem, asked, device, data=DEBIAN, checkpoint=checkpoint, deadline=deadline)


def _transfer_dblp(
    parameters: Mapping[str, Any], device: torch.device, checkpoint: Checkpoint, deadline: Deadline
) -> RunRecord:
    from taskgroup_core.problems.registry import locate
    from taskgroup_core.problems.snap_graphs import DATASETS, GRAPHS, snap_problem
    from taskgroup_core.runs.transfer_study import TransferParameters, transfer_study

    given = _with_tuples(parameters)
    problem = snap_problem("dblp", n_tasks=given.pop("n_tasks"), seed=given["seed"])
    files = [locate(DATASETS[0], file) for file in (GRAPHS["dblp"].edges, GRAPHS["dblp"].communities)]
    return transfer_study(
        problem, TransferParameters(**given), device, data=files, checkpoint=checkpoint, deadline=deadline
    )


RECORDINGS: tuple[Recording, ...] = (
    Recording(
        name="grad_tag_debian_paper",
        title="GRAD-TAG end to end on 100 tags of the Debian graph, at the paper's sizes",
        chapter="04",
        parameters={
            "n_tasks": 100,
            "n_groups": 20,
            "alpha": 10,
            "m": 2000,
            # Full training of all 2,000 subsets and of all pairs is what the estimate is there to spare.
            "t_star_subsets": 100,
            "pairwise": False,
            "replicates": 2,
            "dimensions": [50, 100, 200, 400],
            "ensembles": [1, 3, 5],
            # The one solver that needs no cvxpy, which the machine that records does not have.
            "solver": "ADMM",
            "seed": 0,
        },
        data=DEBIAN,
        minutes=25,
        memory_gib=8,
        flops=1e15,
        entries=("taskgroup_core.runs.experiment", "taskgroup_core.problems.debian"),
        run=_grad_tag_debian,
    ),
    Recording(
        name="transfer_debian_paper",
        title="Every subset of twelve tags of the Debian graph trained three times, with the paper's network",
        chapter="05",
        parameters={"budgets": [100], "replicates": 3, "batch_size": 1000, "seed": 0},
        data=DEBIAN,
        minutes=5,
        memory_gib=40,
        flops=3.4e15,
        entries=("taskgroup_core.runs.transfer_study", "taskgroup_core.problems.debian"),
        run=_transfer_debian,
    ),
    Recording(
        name="transfer_dblp_paper",
        title="Every subset of the eight largest communities of DBLP trained three times, with the paper's network",
        chapter="05",
        parameters={"n_tasks": 8, "budgets": [100], "replicates": 3, "batch_size": 1000, "seed": 0},
        data=(),
        minutes=5,
        memory_gib=40,
        flops=3.1e15,
        entries=("taskgroup_core.runs.transfer_study", "taskgroup_core.problems.snap_graphs"),
        run=_transfer_dblp,
        official=("snap/com-dblp.ungraph.txt.gz", "snap/com-dblp.top5000.cmty.txt.gz"),
    ),
)


def find(name: str) -> Recording:
    """The recording of that name.

    Raises
    ------
    InputError : there is none.
    """
    for recording in RECORDINGS:
        if recording.name == name:
            return recording
    known = ", ".join(recording.name for recording in RECORDINGS)
    raise InputError("name", repr(name), f"Recordings: {known}.")
