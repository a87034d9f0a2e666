"""What collecting transfer gains costs, as a multiple of plain joint training of the same network (n = 9 tasks).

Run from the repository root:  OMP_NUM_THREADS=2 PYTHONPATH=. python tests/benchmarks/bench_transfer_gain.py
"""

from __future__ import annotations

import argparse
import statistics
from functools import partial

from taskgroup_core.affinity.lookahead import LookaheadAffinity
from taskgroup_core.affinity.transfer_gain import TransferGainAffinity
from taskgroup_core.device import describe_device, resolve_device
from taskgroup_core.training.joint import joint_training
from taskgroup_core.training.recipe import Recipe
from tests.benchmarks.bench_lookahead import seconds, sign_problem


def main() -> None:
    """Print the ratios, medians over the repeats, each repeat timing all variants one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20)
    arguments = parser.parse_args()
    print(describe_device(resolve_device(arguments.device)))
    for batch_size in (100, 1000):
        problem = sign_problem(batch_size * 4, 1.0)
        recipe = Recipe(epochs=arguments.steps // 4, batch_size=batch_size)
        estimators = {
            f"{name} every {every}": make(recipe, 0, arguments.device, every=every)
            for name, make in (("transfer gain", TransferGainAffinity), ("TAG", LookaheadAffinity))
            for every in (10, 1)
        }
        variants = {name: partial(estimator.affinity, problem) for name, estimator in estimators.items()}
        plain = partial(joint_training, problem, recipe, 0, arguments.device)
        flops = plain().flops
        ratios: dict[str, list[float]] = {name: [] for name in variants}
        for _ in range(arguments.repeats):
            base = seconds(plain)
            for name, run in variants.items():
                estimators[name].flops = 0
                ratios[name].append(seconds(run) / base)
        print(f"batch {batch_size}: plain training 1.00 ({base:.2f} s)")
        for name, ratio in ratios.items():
            counted = estimators[name].flops / flops
            print(f"  {name:24} {statistics.median(ratio):6.2f} in time, {counted:6.2f} in operations")


if __name__ == "__main__":
    main()
