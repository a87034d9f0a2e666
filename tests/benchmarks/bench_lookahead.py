"""What collecting TAG's affinity costs, as a multiple of plain joint training of the same network (n = 9 tasks).

Run from the repository root:  OMP_NUM_THREADS=2 PYTHONPATH=. python tests/benchmarks/bench_lookahead.py [--device cuda]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch

from taskgroup_core.affinity.lookahead import LookaheadAffinity
from taskgroup_core.device import describe_device, resolve_device
from taskgroup_core.examples import Examples
from taskgroup_core.models.sign import Sign
from taskgroup_core.problems.debian import debian_problem
from taskgroup_core.problems.problem import Problem
from taskgroup_core.tasks import Task
from taskgroup_core.training.epochs import labelled_rows
from taskgroup_core.training.joint import joint_training
from taskgroup_core.training.recipe import Recipe

TASKS = 9


def sign_problem(n_inputs: int, labelled: float) -> Problem:
    """SIGN as in GRAD-TAG on random inputs; each task has a training label on a share `labelled` of them."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(n_inputs, 4, 128, generator=generator)
    labels = (inputs.mean(dim=1)[:, :TASKS] > 0).float()

    def examples(share: float) -> Examples:
        rows, tasks = (torch.rand(n_inputs, TASKS, generator=generator) < share).nonzero(as_tuple=True)
        return Examples(rows, tasks, labels[rows, tasks])

    names = tuple(Task(f"task {index}") for index in range(TASKS))
    return Problem(
        "benchmark", names, inputs, examples(labelled), examples(0.1), examples(0.1), partial(Sign, 4, 128, 256, TASKS)
    )


def seconds(function: Callable[[], object]) -> float:
    """Wall time of one call."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    begun = time.perf_counter()
    function()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - begun


def main() -> None:
    """Print the ratios, medians over the repeats, each repeat timing all variants one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20)
    arguments = parser.parse_args()
    print(describe_device(resolve_device(arguments.device)))
    random = {f"{labelled:.0%} of the labels": partial(sign_problem, labelled=labelled) for labelled in (1.0, 0.2)}
    debian = debian_problem(TASKS)
    for batch_size in (100, 1000):
        problems = {name: build(batch_size * 4) for name, build in random.items()}
        for name, problem in {**problems, "Debian": debian}.items():
            rows = len(labelled_rows(problem, range(TASKS))[0])
            recipe = Recipe(max(1, round(arguments.steps * batch_size / rows)), batch_size=batch_size)
            estimators = {
                f"every {every}": LookaheadAffinity(recipe, 0, arguments.device, every=every) for every in (10, 1)
            }
            variants = {every: partial(estimator.affinity, problem) for every, estimator in estimators.items()}
            plain = partial(joint_training, problem, recipe, 0, arguments.device)
            flops = plain().flops
            ratios: dict[str, list[float]] = {variant: [] for variant in variants}
            for _ in range(arguments.repeats):
                base = seconds(plain)
                for variant, run in variants.items():
                    estimators[variant].flops = 0
                    ratios[variant].append(seconds(run) / base)
            found = ", ".join(
                f"{variant} step(s) {statistics.median(ratio):.2f} "
                f"({estimators[variant].flops / flops:.2f} in operations)"
                for variant, ratio in ratios.items()
            )
            print(f"batch {batch_size}, {name}: plain 1.00 ({base:.2f} s), {found}")


if __name__ == "__main__":
    main()
