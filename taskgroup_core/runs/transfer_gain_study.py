"""Transfer gain at every step of a training, after several steps, and against full training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import torch

from taskgroup_core.affinity.collected import CollectedAffinity
from taskgroup_core.affinity.lookahead import LookaheadAffinity
from taskgroup_core.affinity.pairwise import pairwise_affinity
from taskgroup_core.affinity.transfer_gain import TransferGainAffinity
from taskgroup_core.grouping.grouping import Grouping
from taskgroup_core.grouping.programming import ProgrammingGrouper
from taskgroup_core.grouping.random import RandomGrouper
from taskgroup_core.matrices import FloatArray, make_scores
from taskgroup_core.problems.problem import Problem
from taskgroup_core.runs.checkpoint import Checkpoint
from taskgroup_core.runs.provenance import measured, provenance
from taskgroup_core.runs.record import Arrays, RunRecord
from taskgroup_core.runs.served_scores import served_scores
from taskgroup_core.runs.stages import stages
from taskgroup_core.runs.transfer_gain_parameters import TransferGainParameters
from taskgroup_core.seeds import derive
from taskgroup_core.subsets import pairs
from taskgroup_core.training.epochs import training_flops
from taskgroup_core.training.evaluate import evaluate
from taskgroup_core.training.recipe import Recipe
from taskgroup_core.training.stacked import fit_many

GAINS = ("gradient", "optimiser", "lookahead")


def transfer_gain_study(
    problem: Problem,
    parameters: TransferGainParameters,
    device: torch.device,
    *,
    progress: bool = True,
    data: Sequence[Path | str] = (),
    checkpoint: Checkpoint | None = None,
) -> RunRecord:
    """Collect gains at every step of a joint training, train all pairs in full, and train the groups that follow.

    Parameters
    ----------
    problem : with more than 20 tasks the groups are not proved best, see `ProgrammingGrouper`.
    parameters : what is asked.
    device : where to compute.
    progress : show a text bar.
    data : the files the problem was read from, for the provenance.
    checkpoint : where finished slices are kept.

    Returns
    -------
    A record with these arrays, matrices being [target, source]:

    - `gradient`, `optimiser`, `lookahead` : transfer gain with a gradient step and with the optimiser's step (the
      diagonal from a double step), and TAG's Z, with shape (steps, n, n); `epoch` of each step.
    - `loss.train`, `loss.val` : L_j after training on i and j (on the diagonal: on j alone), with shape
      (replicates, horizons, n, n).
    - `truth.score`, `truth.negative_loss` : T* on the validation examples, with shape (replicates, n, n).
    - `served` : test score of every task in the group that serves it, with shape (choices, replicates, n). The
      result `choices` names the choices and holds their groups: from gains at every interval ("every 5") and from
      growing shares of the training ("epochs 2"), from the other affinities, all "together", each "alone", and random.

    Raises
    ------
    InputError : see `CollectedAffinity.affinity` and `ProgrammingGrouper`.

    References
    ----------
    Principled task grouping, Definition 4.1, Eq. (6), Appendix D (Table 5, Fig. 5).

    Deviations
    ----------
    The paper trains with the settings of each of its data sets, and gives neither the number of groups of Table 5 nor
    the number of trainings. A task in several groups is served by the one where its row of the affinity is highest.
    """
    p = parameters
    with measured(device) as cost, stages(checkpoint, len(GAINS) + p.replicates + 1, progress) as stage:
        gains = {name: stage(name, partial(_collect, problem, p, device, name)) for name in GAINS}
        trained = [stage(f"pairs-{r}", partial(_train_pairs, problem, p, device, r)) for r in range(p.replicates)]
        truth = {name: np.stack([one[name] for one in trained]) for name in trained[0]}
        choices = _choose(p, gains, truth["truth.score"].mean(axis=0))
        full = Recipe(epochs=p.horizons[-1], batch_size=len(problem.inputs), learning_rate=p.learning_rate)
        seeds = [derive(p.seed, "groups", r) for r in range(p.replicates)]
        grouped = list(choices.values())
        served = stage("groups", lambda: {"served": served_scores(problem, grouped, full, seeds, device)})
    flops = {name: int(one["flops"]) for name, one in gains.items()}
    results = {
        "tasks": list(problem.task_names),
        "choices": [{"name": name, "groups": grouping.groups} for name, grouping in choices.items()],
        "flops": flops | {"training": training_flops(problem, range(problem.n_tasks), _joint(p))},
    }
    arrays = {name: one["trace"] for name, one in gains.items()} | truth | served | {"epoch": gains[GAINS[0]]["epoch"]}
    return RunRecord("transfer_gain", asdict(p), results, arrays, provenance(device, cost, p.seed, data))


def _joint(p: TransferGainParameters) -> Recipe:
    return Recipe(epochs=p.epochs, batch_size=p.batch_size, learning_rate=p.learning_rate)


def _collect(problem: Problem, p: TransferGainParameters, device: torch.device, name: str) -> Arrays:
    estimators: dict[str, CollectedAffinity] = {
        "gradient": TransferGainAffinity(_joint(p), p.seed, device, every=1, diagonal="double"),
        "optimiser": TransferGainAffinity(_joint(p), p.seed, device, every=1, diagonal="double", step="optimiser"),
        "lookahead": LookaheadAffinity(_joint(p), p.seed, device, every=1),
    }
    estimator = estimators[name]
    estimator.affinity(problem)
    trace = estimator.trace_
    return {"trace": trace.values, "epoch": trace["epoch"].values, "flops": np.array(estimator.flops)}


def _train_pairs(problem: Problem, p: TransferGainParameters, device: torch.device, replicate: int) -> Arrays:
    member = pairs(problem.n_tasks)
    subsets = [np.flatnonzero(row).tolist() for row in member]
    seed = derive(p.seed, "replicate", replicate)
    losses: dict[str, list[FloatArray]] = {"train": [], "val": []}
    truth: dict[str, FloatArray] = {}
    for steps in p.horizons:
        recipe = Recipe(epochs=steps, batch_size=len(problem.inputs), learning_rate=p.learning_rate)
        networks = [one.network for one in fit_many(problem, subsets, recipe, [seed] * len(subsets), device)]
        for split in ("train", "val"):
            rows = [
                evaluate(network, problem, split, subset, device)
                for network, subset in zip(networks, subsets, strict=True)
            ]
            scores = make_scores({k: np.stack([row[k] for row in rows]) for k in rows[0]}, member, problem.task_names)
            truth = {f"truth.{k}": pairwise_affinity(scores[k]).values for k in rows[0]}
            losses[split].append(-truth["truth.negative_loss"])
    return truth | {f"loss.{split}": np.stack(values) for split, values in losses.items()}


def _choose(p: TransferGainParameters, gains: Mapping[str, Arrays], truth: FloatArray) -> dict[str, Grouping]:
    """Groups by the paper's programme on every affinity, all tasks together and alone, and random groups."""
    trace, epoch = gains["gradient"]["trace"], gains["gradient"]["epoch"]
    marks = sorted({-(-p.epochs * percent // 100) for percent in (10, 25, 50, 75, 100)})
    affinities = {f"every {k}": np.nanmean(trace[::k], axis=0) for k in p.every if k <= len(trace)}
    affinities |= {f"epochs {mark}": np.nanmean(trace[epoch < mark], axis=0) for mark in marks}
    affinities |= {name: np.nanmean(gains[name]["trace"], axis=0) for name in GAINS}
    mean = affinities["gradient"]
    affinities["zero diagonal"] = mean - np.diag(np.diag(mean))
    # As a gain over training alone, as Eq. (2) is one: the programme is not indifferent to a shift of its matrix.
    affinities["T*"] = truth - np.diag(truth)[:, None]
    chosen = {name: ProgrammingGrouper(p.n_groups).fit(values).grouping_ for name, values in affinities.items()}
    n_tasks = len(mean)
    chosen |= {"together": Grouping.from_labels([0] * n_tasks), "alone": Grouping.from_labels(range(n_tasks))}
    for number in range(p.random_groupings):
        grouper = RandomGrouper(p.n_groups, random_state=derive(p.seed, "random", number))
        chosen[f"random {number}"] = grouper.fit(mean).grouping_
    return chosen
