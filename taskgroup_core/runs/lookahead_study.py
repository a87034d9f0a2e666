"""TAG's affinity at every step of a training, in its several forms, beside the affinity of full training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from taskgroup_core.affinity.collected import CollectedAffinity
from taskgroup_core.affinity.gradient_cosine import GradientCosineAffinity
from taskgroup_core.affinity.lookahead import LookaheadAffinity
from taskgroup_core.errors import InputError
from taskgroup_core.problems.problem import Problem
from taskgroup_core.runs.checkpoint import Checkpoint
from taskgroup_core.runs.provenance import measured, provenance
from taskgroup_core.runs.record import Arrays, RunRecord
from taskgroup_core.runs.stages import stages
from taskgroup_core.runs.true_scores import pairwise_truth
from taskgroup_core.seeds import derive
from taskgroup_core.training.joint import joint_training
from taskgroup_core.training.recipe import Recipe

METRICS = ("score", "negative_loss")


@dataclass(frozen=True)
class LookaheadParameters:
    """What the study is asked.

    Parameters
    ----------
    epochs, batch_size : of every training.
    learning_rate : of Adam.
    replicates : trainings of every pair for T*, each from an initialisation of its own.
    seed : decides everything random.

    Raises
    ------
    InputError : fewer than 2 replicates; see also `Recipe`.
    """

    epochs: int = 30
    batch_size: int = 100
    learning_rate: float = 0.01
    replicates: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        if self.replicates < 2:
            raise InputError("replicates", str(self.replicates), "Train every pair twice or more.")

    @property
    def recipe(self) -> Recipe:
        """The recipe of the joint training and of the pairs."""
        return Recipe(epochs=self.epochs, batch_size=self.batch_size, learning_rate=self.learning_rate)


def collectors(p: LookaheadParameters, device: str | torch.device) -> dict[str, CollectedAffinity]:
    """What is collected at every step, by the names of the record's traces.

    "gradient" is the paper's Z; "again" the same along a training from another initialisation; "validation" with the
    losses on validation batches; "optimiser" with Adam's own step; "cosine" the gradient cosine similarity.
    """
    look = partial(LookaheadAffinity, p.recipe, device=device, every=1)
    return {
        "gradient": look(p.seed),
        "again": look(derive(p.seed, "again")),
        "validation": look(p.seed, split="val"),
        "optimiser": look(p.seed, step="optimiser"),
        "cosine": GradientCosineAffinity(p.recipe, p.seed, device, every=1),
    }


def lookahead_study(
    problem: Problem,
    parameters: LookaheadParameters,
    device: torch.device,
    *,
    progress: bool = True,
    data: Sequence[Path | str] = (),
    checkpoint: Checkpoint | None = None,
) -> RunRecord:
    """Collect every form of the lookahead affinity at every step, and train all pairs in full.

    Parameters
    ----------
    problem : 4 tasks or more, so that partners can be ranked.
    parameters : what is asked.
    device : where to compute.
    progress : show a text bar.
    data : the files the problem was read from, for the provenance.
    checkpoint : where finished slices are kept.

    Returns
    -------
    A record with these arrays, matrices being [target, source]:

    - `trace.NAME` : with shape (steps, n, n), NaN where a batch lacks a label, for the names of `collectors`;
      `epoch` of each step.
    - `truth.score`, `truth.negative_loss` : T* on the validation examples, with shape (replicates, n, n).

    Its result `flops` holds the operations of each collection at every step, without the training, and those of
    "training" and of "pairs", one replicate of T*.

    Raises
    ------
    InputError : see `CollectedAffinity.affinity`.

    References
    ----------
    TAG, section 5.2: Fig. 4, Table 2 and validation batches; the released code for "optimiser".

    Deviations
    ----------
    The paper judges intervals by the test error of the groups that follow; here all forms are compared with the
    affinity of every step and with T*, which does not depend on how groups are chosen.
    """
    p, forms = parameters, collectors(parameters, device)
    with measured(device) as cost, stages(checkpoint, len(forms) + p.replicates + 1, progress) as stage:
        traces = {name: stage(name, partial(_collect, problem, form)) for name, form in forms.items()}
        plain = stage("plain", lambda: {"flops": np.array(joint_training(problem, p.recipe, p.seed, device).flops)})
        seeds = [derive(p.seed, "replicate", r) for r in range(p.replicates)]
        truth = [
            stage(f"pairs-{r}", partial(pairwise_truth, problem, p.recipe, seed, device))
            for r, seed in enumerate(seeds)
        ]
    training = int(plain["flops"])
    flops = {name: int(one["flops"]) - training for name, one in traces.items()}
    results = {
        "tasks": list(problem.task_names),
        "flops": flops | {"training": training, "pairs": int(truth[0]["flops"])},
    }
    arrays = {f"trace.{name}": one["trace"] for name, one in traces.items()} | {"epoch": traces["gradient"]["epoch"]}
    arrays |= {f"truth.{metric}": np.stack([one[metric] for one in truth]) for metric in METRICS}
    return RunRecord("lookahead", asdict(p), results, arrays, provenance(device, cost, p.seed, data))


def _collect(problem: Problem, form: CollectedAffinity) -> Arrays:
    form.affinity(problem)
    return {"trace": form.trace_.values, "epoch": form.trace_["epoch"].values, "flops": np.array(form.flops)}
