"""From a problem to groups by each paper's own pair of estimator and grouper, and by the baselines that group tasks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from taskgroup_core.affinity.full_training import FullTraining
from taskgroup_core.affinity.grad_tae import GradTAE, meta_initialisations
from taskgroup_core.affinity.gradient_cosine import GradientCosineAffinity
from taskgroup_core.affinity.higher_order import higher_order_affinity
from taskgroup_core.affinity.lookahead import LookaheadAffinity
from taskgroup_core.affinity.pairwise import pairwise_affinity
from taskgroup_core.affinity.sample_convergence import SampleConvergenceAffinity
from taskgroup_core.affinity.transfer_gain import TransferGainAffinity
from taskgroup_core.grouping.best_served import BestServedGrouper
from taskgroup_core.grouping.gat_mixture import GATMixtureGrouper
from taskgroup_core.grouping.grouping import Grouping
from taskgroup_core.grouping.programming import ProgrammingGrouper
from taskgroup_core.grouping.sdp import SDPGrouper
from taskgroup_core.matrices import FloatArray
from taskgroup_core.problems.problem import Problem
from taskgroup_core.runs.baseline_parameters import BaselineParameters
from taskgroup_core.runs.cheap_estimates import shared_inputs
from taskgroup_core.runs.record import Arrays
from taskgroup_core.subsets import pairs, sample_subsets

_Estimate = Callable[[Problem, BaselineParameters, int, torch.device], tuple[Any, int]]


def _grad_tag(problem: Problem, p: BaselineParameters, seed: int, device: torch.device) -> tuple[Any, int]:
    meta, spent = meta_initialisations(problem, p.affinity_recipe, 1, seed, device)
    estimate = GradTAE(problem, meta, dimension=p.dimension, C=p.C, seed=seed, device=device, meta_flops=spent[0])
    scores = estimate.scores(sample_subsets(problem.n_tasks, p.alpha, p.m, seed))
    return higher_order_affinity(scores["score"]), estimate.flops


def _hoa(problem: Problem, p: BaselineParameters, seed: int, device: torch.device) -> tuple[Any, int]:
    trained = FullTraining(problem, p.affinity_recipe, seed, device)
    return pairwise_affinity(trained.scores(pairs(problem.n_tasks))["score"]), trained.flops


def _collected(make: Callable[..., Any], **settings: Any) -> _Estimate:
    def estimate(problem: Problem, p: BaselineParameters, seed: int, device: torch.device) -> tuple[Any, int]:
        estimator = make(p.affinity_recipe, seed, device, every=p.every, **settings)
        return estimator.affinity(problem), estimator.flops

    return estimate


def _sca(problem: Problem, _: BaselineParameters, seed: int, device: torch.device) -> tuple[Any, int]:
    estimator = SampleConvergenceAffinity(shared_inputs(problem), seed, device)
    return estimator.affinity(problem), estimator.flops


_ESTIMATES: Mapping[str, _Estimate] = {
    "GRAD-TAG": _grad_tag,
    "TAG": _collected(LookaheadAffinity),
    "transfer gain": _collected(TransferGainAffinity, diagonal="double"),
    "SCA": _sca,
    "cosine": _collected(GradientCosineAffinity),
    "HOA": _hoa,
}
METHODS = tuple(_ESTIMATES)


def method_affinity(
    name: str, problem: Problem, parameters: BaselineParameters, seed: int, device: torch.device
) -> Arrays:
    """The affinity a method groups by: "T" with shape (n, n), [target, source], and "flops".

    Parameters
    ----------
    name : one of `METHODS`: the four papers', TAG's baseline by gradient cosines, and HOA, which trains all pairs.
    problem, parameters, seed, device : what is estimated, how and where.

    Raises
    ------
    InputError : see the estimators.
    """
    affinity, flops = _ESTIMATES[name](problem, parameters, seed, device)
    return {"T": affinity.values, "flops": np.array(flops)}


def method_groups(name: str, affinity: FloatArray, n_groups: int, restarts: int, seed: int) -> Grouping:
    """Groups by the grouper that belongs to the method, for k networks.

    GRAD-TAG: the semidefinite relaxation. TAG, cosine: best-served network selection; HOA the same, where a task may
    have a network alone. Transfer gain: mathematical programming, groups may overlap. SCA: attention and mixture.

    Raises
    ------
    InputError : see the groupers.
    MissingExtra : cvxpy is not installed (GRAD-TAG's, up to 30 tasks).
    """
    groupers: Mapping[str, Callable[[], Any]] = {
        "GRAD-TAG": lambda: SDPGrouper(n_groups),
        "TAG": lambda: BestServedGrouper(n_groups),
        "transfer gain": lambda: ProgrammingGrouper(n_groups),
        "SCA": lambda: GATMixtureGrouper(n_groups, restarts=restarts, random_state=seed),
        "cosine": lambda: BestServedGrouper(n_groups),
        "HOA": lambda: BestServedGrouper(n_groups, singletons="diagonal"),
    }
    grouping: Grouping = groupers[name]().fit(affinity).grouping_
    return grouping
