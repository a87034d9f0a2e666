"""All affinity estimators on one problem, judged by replicates of T*, by their cost and by the groups they lead to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from taskgroup_core.errors import InputError
from taskgroup_core.problems.problem import Problem
from taskgroup_core.runs.cheap_estimates import CHEAP, METRICS, cheap_estimate
from taskgroup_core.runs.checkpoint import Checkpoint
from taskgroup_core.runs.estimator_parameters import EstimatorParameters
from taskgroup_core.runs.estimator_rows import PRIOR, EstimatorRows
from taskgroup_core.runs.provenance import measured, provenance
from taskgroup_core.runs.record import Arrays, RunRecord
from taskgroup_core.runs.stages import stages
from taskgroup_core.runs.true_scores import score_both_splits, training_cost
from taskgroup_core.seeds import derive
from taskgroup_core.subsets import Subsets, all_subsets, pairs
from taskgroup_core.training.recipe import Recipe


def estimator_study(
    problem: Problem,
    parameters: EstimatorParameters,
    device: torch.device,
    checkpoint: Checkpoint | None = None,
    progress: bool = True,
    data: Sequence[Path | str] = (),
) -> RunRecord:
    """Train T*, run every estimator, and judge them side by side.

    Parameters
    ----------
    problem : four tasks or more; nine at most with `parameters.exhaustive`.
    parameters : what is asked.
    device : where to compute.
    checkpoint : where finished slices are kept; None keeps none.
    progress : show a text bar.
    data : the files the problem was read from, for the provenance.

    Returns
    -------
    A record whose result "rows" has the figures of merit and the cost of every estimate (see `HeldOut.row`), "limits"
    the reliability of each truth (see `HeldOut`), and "regret" the rows of `regret_rows`; with the arrays:

    - `member` : subsets that were trained, with shape (m, n).
    - `val.METRIC`, `test.METRIC` : f(S, t) of all replicates, with shape (R, m, n).
    - `truth.KIND.METRIC` : T* of all replicates, with shape (R, n, n).
    - `estimate.KIND.METRIC.NAME` : of every run, with shape (runs, n, n).

    Raises
    ------
    InputError : an unknown name in `runs`, or none of the surrogate's prior; see `EstimatorParameters`, `all_subsets`
        and the estimators.
    """
    p, two = parameters, pairs(problem.n_tasks)
    for name, count in p.runs.items():
        if name not in CHEAP or count < (name == PRIOR):
            found, names = f"{count} of {name!r}", ", ".join(CHEAP)
            raise InputError("runs", found, f"Use 0 or more of {names}; 1 or more of the surrogate's prior, {PRIOR!r}.")
    runs = {name: p.runs.get(name, p.seeds) for name in CHEAP}
    subsets = all_subsets(problem.n_tasks) if p.exhaustive else two
    total = p.replicates + len(p.short) * p.short_replicates + sum(runs.values())
    with measured(device) as cost, stages(checkpoint, total, progress) as stage:

        def trained(name: str, rows: Subsets, recipe: Recipe, replicates: int) -> list[Arrays]:
            seeds = [derive(p.seed, "replicate", replicate) for replicate in range(replicates)]
            return [
                stage(f"{name} {r}", partial(score_both_splits, problem, rows, recipe, seed, device))
                for r, seed in enumerate(seeds)
            ]

        truth = trained("truth", subsets, p.recipe, p.replicates)
        short = {}
        for epochs, batch in p.short:
            recipe = replace(p.recipe, epochs=epochs, batch_size=batch)
            name = f"{epochs} epochs in batches of {batch}"
            short[name] = (trained(name, two, recipe, p.short_replicates), sum(training_cost(problem, two, recipe)))
        cheap = {
            name: [
                stage(f"{name} {seed}", partial(cheap_estimate, name, problem, p, seed, device))
                for seed in range(count)
            ]
            for name, count in runs.items()
            if count
        }
        judged = EstimatorRows(problem, p, subsets, truth, short, cheap)
        judged.judge()
    arrays: Arrays = {"member": subsets} | judged.arrays
    for split in ("val", "test"):
        arrays |= {f"{split}.{metric}": np.stack([one[f"{split}.{metric}"] for one in truth]) for metric in METRICS}
    results = {
        "tasks": list(problem.task_names),
        "rows": judged.rows,
        "limits": judged.limits,
        "regret": judged.regret,
    }
    return RunRecord("estimators", asdict(p), results, arrays, provenance(device, cost, p.seed, data))
