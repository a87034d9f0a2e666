"""The expensive parts of the GRAD-TAG experiment, in slices that can be stored and resumed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr
from torch import nn
from tqdm import tqdm

from taskgroup_core.affinity.full_training import FullTraining
from taskgroup_core.affinity.grad_tae import GradTAE, meta_initialisations
from taskgroup_core.matrices import make_scores
from taskgroup_core.problems.problem import Problem, Split
from taskgroup_core.runs.checkpoint import Checkpoint, Deadline, cached
from taskgroup_core.runs.record import Arrays
from taskgroup_core.seeds import derive
from taskgroup_core.subsets import Subsets
from taskgroup_core.training.recipe import Recipe

SLICE = 64  # subsets trained, in stacks, between two looks at the clock


@dataclass
class Slices:
    """Computes and stores slices; `bar` counts them, `seconds` adds up what each stage took, resumed or not."""

    problem: Problem
    recipe: Recipe
    seed: int
    device: torch.device
    checkpoint: Checkpoint | None
    deadline: Deadline | None
    bar: tqdm[None]

    def __post_init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def run(self, stage: str, name: str, compute: Callable[[], Arrays]) -> Arrays:
        """The arrays of slice `name`; its time counts for `stage`."""

        def timed() -> Arrays:
            begun = time.perf_counter()
            arrays = compute()
            return {**arrays, "seconds": np.array(time.perf_counter() - begun)}

        arrays = cached(self.checkpoint, name, timed, self.deadline)
        self.seconds[stage] = self.seconds.get(stage, 0.0) + float(arrays["seconds"])
        self.bar.set_description(stage)
        self.bar.update()
        return arrays

    def trained(
        self, stage: str, subsets: Subsets, replicate: int, split: Split = "val", name: str = "all"
    ) -> tuple[xr.Dataset, int]:
        """f(S, t) of `subsets` by full training with the seed of one replicate, and its FLOPs."""
        parts = []
        for start in range(0, len(subsets), SLICE):
            part = subsets[start : start + SLICE]

            def compute(part: Subsets = part) -> Arrays:
                seed = derive(self.seed, "replicate", split, replicate)
                algorithm = FullTraining(self.problem, self.recipe, seed, self.device, split)
                return _arrays(algorithm.scores(part), algorithm.flops)

            parts.append(
                self.run(stage, f"{stage}-{name}-{replicate}-{start}".replace(" ", "_").replace("*", "star"), compute)
            )
        return self._scores(parts, subsets), sum(int(part["flops"]) for part in parts)

    def meta(self, k: int) -> tuple[nn.Module, int]:
        """The k-th meta-initialisation and its FLOPs."""

        def compute() -> Arrays:
            seed = derive(self.seed, "meta", k)
            networks, flops = meta_initialisations(self.problem, self.recipe, 1, seed, self.device)
            state = networks[0].state_dict().values()
            # Numbered, because the name of an entry may hold a slash, which no array's name can.
            stored = {f"state {index}": value.cpu().numpy() for index, value in enumerate(state)}
            return {**stored, "flops": np.array(flops[0])}

        arrays = self.run("meta-initialisations", f"meta-{k}", compute)
        network = self.problem.network(0)
        names = network.state_dict().keys()
        network.load_state_dict({name: torch.tensor(arrays[f"state {index}"]) for index, name in enumerate(names)})
        return network.eval(), int(arrays["flops"])

    def estimated(
        self,
        network: nn.Module,
        k: int,
        subsets: dict[str, Subsets],
        dimension: int,
        C: float,
        offset: bool,
    ) -> dict[str, tuple[xr.Dataset, int, int]]:
        """GRAD-TAE's estimate from the k-th meta-initialisation alone: name -> (scores, FLOPs, failed regressions).

        The FLOPs of each entry hold its regressions and the gradients, which the entries share, but no training.
        """

        def compute() -> Arrays:
            algorithm = GradTAE(
                self.problem,
                [network],
                dimension=dimension,
                C=C,
                offset=offset,
                seed=derive(self.seed, "projection", k),
                device=self.device,
            )
            arrays, gradients = {}, algorithm.flops
            for name, rows in subsets.items():
                algorithm.flops, algorithm.unconverged = gradients, 0
                part = _arrays(algorithm.scores(rows), algorithm.flops)
                part["failed"] = np.array(algorithm.unconverged)
                arrays.update({f"{name}.{key}": value for key, value in part.items()})
            return arrays

        arrays = self.run("GRAD-TAE", f"estimate-{k}-{dimension}-{C:g}-{offset}-{'.'.join(subsets)}", compute)
        result = {}
        for name, rows in subsets.items():
            part = {key: arrays[f"{name}.{key}"] for key in ("score", "negative_loss", "flops", "failed")}
            result[name] = (self._scores([part], rows), int(part["flops"]), int(part["failed"]))
        return result

    def _scores(self, parts: list[Arrays], subsets: Subsets) -> xr.Dataset:
        values = {name: np.concatenate([part[name] for part in parts]) for name in ("score", "negative_loss")}
        return make_scores(values, subsets, self.problem.task_names)


def _arrays(scores: xr.Dataset, flops: int) -> Arrays:
    return {**{str(name): scores[name].values for name in scores.data_vars}, "flops": np.array(flops)}
