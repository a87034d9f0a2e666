"""GRAD-TAE taken apart: many settings of it on one problem, against one T* (GRAD-TAG, Table 2 and C.2.2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import nn
from tqdm import tqdm

from taskgroup_core.affinity.gauss_newton import GaussNewton
from taskgroup_core.affinity.grad_tae import GradTAE
from taskgroup_core.affinity.higher_order import higher_order_affinity
from taskgroup_core.affinity.pairwise import pairwise_affinity
from taskgroup_core.matrices import FloatArray, make_scores
from taskgroup_core.problems.problem import Problem
from taskgroup_core.runs.checkpoint import Checkpoint
from taskgroup_core.runs.grad_tae_parameters import GradTaeParameters
from taskgroup_core.runs.judgement import judge
from taskgroup_core.runs.provenance import measured, provenance
from taskgroup_core.runs.record import Arrays, RunRecord, json_hash
from taskgroup_core.runs.slices import SLICE, Slices
from taskgroup_core.seeds import derive
from taskgroup_core.subsets import Subsets, pairs, sample_subsets

METRICS = ("score", "negative_loss")
KINDS: Mapping[str, Callable[[xr.DataArray], xr.DataArray]] = {
    "pairwise": pairwise_affinity,
    "higher-order": higher_order_affinity,
}


def grad_tae_study(
    problem: Problem,
    parameters: GradTaeParameters,
    device: torch.device,
    *,
    progress: bool = True,
    data: Sequence[Path | str] = (),
    checkpoint: Checkpoint | None = None,
) -> RunRecord:
    """Train all subsets for T*, estimate them in every setting, and judge.

    Parameters
    ----------
    problem : tasks of any kinds.
    parameters : what is asked.
    device : where to compute.
    progress : show a text bar.
    data : the files the problem was read from, for the provenance.
    checkpoint : where finished slices are kept.

    Returns
    -------
    A record with these arrays, for m subsets (all pairs, then the random ones; `member` says which tasks are in):

    - `truth.METRIC` : f(S, t), with shape (replicates, m, n).
    - `estimate.METRIC.NAME` : the estimate in each setting, with shape (m, n).

    Results: `merits`, a row for each kind of affinity, metric and estimate, trivial predictors included (see `judge`),
    with the distance also as a ratio of norms; `ceiling` of each kind and metric; `costs`, a row for each setting with
    its operations ("training" of the meta-initialisations, "gradients", "subsets", which is all that grows with m) and
    its regressions without a minimum; `training_flops` of one replicate of T*. The provenance has the seconds that
    each setting took.

    Raises
    ------
    InputError : see `GradTAE`, `GaussNewton` and `sample_subsets`.

    References
    ----------
    GRAD-TAG, section 5.2, Table 2, C.2.2.
    """
    p = parameters
    random = sample_subsets(problem.n_tasks, p.subset_size, p.n_subsets, p.seed)
    member = np.vstack([pairs(problem.n_tasks), random])
    size = max(setting.get("M", 1) for setting in p.settings.values())
    total = p.replicates * -(-len(member) // SLICE) + size
    total += len({_key(setting, k) for setting in p.settings.values() for k in range(setting.get("M", 1))})
    with measured(device) as cost, tqdm(total=total, disable=not progress, unit="slice", mininterval=5) as bar:
        slices = Slices(problem, p.recipe, p.seed, device, checkpoint, None, bar)
        trained = [slices.trained("T*", member, replicate) for replicate in range(p.replicates)]
        metas = [slices.meta(k) for k in range(size)]
        done: dict[str, Arrays] = {}  # settings that differ in M alone share their estimates
        made = {name: _estimate(problem, setting, metas, member, slices, done) for name, setting in p.settings.items()}
    truth = {metric: np.stack([scores[metric].values for scores, _ in trained]) for metric in METRICS}
    merits, ceilings = _judge(problem, member, truth, made)
    costs = [{"estimate": name, **{key: int(one[key]) for key in COSTS}} for name, one in made.items()]
    results = {
        "tasks": list(problem.task_names),
        "n_parameters": sum(parameter.numel() for parameter in metas[0][0].parameters()),
        "merits": merits,
        "ceiling": ceilings,
        "costs": costs,
        "training_flops": trained[0][1],
    }
    arrays: Arrays = {"member": member} | {f"truth.{metric}": values for metric, values in truth.items()}
    arrays |= {f"estimate.{metric}.{name}": one[metric] for name, one in made.items() for metric in METRICS}
    origin = provenance(device, cost, p.seed, data)
    origin["setting_seconds"] = {name: float(one["seconds"]) for name, one in made.items()}
    return RunRecord("grad_tae", asdict(p), results, arrays, origin)


COSTS = ("training", "gradients", "subsets", "unconverged")


def _key(setting: Mapping[str, Any], k: int) -> str:
    own = {name: value for name, value in setting.items() if name != "M"}
    return f"estimate-{json_hash(own)[:12]}-{k}"


def _estimate(
    problem: Problem,
    setting: Mapping[str, Any],
    metas: Sequence[tuple[nn.Module, int]],
    member: Subsets,
    slices: Slices,
    done: dict[str, Arrays],
) -> Arrays:
    """The scores of one setting, the mean over its meta-initialisations, and its costs, their sum."""
    options = {name: value for name, value in setting.items() if name not in ("estimator", "M", "draw")}
    kind, draw = setting.get("estimator", "grad_tae"), setting.get("draw", 0)

    def one(k: int) -> Arrays:
        networks = [metas[k][0]]
        algorithm: GradTAE | GaussNewton
        if kind == "gauss_newton":
            algorithm = GaussNewton(problem, networks, device=slices.device, **options)
        else:
            makers: dict[str, Callable[..., GradTAE]] = {
                "grad_tae": GradTAE,
                "as_published": GradTAE.as_published,
                "as_released": GradTAE.as_released,
            }
            seed = derive(slices.seed, "projection", k, draw)
            algorithm = makers[kind](problem, networks, device=slices.device, seed=seed, **options)
        gradients = algorithm.flops
        scores = algorithm.scores(member)
        facts = {"gradients": gradients, "subsets": algorithm.flops - gradients, "unconverged": algorithm.unconverged}
        values = {metric: scores[metric].values for metric in METRICS}
        return values | {name: np.array(value) for name, value in facts.items()}

    size = setting.get("M", 1)
    keys = [_key(setting, k) for k in range(size)]
    for k, key in enumerate(keys):
        if key not in done:
            done[key] = slices.run("estimates", key, partial(one, k))
    parts = [done[key] for key in keys]
    found = {name: np.sum([part[name] for part in parts], axis=0) for name in parts[0]}
    training = np.array(sum(flops for _, flops in metas[:size]))
    return found | {metric: found[metric] / size for metric in METRICS} | {"training": training}


def _judge(
    problem: Problem, member: Subsets, truth: Mapping[str, FloatArray], made: Mapping[str, Arrays]
) -> tuple[list[dict[str, Any]], dict[str, dict[str, float]]]:
    n, names = problem.n_tasks, problem.task_names
    rows: list[dict[str, Any]] = []
    ceilings: dict[str, dict[str, float]] = {kind: {} for kind in KINDS}
    single = {metric: values[:, :n].mean(axis=0).diagonal() for metric, values in truth.items()}
    n_pairs = len(pairs(n))
    for kind, part in (("pairwise", slice(n_pairs)), ("higher-order", slice(n_pairs, None))):
        for metric in METRICS:

            def affinity(
                values: FloatArray, kind: str = kind, metric: str = metric, part: slice = part
            ) -> xr.DataArray:
                return KINDS[kind](make_scores({metric: values[part]}, member[part], names)[metric])

            replicates = xr.concat([affinity(one) for one in truth[metric]], "replicate")
            estimates = {name: affinity(one[metric]) for name, one in made.items()}
            judged, ceilings[kind][metric] = judge(replicates, estimates, single[metric])
            rows += [
                {"affinity": kind, "metric": metric, **row, "norm_distance": row["distance"] ** 0.5} for row in judged
            ]
    return rows, ceilings
