"""Every estimator that needs no training of subsets, behind one call, with what it costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from taskgroup_core.affinity.ensemble import EnsembleEstimate
from taskgroup_core.affinity.gauss_newton import GaussNewton
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
from taskgroup_core.scores import present
from taskgroup_core.seeds import derive
from taskgroup_core.subsets import all_subsets, pairs

METRICS = ("score", "negative_loss")

_COLLECTED: Mapping[str, tuple[type, dict[str, Any]]] = {
    "TAG": (LookaheadAffinity, {}),
    "TAG, validation batch": (LookaheadAffinity, {"split": "val"}),
    "TAG, optimiser step": (LookaheadAffinity, {"step": "optimiser"}),
    "transfer gain": (TransferGainAffinity, {}),
    "gradient cosine": (GradientCosineAffinity, {}),
}
_AT_START: Mapping[str, dict[str, Any]] = {
    "SCA": {},
    "SCA, equal heads": {"equal_heads": True},
    "SCA, own inputs": {"inputs": "own"},
    "SCA, own inputs, equal heads": {"inputs": "own", "equal_heads": True},
}
# Those that estimate f(S, t), around a network that is trained on all tasks; the dimension, and C where none is here,
# are those of the parameters.
_SCORED: Mapping[str, tuple[Callable[..., EnsembleEstimate], dict[str, Any]]] = {
    "GRAD-TAE": (GradTAE, {}),
    "GRAD-TAE, C = 1": (GradTAE, {"C": 1.0}),
    "GRAD-TAE as released": (GradTAE.as_released, {"C": 0.01}),
    "Gauss-Newton": (GaussNewton, {"C": 1.0, "tolerance": 0.01}),
}
CHEAP = (*_COLLECTED, *_AT_START, *_SCORED)
IN_UNITS = tuple(_SCORED)  # of f


def cheap_estimate(name: str, problem: Problem, p: EstimatorParameters, seed: int, device: torch.device) -> Arrays:
    """One estimator's affinity: "T" where it is the same for every truth, or "KIND.METRIC", and "flops" (by kind).

    Parameters
    ----------
    name : one of `CHEAP`. Only those of `IN_UNITS` estimate f(S, t), and so answer apart for each kind of affinity and
        metric; their FLOPs are those of the kind, the meta-initialisation included. SCA on the same inputs takes all
        that have two labels or more, because few have those of a certain pair; on own inputs it takes `p.samples`.
    problem, p, device : what is estimated.
    seed : number of this run of the estimator.
    """
    seed = derive(p.seed, "estimator", seed)
    if name in _SCORED:
        return _scored(*_SCORED[name], problem, p, seed, device)
    estimator: Any
    if name in _COLLECTED:
        make, given = _COLLECTED[name]
        estimator = make(p.recipe, seed, device, every=p.every, **given)
    else:
        given = _AT_START[name]
        samples = p.samples if "inputs" in given else shared_inputs(problem)
        estimator = SampleConvergenceAffinity(samples, seed, device, **given)
    values = estimator.affinity(problem).values
    return {"T": values, "flops": np.array(estimator.flops)}


def shared_inputs(problem: Problem) -> int:
    """Training inputs with labels of two tasks or more: where labels are sparse, few have those of a certain pair."""
    return int((present(problem.table("train")[1]).sum(dim=1) >= 2).sum())


def _scored(
    make: Callable[..., EnsembleEstimate],
    given: dict[str, Any],
    problem: Problem,
    p: EstimatorParameters,
    seed: int,
    device: torch.device,
) -> Arrays:
    meta, spent = meta_initialisations(problem, p.recipe, 1, seed, device)
    settings: dict[str, Any] = {"C": p.C, "device": device, "meta_flops": spent[0]}
    if make is not GaussNewton:
        settings |= {"dimension": p.dimension, "seed": derive(seed, "projection")}
    kinds: dict[str, tuple[Any, Callable[[Any], Any]]] = {"pairwise": (pairs(problem.n_tasks), pairwise_affinity)}
    if p.exhaustive:
        kinds["higher-order"] = (all_subsets(problem.n_tasks), higher_order_affinity)
    arrays: Arrays = {}
    for kind, (subsets, affinity) in kinds.items():
        algorithm = make(problem, meta, **(settings | given))
        scores = algorithm.scores(subsets)
        arrays |= {f"{kind}.{metric}": affinity(scores[metric]).values for metric in METRICS}
        arrays[f"{kind}.flops"] = np.array(algorithm.flops)
    return arrays
