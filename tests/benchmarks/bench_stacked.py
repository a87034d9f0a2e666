"""Stacked training of 64 SIGN networks against training them one at a time, in one run: ratios of wall times.

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
from taskgroup_core.training.fit import Fitted, fit, training_flops
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


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one line a batch size: both times, their ratio, and how fast the stack computes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=BATCH_SIZES)
    given = parser.parse_args(arguments)
    problem = debian_problem(TEACHING_TAGS, n_features=64, width=64, hops=3, dropout=0.0)
    subsets = list(islice(combinations(range(problem.n_tasks), 4), 0, None, 7))[:NETWORKS]
    seeds = list(range(len(subsets)))
    place = resolve_device(given.device)
    print(f"{len(subsets)} networks of {network_flops(problem.network(0), problem.inputs[:1])[1]} operations a row")
    print(f"on {describe_device(place)}, median of {given.repeats}")
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
            f"({speed:.1f} GFLOP/s), ratio {median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        )


if __name__ == "__main__":
    main()
