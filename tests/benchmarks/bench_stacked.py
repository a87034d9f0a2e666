"""Stacked training of 64 SIGN networks against training them one at a time, in one run: ratios of wall times.

The stack's speed is also given as a share of what a large matrix product in single precision reaches on the device.
--paper takes the paper's own network, which is ten times as large and has dropout.

Run from the repository root:  OMP_NUM_THREADS=2 PYTHONPATH=. python tests/benchmarks/bench_stacked.py [--device cuda]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import combinations, islice
from statistics import median

import torch

from taskgroup_core.device import describe_device, resolve_device
from taskgroup_core.flops import network_flops
from taskgroup_core.problems.debian import TEACHING_TAGS, debian_problem
from taskgroup_core.problems.problem import Problem
from taskgroup_core.training.epochs import Fitted, training_flops
from taskgroup_core.training.fit import fit
from taskgroup_core.training.recipe import Recipe
from taskgroup_core.training.stacked import fit_many

NETWORKS = 64
EPOCHS = 10
BATCH_SIZES = (1000, 100, 32)  # the whole of a subset's inputs, and steps so small that calls cost more than sums


def fit_each(
    problem: Problem, subsets: Sequence[Sequence[int]], recipe: Recipe, seeds: Sequence[int], place: torch.device
) -> list[Fitted]:
    """What `fit_many` is compared with."""
    return [fit(problem, subset, recipe, seed, place) for subset, seed in zip(subsets, seeds, strict=True)]


def timed(run: Callable[[], list[Fitted]]) -> float:
    """Wall time of `run` in seconds; a GPU has finished by then, because the losses have been read."""
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


def peak(place: torch.device) -> float:
    """Operations a second of a matrix product in single precision, without reduced formats, as training has it."""
    size = 8192 if place.type == "cuda" else 2048
    left, right = (torch.ones(size, size, device=place) for _ in range(2))
    times = []
    for _ in range(4):  # the first one is slower
        begun = time.perf_counter()
        float((left @ right)[0, 0])  # waits for a GPU
        times.append(time.perf_counter() - begun)
    return 2 * size**3 / min(times)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one line a batch size: both times, their ratio, and how fast the stack computes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=BATCH_SIZES)
    parser.add_argument("--paper", action="store_true")
    given = parser.parse_args(arguments)
    small = {"n_features": 64, "width": 64, "hops": 3, "dropout": 0.0}
    problem = debian_problem(TEACHING_TAGS, **({} if given.paper else small))
    subsets = list(islice(combinations(range(problem.n_tasks), 4), 0, None, 7))[:NETWORKS]
    seeds = list(range(len(subsets)))
    place = resolve_device(given.device)
    print(f"{len(subsets)} networks of {network_flops(problem.network(0), problem.inputs[:1])[1]} operations a row")
    most = peak(place) / 1e9
    print(f"on {describe_device(place)}, median of {given.repeats}; a matrix product reaches {most:.0f} GFLOP/s")
    for batch_size in given.batch_sizes:
        recipe = Recipe(epochs=EPOCHS, batch_size=batch_size)
        one_at_a_time = partial(fit_each, problem, subsets, recipe, seeds, place)
        stacked = partial(fit_many, problem, subsets, recipe, seeds, place)
        fit_many(problem, subsets[:4], recipe, seeds[:4], place)  # the first use of a kernel is slower
        alone, together = [], []
        for _ in range(given.repeats):
            alone.append(timed(one_at_a_time))
            together.append(timed(stacked))
        ratios = [a / b for a, b in zip(alone, together, strict=True)]
        speed = sum(training_flops(problem, subset, recipe) for subset in subsets) / median(together) / 1e9
        print(
            f"batches of {batch_size}: alone {median(alone):.2f} s, stacked {median(together):.2f} s "
            f"({speed:.1f} GFLOP/s, {speed / most:.0%} of that), ratio {median(ratios):.2f} "
            f"({min(ratios):.2f} to {max(ratios):.2f})"
        )


if __name__ == "__main__":
    main()
