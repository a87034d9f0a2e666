"""SCA's scores under what its paper leaves open, along training, and against pairwise T*."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import nn

from taskgroup_core.affinity.affinity_trace import AffinityTrace
from taskgroup_core.affinity.sample_convergence import SampleConvergenceAffinity
from taskgroup_core.matrices import FloatArray, make_affinity
from taskgroup_core.problems.problem import Problem
from taskgroup_core.runs.checkpoint import Checkpoint
from taskgroup_core.runs.judgement import judge
from taskgroup_core.runs.provenance import measured, provenance
from taskgroup_core.runs.record import Arrays, RunRecord
from taskgroup_core.runs.sample_convergence_parameters import SampleConvergenceParameters
from taskgroup_core.runs.stages import stages
from taskgroup_core.runs.true_scores import pairwise_truth
from taskgroup_core.scores import present
from taskgroup_core.seeds import derive
from taskgroup_core.training.joint import joint_steps, joint_training
from taskgroup_core.training.recipe import Recipe
from taskgroup_core.training.reptile import ReptileRecipe, reptile
from taskgroup_core.training.shared_parameters import shared_parameters

HEADS = {"apart": False, "equal": True}
METRICS = ("score", "negative_loss")


def sample_convergence_study(
    problem: Problem,
    parameters: SampleConvergenceParameters,
    device: torch.device,
    progress: bool = True,
    data: Sequence[Path | str] = (),
    checkpoint: Checkpoint | None = None,
) -> RunRecord:
    """Measure SCA's scores in every way the parameters ask for, train T*, and judge the scores by it.

    Parameters
    ----------
    problem : the tasks; with inputs "same", every pair must have common training inputs.
    device : where to compute.
    progress : show a text bar.
    data : the files the problem was read from, for the provenance.
    checkpoint : where finished parts are kept.

    Returns
    -------
    A record with these arrays, all [..., target, source]:

    - `agreement` : share of equal labels among the training inputs with labels of both, NaN where there are none.
    - `apart`, `equal` : scores with heads apart or equal, one matrix an initialisation; `apart.distance`,
      `equal.distance` : the distances of Eq. (16).
    - `joint`, `reptile 0.001`, ... : scores along training, (moments + 1, n, n), with `... step`.
    - `truth.score`, `truth.negative_loss` : pairwise T*, one matrix a replicate.

    `results` hold the figures of merit of every estimate ("merit"), the replicate "ceiling", how far each training
    moved the shared parameters relative to their norm ("moved"), and the "flops" of one matrix of scores and of one
    replicate of T*.

    Raises
    ------
    InputError : see `SampleConvergenceAffinity`.
    """
    study = _Study(problem, parameters, device)
    computed: dict[str, Callable[[], Arrays]] = {"scores": study.scores}
    trainings = {"joint": study.joint} | {f"reptile {rate:g}": study.reptile(rate) for rate in parameters.outer_rates}
    computed |= {name: partial(study.along, name, run) for name, run in trainings.items()}
    for r in range(parameters.replicates):
        seed = derive(parameters.seed, "replicate", r)
        computed[f"truth {r}"] = partial(pairwise_truth, problem, study.recipe, seed, device)
    with measured(device) as cost, stages(checkpoint, len(computed), progress) as stage:
        parts = {name: stage(name, compute) for name, compute in computed.items()}
    truth = [parts.pop(f"truth {r}") for r in range(parameters.replicates)]
    arrays = {key: value for part in parts.values() for key, value in part.items()}
    arrays |= {f"truth.{metric}": np.stack([one[metric] for one in truth]) for metric in METRICS}
    results = {
        "tasks": list(problem.task_names),
        "moved": {name: float(arrays.pop(f"{name} moved")) for name in trainings},
        "flops": {"scores": int(arrays.pop("flops")), "T*": int(truth[0]["flops"])},
        **_judged(problem, arrays),
    }
    return RunRecord(
        "sample_convergence", asdict(parameters), results, arrays, provenance(device, cost, parameters.seed, data)
    )


def label_agreement(problem: Problem) -> FloatArray:
    """Share of equal labels among the training inputs with labels of both tasks, (n, n), NaN where there are none."""
    table = problem.table("train")[1]
    known, labels = present(table).numpy(), table.reshape(*table.shape[:2], -1).numpy()
    both = known.astype(float).T @ known
    equal = (labels[:, :, None] == labels[:, None]).all(axis=3).sum(axis=0)
    share: FloatArray = np.divide(equal, both, out=np.full(both.shape, np.nan), where=both > 0)
    return share


def _judged(problem: Problem, arrays: Arrays) -> dict[str, Any]:
    names = list(problem.task_names)
    estimates = {f"{heads} {k}": matrix for heads in HEADS for k, matrix in enumerate(arrays[heads])}
    estimates |= {f"{heads}, mean": arrays[heads].mean(axis=0) for heads in HEADS}
    estimates |= {"after joint training": arrays["joint"][-1]}
    agreement = arrays["agreement"]
    if np.isfinite(agreement).all():
        estimates["label agreement"] = agreement
    merit, ceiling = [], {}
    for metric in METRICS:
        truth = xr.concat([make_affinity(matrix, names) for matrix in arrays[f"truth.{metric}"]], "replicate")
        single = np.diag(truth.mean("replicate").values)
        labelled = {name: make_affinity(matrix, names) for name, matrix in estimates.items()}
        rows, ceiling[metric] = judge(truth, labelled, single)
        merit += [{"metric": metric, **row} for row in rows]
    return {"merit": merit, "ceiling": ceiling}


class _Study:
    """The parts of the study, each of which depends on the problem and the parameters alone."""

    def __init__(self, problem: Problem, parameters: SampleConvergenceParameters, device: torch.device) -> None:
        self.problem, self.p, self.device = problem, parameters, device
        self.recipe = Recipe(epochs=parameters.epochs)

    def estimator(self, heads: str) -> SampleConvergenceAffinity:
        p, equal = self.p, HEADS[heads]
        seed = derive(p.seed, "samples")
        return SampleConvergenceAffinity(p.samples, seed, self.device, inputs=p.inputs, equal_heads=equal)

    def network(self, k: int) -> nn.Module:
        return self.problem.network(derive(self.p.seed, "initialisation", k))

    def scores(self) -> Arrays:
        found: Arrays = {"agreement": label_agreement(self.problem)}
        for heads in HEADS:
            made = [self.estimator(heads) for _ in range(self.p.initialisations)]
            found[heads] = np.stack([one.affinity(self.problem, self.network(k)).values for k, one in enumerate(made)])
            found[f"{heads}.distance"] = np.stack([one.distances_.values for one in made])
        return found | {"flops": np.array(made[0].flops)}

    def joint(self, trace: AffinityTrace) -> nn.Module:
        steps = joint_steps(self.problem, self.recipe)
        fitted = joint_training(
            self.problem,
            self.recipe,
            derive(self.p.seed, "joint"),
            self.device,
            observe=lambda moment: trace.observe(moment.step, moment.network),
            every=-(-steps // self.p.moments),
        )
        trace.observe(steps, fitted.network)
        return fitted.network

    def reptile(self, rate: float) -> Callable[[AffinityTrace], nn.Module]:
        recipe = ReptileRecipe(self.p.rounds, outer_rate=rate)
        seed, every = derive(self.p.seed, "joint"), -(-self.p.rounds // self.p.moments)
        return lambda trace: (
            reptile(self.problem, recipe, seed, self.device, observe=trace.observe, every=every).network
        )

    def along(self, name: str, train: Callable[[AffinityTrace], nn.Module]) -> Arrays:
        trace = AffinityTrace(self.estimator("apart"), self.problem)
        start, end = self.problem.network(derive(self.p.seed, "joint")), train(trace).cpu()
        names = shared_parameters(start, self.problem.n_outputs)
        before, after = (
            torch.cat([network.get_parameter(one).detach().flatten() for one in names]) for network in (start, end)
        )
        result, moved = trace.result(), float((after - before).norm() / before.norm())
        return {name: result.values, f"{name} step": result.step.values, f"{name} moved": np.array(moved)}
