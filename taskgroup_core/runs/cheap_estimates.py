"""Every estimator that needs no training of subsets, behind one call, with what it costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from taskgroup_core.affinity.grad_tae import GradTAE, meta_initialisations
from taskgroup_core.affinity.gradient_cosine import GradientCosineAffinity
from taskgroup_core.affinity.higher_order import higher_order_affinity
from taskgroup_core.affinity.lookahead import LookaheadAffinity
from taskgroup_core.affinity.pairwise import pairwise_affinity
from taskgroup_core.affinity.sample_convergence import SampleConvergenceAffinity
from taskgroup_core.affinity.transfer_gain import TransferGainAffinity
from taskgroup_core.problems.problem import Problem
from taskgroup_core.runs.estimator_parameters import EstimatorParameters
from taskgroup_core.runs.record import Arrays
from taskgroup_core.seeds import derive
from taskgroup_core.subsets import all_subsets, pairs

METRICS = ("score", "negative_loss")
GRAD_TAE = "GRAD-TAE"

_COLLECTED: Mapping[str, tuple[type, dict[str, Any]]] = {
    "TAG": (LookaheadAffinity, {}),
    "TAG, validation batch": (LookaheadAffinity, {"split": "val"}),
    "transfer gain": (TransferGainAffinity, {}),
    "gradient cosine": (GradientCosineAffinity, {}),
}
_AT_START: Mapping[str, dict[str, Any]] = {"SCA": {}, "SCA, equal heads": {"equal_heads": True}}
CHEAP = (*_COLLECTED, *_AT_START, GRAD_TAE)


def cheap_estimate(name: str, problem: Problem, p: EstimatorParameters, seed: int, device: torch.device) -> Arrays:
    """One estimator's affinity: "T" where it is the same for every truth, or "KIND.METRIC", and "flops" (by kind).

    Parameters
    ----------
    name : one of `CHEAP`. Only GRAD-TAE estimates f(S, t), and so answers apart for each kind of affinity and metric;
        its FLOPs are those of the kind, its meta-initialisation included.
    problem, p, device : what is estimated.
    seed : number of this run of the estimator.
    """
    seed = derive(p.seed, "estimator", seed)
    if name == GRAD_TAE:
        return _grad_tae(problem, p, seed, device)
    if name in _COLLECTED:
        make, given = _COLLECTED[name]
        estimator = make(p.recipe, seed, device, every=p.every, **given)
    else:
        estimator = SampleConvergenceAffinity(p.samples, seed, device, inputs="own", **_AT_START[name])
    values = estimator.affinity(problem).values
    return {"T": values, "flops": np.array(estimator.flops)}


def _grad_tae(problem: Problem, p: EstimatorParameters, seed: int, device: torch.device) -> Arrays:
    meta, spent = meta_initialisations(problem, p.recipe, 1, seed, device)
    kinds: dict[str, tuple[Any, Callable[[Any], Any]]] = {"pairwise": (pairs(problem.n_tasks), pairwise_affinity)}
    if p.exhaustive:
        kinds["higher-order"] = (all_subsets(problem.n_tasks), higher_order_affinity)
    arrays: Arrays = {}
    for kind, (subsets, affinity) in kinds.items():
        algorithm = GradTAE(
            problem,
            meta,
            dimension=p.dimension,
            C=p.C,
            seed=derive(seed, "projection"),
            device=device,
            meta_flops=spent[0],
        )
        scores = algorithm.scores(subsets)
        arrays |= {f"{kind}.{metric}": affinity(scores[metric]).values for metric in METRICS}
        arrays[f"{kind}.flops"] = np.array(algorithm.flops)
    return arrays
