"""One network or several: weightings of the losses against groups of tasks, trained and tested alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from taskgroup_core.errors import InputError
from taskgroup_core.grouping.grouping import Grouping
from taskgroup_core.grouping.random import RandomGrouper
from taskgroup_core.matrices import FloatArray
from taskgroup_core.problems.problem import Problem
from taskgroup_core.runs.baseline_parameters import BaselineParameters
from taskgroup_core.runs.checkpoint import Checkpoint
from taskgroup_core.runs.paper_methods import METHODS, method_affinity, method_groups
from taskgroup_core.runs.provenance import measured, provenance
from taskgroup_core.runs.record import Arrays, RunRecord
from taskgroup_core.runs.stages import stages
from taskgroup_core.seeds import derive
from taskgroup_core.training.evaluate import evaluate
from taskgroup_core.training.joint import joint_training
from taskgroup_core.training.recipe import Keep

KEEPS: tuple[Keep, ...] = ("best", "last")
SURGERY = "PCGrad"
Scores = dict[str, FloatArray]


def baseline_study(
    problem: Problem,
    parameters: BaselineParameters,
    device: torch.device,
    *,
    wider: Mapping[int, Problem] | None = None,
    progress: bool = True,
    data: Sequence[Path | str] = (),
    checkpoint: Checkpoint | None = None,
) -> RunRecord:
    """Group by every method, train one network a group, and one for all tasks under every weighting.

    All networks are trained by `joint_training` with the same recipe; those of a replicate start from one seed.

    Parameters
    ----------
    problem, parameters, device : what is asked, and where to compute.
    wider : the same problem with a network that is so many times as wide, for one network of more capacity.
    progress : show a text bar.
    data : the files the problem was read from, for the provenance.
    checkpoint : where finished stages are kept.

    Returns
    -------
    A record whose result "rows" has, for every way to serve the tasks, "name", "kind" ("one network", "wider network",
    "groups", "groups and surgery", "alone"), "keep" (the epoch whose weights are tested), "k" (networks asked for, or
    times as wide, or 0), "groups", "served_by", "flops" (of one replicate's trainings) and "affinity_flops"; with the
    arrays

    - `val.METRIC`, `test.METRIC` : each task where it is served, with shape (rows, R, n).
    - `affinity.METHOD` : with shape (n, n), [target, source].

    Raises
    ------
    InputError : `wider` with other tasks; see also the estimators, groupers and `joint_training`.
    MissingExtra : torchjd or cvxpy is not installed.

    References
    ----------
    TAG, section 5, Figures 3 and 6; Principled task grouping, section 5.2, Table 1; SCA, Figure 6; GRAD-TAG, Figure 4.

    Deviations
    ----------
    1. No method has settings of its own but GradNorm, as in TAG; batches, rate and epochs are the same for all.
    2. A task in several groups is served by the one its grouper names; Principled task grouping takes the best outcome
       on the test examples.
    """
    p, problems = parameters, {1: problem, **(wider or {})}
    if any(one.task_names != problem.task_names for one in problems.values()):
        raise InputError("wider", "a problem with other tasks", "Give the same problem with a wider network.")
    seeds = [derive(p.seed, "replicate", r) for r in range(p.replicates)]
    with measured(device) as cost, stages(checkpoint, len(METHODS) + p.replicates, progress) as stage:
        affinities = {
            name: stage(name, partial(method_affinity, name, problem, p, derive(p.seed, name), device))
            for name in METHODS
        }
        rows = _rows(p, problem.n_tasks, affinities, tuple(wider or ()))
        runs = [stage(f"replicate {r}", partial(_replicate, problems, p, rows, s, device)) for r, s in enumerate(seeds)]
    for row, flops in zip(rows, runs[0]["flops"].tolist(), strict=True):
        row["flops"] = flops
    arrays = {name: np.stack([run[name] for run in runs], axis=1) for name in runs[0] if name != "flops"}
    arrays |= {f"affinity.{name}": one["T"] for name, one in affinities.items()}
    results = {"tasks": list(problem.task_names), "rows": rows}
    return RunRecord("baselines", asdict(p), results, arrays, provenance(device, cost, p.seed, data))


def _rows(
    p: BaselineParameters, n_tasks: int, affinities: Mapping[str, Arrays], widths: Sequence[int]
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []

    def add(name: str, kind: str, grouping: Grouping, k: int = 0, keep: Keep = "best", spent: int = 0) -> None:
        served = {"groups": grouping.groups, "served_by": grouping.served_by}
        rows.append({"name": name, "kind": kind, "keep": keep, "k": k, **served, "affinity_flops": spent})

    everything = Grouping.from_labels([0] * n_tasks)
    for keep in KEEPS:
        for name in p.weightings():
            add(name, "one network", everything, keep=keep)
    for times in widths:
        add("sum", "wider network", everything, times)
    add("alone", "alone", Grouping.from_labels(range(n_tasks)))
    for k in p.splits:
        for name, one in affinities.items():
            grouping = method_groups(name, one["T"], k, p.restarts, derive(p.seed, "groups", name, k))
            kinds = ("groups", "groups and surgery") if name == "TAG" else ("groups",)  # as TAG's section 5 does
            for kind in kinds:
                add(name, kind, grouping, k, spent=int(one["flops"]))
        for draw in range(p.random):
            grouper = RandomGrouper(k, random_state=derive(p.seed, "random groups", k, draw))
            add(f"random {draw}", "groups", grouper.fit(np.eye(n_tasks)).grouping_, k)
    return rows


def _replicate(
    problems: Mapping[int, Problem], p: BaselineParameters, rows: list[dict[str, Any]], seed: int, device: torch.device
) -> Arrays:
    """One training of every network: "SPLIT.METRIC" with shape (rows, n) and "flops" with shape (rows,)."""
    weightings = p.weightings()
    known: dict[Any, tuple[Scores, int]] = {}

    def trained(group: tuple[int, ...], name: str, keep: Keep, times: int) -> tuple[Scores, int]:
        """Scores with shape (n,) of a network, NaN outside its group, and its operations; each is trained once."""
        key = group, name, keep, times
        if key not in known:
            weighting = weightings[name] if len(group) > 1 else None  # one gradient is in conflict with none
            recipe, problem = replace(p.recipe, keep=keep), problems[times]
            one = joint_training(problem, recipe, seed, device, subset=group, weighting=weighting)
            scores = {
                f"{split}.{metric}": values
                for split in ("val", "test")
                for metric, values in evaluate(one.network, problem, split, group, device).items()
            }
            known[key] = scores, one.flops
        return known[key]

    found: dict[str, list[Any]] = {}
    for row in rows:
        named = {"one network": row["name"], "groups and surgery": SURGERY}
        times = row["k"] if row["kind"] == "wider network" else 1
        parts = [trained(group, named.get(row["kind"], "sum"), row["keep"], times) for group in row["groups"]]
        for name in parts[0][0]:
            served = [parts[group][0][name][task] for task, group in enumerate(row["served_by"])]
            found.setdefault(name, []).append(served)
        found.setdefault("flops", []).append(sum(flops for _, flops in parts))
    return {name: np.array(values) for name, values in found.items()}
