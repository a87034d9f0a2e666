"""From a problem to groups by each paper's own pair of estimator and grouper, and by the baselines that group tasks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
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
from taskgroup_core.runs.record import Arrays
from taskgroup_core.scores import present
from taskgroup_core.subsets import pairs, sample_subsets
from taskgroup_core.training.recipe import Recipe


@dataclass(frozen=True)
class MethodSettings:
    """What the estimators are given.

    Parameters
    ----------
    recipe : of every training that an affinity takes.
    every : steps between two collections of TAG, transfer gain and cosine.
    alpha, m : size and number of GRAD-TAG's subsets.
    dimension, C : of its regressions.
    restarts : of SCA's grouper.
    """

    recipe: Recipe
    every: int = 10
    alpha: int = 4
    m: int = 200
    dimension: int = 100
    C: float = 1.0
    restarts: int = 4


def _grad_tag(problem: Problem, s: MethodSettings, seed: int, device: torch.device) -> tuple[Any, int]:
    meta, spent = meta_initialisations(problem, s.recipe, 1, seed, device)
    estimate = GradTAE(problem, meta, dimension=s.dimension, C=s.C, seed=seed, device=device, meta_flops=spent[0])
    scores = estimate.scores(sample_subsets(problem.n_tasks, s.alpha, s.m, seed))
    return higher_order_affinity(scores["score"]), estimate.flops


def _hoa(problem: Problem, s: MethodSettings, seed: int, device: torch.device) -> tuple[Any, int]:
    trained = FullTraining(problem, s.recipe, seed, device)
    return pairwise_affinity(trained.scores(pairs(problem.n_tasks))["score"]), trained.flops


def _collected(
    make: Callable[..., Any], **settings: Any
) -> Callable[[Problem, MethodSettings, int, torch.device], tuple[Any, int]]:
    def estimate(problem: Problem, s: MethodSettings, seed: int, device: torch.device) -> tuple[Any, int]:
        estimator = make(s.recipe, seed, device, every=s.every, **settings)
        return estimator.affinity(problem), estimator.flops

    return estimate


def _sca(problem: Problem, _: MethodSettings, seed: int, device: torch.device) -> tuple[Any, int]:
    # All inputs from which two tasks can be compared: where labels are sparse, few have those of a certain pair.
    shared = int((present(problem.table("train")[1]).sum(dim=1) >= 2).sum())
    estimator = SampleConvergenceAffinity(shared, seed, device)
    return estimator.affinity(problem), estimator.flops


_ESTIMATES: Mapping[str, Callable[[Problem, MethodSettings, int, torch.device], tuple[Any, int]]] = {
    "GRAD-TAG": _grad_tag,
    "TAG": _collected(LookaheadAffinity),
    "transfer gain": _collected(TransferGainAffinity, diagonal="double"),
    "SCA": _sca,
    "cosine": _collected(GradientCosineAffinity),
    "HOA": _hoa,
}
METHODS = tuple(_ESTIMATES)


def method_affinity(name: str, problem: Problem, settings: MethodSettings, seed: int, device: torch.device) -> Arrays:
    """The affinity a method groups by: "T" with shape (n, n), [target, source], and "flops".

    Parameters
    ----------
    name : one of `METHODS`: the four papers', TAG's baseline by gradient cosines, and HOA, which trains all pairs.
    problem, settings, seed, device : what is estimated, how and where.

    Raises
    ------
    InputError : see the estimators.
    """
    affinity, flops = _ESTIMATES[name](problem, settings, seed, device)
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
