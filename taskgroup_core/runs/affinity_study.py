"""T*, GRAD-TAE's estimates of it, and the tables that compare them (GRAD-TAG, section 5.2)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from taskgroup_core.affinity.higher_order import higher_order_affinity
from taskgroup_core.affinity.pairwise import pairwise_affinity
from taskgroup_core.errors import InputError
from taskgroup_core.metrics import relative_distance
from taskgroup_core.runs.grad_tag_parameters import GradTagParameters
from taskgroup_core.runs.judgement import judge
from taskgroup_core.runs.slices import Slices
from taskgroup_core.subsets import Subsets, pairs, sample_subsets, singletons

AFFINITY = {"pairwise": pairwise_affinity, "higher-order": higher_order_affinity}
METRICS = ("score", "negative_loss")


@dataclass
class AffinityStudy:
    """What is known about the affinities.

    Parameters
    ----------
    truth : T* of every replicate by (kind, metric), dims ("replicate", "target", "source").
    estimates : name -> affinity by (kind, metric).
    flops : name -> operations by kind of what the estimate took, its meta-initialisations included; "T*" -> those of
        ONE replicate of full training.
    spent : stage -> operations really done.
    results, arrays : for the record.
    """

    truth: dict[tuple[str, str], xr.DataArray] = field(default_factory=dict)
    estimates: dict[str, dict[tuple[str, str], xr.DataArray]] = field(default_factory=dict)
    flops: dict[str, dict[str, int]] = field(default_factory=dict)
    spent: dict[str, int] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, Any] = field(default_factory=dict)


def study_affinities(p: GradTagParameters, slices: Slices) -> AffinityStudy:
    """Train T* and the meta-initialisations, estimate, and judge.

    Raises
    ------
    InputError : sampled subsets that miss a pair of tasks.
    OutOfTime : see `cached`.
    """
    study = AffinityStudy()
    subsets = {"higher-order": sample_subsets(p.n_tasks, p.alpha, p.m, p.seed)}
    missing = np.argwhere(subsets["higher-order"].T.astype(int) @ subsets["higher-order"] == 0)
    if missing.size:
        raise InputError("m", f"{p.m} subsets without the pair {missing[0].tolist()}", "Sample more subsets.")
    if p.pairwise:
        subsets["pairwise"] = pairs(p.n_tasks)
    true_scores = {kind: _train(p, slices, study, kind, rows) for kind, rows in subsets.items()}
    alone = [slices.trained("single task", singletons(p.n_tasks), r)[0] for r in range(p.replicates)]
    single = {metric: np.mean([np.diag(scores[metric].values) for scores in alone], axis=0) for metric in METRICS}
    estimated = _estimate(p, slices, study, subsets)
    rows: list[dict[str, Any]] = []
    distances: list[dict[str, Any]] = []
    ceilings: dict[str, dict[str, float]] = {kind: {} for kind in subsets}
    for kind, metric in study.truth:
        guesses = {name: made[kind, metric] for name, made in study.estimates.items() if (kind, metric) in made}
        judged, ceilings[kind][metric] = judge(study.truth[kind, metric], guesses, single[metric])
        for row in judged:
            flops = study.flops.get(row["estimate"], {}).get(kind)
            speedup = study.flops["T*"][kind] / flops if flops else None
            rows.append({"affinity": kind, "metric": metric, **row, "flops": flops, "speedup": speedup})
        for name, guess in guesses.items():
            study.arrays[f"estimate.{kind}.{metric}.{name}"] = guess.values
            mean = true_scores[kind][metric].mean("replicate").values
            distance = relative_distance(estimated[name][kind][metric].values[: len(mean)], mean)
            distances.append({"affinity": kind, "metric": metric, "estimate": name, "distance": distance})
    study.results |= {"figures_of_merit": rows, "score_distance": distances, "ceiling": ceilings}
    return study


def _train(p: GradTagParameters, slices: Slices, study: AffinityStudy, kind: str, rows: Subsets) -> xr.Dataset:
    """f(S, t) of one kind of subsets, all replicates."""
    rows = rows[: p.t_star_subsets] if kind == "higher-order" else rows
    runs = [slices.trained(f"T* {kind}", rows, replicate) for replicate in range(p.replicates)]
    study.spent[f"T* {kind}"] = sum(flops for _, flops in runs)
    study.flops.setdefault("T*", {})[kind] = runs[0][1]
    for metric in METRICS:
        truth = xr.concat([AFFINITY[kind](scores[metric]) for scores, _ in runs], "replicate")
        study.truth[kind, metric] = truth
        study.arrays[f"truth.{kind}.{metric}"] = truth.values
    return xr.concat([scores for scores, _ in runs], "replicate")


def _estimate(
    p: GradTagParameters, slices: Slices, study: AffinityStudy, subsets: dict[str, Subsets]
) -> dict[str, dict[str, xr.Dataset]]:
    """GRAD-TAE's scores by setting and kind; affinities, FLOPs and settings go into the study."""
    metas = [slices.meta(k) for k in range(max(p.ensembles))]
    study.spent["meta-initialisations"] = sum(flops for _, flops in metas)
    settings = {f"d={d} M=1": (d, 1, p.C, True) for d in p.dimensions}
    settings |= {f"d={p.dimension} M={size}": (p.dimension, size, p.C, True) for size in p.ensembles}
    full = dict.fromkeys(settings, subsets)
    settings |= {f"C={C:g}, offset": (p.dimension, 1, C, True) for C in p.penalties}
    settings |= {f"C={C:g}, no offset": (p.dimension, 1, C, False) for C in p.penalties}
    higher_order = {"higher-order": subsets["higher-order"]}
    estimated: dict[str, dict[str, xr.Dataset]] = {}
    facts = {}
    for name, (dimension, size, C, offset) in settings.items():
        rows = full.get(name, higher_order)
        parts = [slices.estimated(metas[k][0], k, rows, dimension, C, offset) for k in range(size)]
        training = sum(metas[k][1] for k in range(size))
        # Algorithm 1, line 11: the ensemble's members are estimated apart, so that sizes of M share them.
        estimated[name] = {
            kind: xr.concat([part[kind][0] for part in parts], "meta").mean("meta", skipna=False) for kind in rows
        }
        study.flops[name] = {kind: training + sum(part[kind][1] for part in parts) for kind in rows}
        study.estimates[name] = {
            (kind, metric): AFFINITY[kind](estimated[name][kind][metric]) for kind in rows for metric in METRICS
        }
        failed = sum(part[kind][2] for part in parts for kind in part)
        facts[name] = {"d": dimension, "M": size, "C": C, "offset": offset, "regressions_without_minimum": failed}
    study.results["settings"] = facts
    return estimated
