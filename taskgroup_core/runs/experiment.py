"""GRAD-TAG end to end: from a problem to groups, judged at every step (GRAD-TAG, Algorithm 2 and section 5)."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch
from tqdm import tqdm

from taskgroup_core.errors import InputError
from taskgroup_core.problems.problem import Problem
from taskgroup_core.runs.affinity_study import study_affinities
from taskgroup_core.runs.checkpoint import Checkpoint, Deadline
from taskgroup_core.runs.grad_tag_parameters import GradTagParameters
from taskgroup_core.runs.grouping_study import compare_groupings
from taskgroup_core.runs.provenance import measured, provenance
from taskgroup_core.runs.record import RunRecord
from taskgroup_core.runs.slices import Slices
from taskgroup_core.subsets import pairs, sample_subsets
from taskgroup_core.training.epochs import training_flops
from taskgroup_core.training.fit import fit
from taskgroup_core.training.recipe import Recipe


def grad_tag_experiment(
    problem: Problem,
    parameters: GradTagParameters,
    device: torch.device,
    checkpoint: Checkpoint | None = None,
    deadline: Deadline | None = None,
    progress: bool = True,
    data: tuple[Path | str, ...] = (),
) -> RunRecord:
    """Run the experiment on a problem and return its record.

    Parameters
    ----------
    problem : binary tasks; its size must agree with `parameters`.
    parameters : what is asked.
    device : where to compute.
    checkpoint, deadline : store slices, and stop between them (see `cached`).
    progress : show a text bar.
    data : the files the problem was read from, for the provenance.

    Raises
    ------
    InputError : parameters that do not fit the problem.
    OutOfTime : the deadline has passed; run again with the same checkpoint to go on.
    """
    if problem.n_tasks != parameters.n_tasks:
        raise InputError("problem", f"{problem.n_tasks} tasks", f"Give one with {parameters.n_tasks} tasks.")
    with (
        measured(device) as cost,
        tqdm(total=parameters.n_slices, disable=not progress, unit="slice", mininterval=2) as bar,
    ):
        recipe = Recipe(epochs=parameters.epochs)
        slices = Slices(problem, recipe, parameters.seed, device, checkpoint, deadline, bar)
        study = study_affinities(parameters, slices)
        rows, scores, spent = compare_groupings(parameters, slices, study)
    results = {
        "tasks": list(problem.task_names),
        "n_inputs": len(problem.inputs),
        "n_examples": len(problem.train),
        "n_parameters": sum(parameter.numel() for parameter in problem.network(0).parameters()),
        "flops": {**study.spent, "groups": spent},
        **study.results,
        "groupings": rows,
    }
    origin = provenance(device, cost, parameters.seed, data, float(sum(study.spent.values()) + spent))
    origin["stage_seconds"] = slices.seconds
    return RunRecord("grad_tag", asdict(parameters), results, {**study.arrays, **scores}, origin)


def forecast(problem: Problem, parameters: GradTagParameters, device: torch.device) -> dict[str, float]:
    """What training T* will cost, which is nearly all of the experiment: trainings, FLOPs, minutes.

    The minutes come from one timed training of the first subset on this device.
    """
    kinds = [sample_subsets(parameters.n_tasks, parameters.alpha, parameters.m, parameters.seed)]
    kinds[0] = kinds[0][: parameters.t_star_subsets]
    kinds += [pairs(parameters.n_tasks)] if parameters.pairwise else []
    recipe = Recipe(epochs=parameters.epochs)
    subsets = [row.nonzero()[0].tolist() for rows in kinds for row in rows]
    flops = parameters.replicates * sum(training_flops(problem, subset, recipe) for subset in subsets)
    fit(problem, subsets[0], Recipe(epochs=1), parameters.seed, device)  # the first one also loads libraries
    timed = fit(problem, subsets[0], recipe, parameters.seed, device)
    minutes = flops * timed.seconds / timed.flops / 60
    return {"trainings": float(parameters.replicates * len(subsets)), "flops": float(flops), "minutes": minutes}
