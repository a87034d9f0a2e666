"""Time of our first-order solver against SCS through cvxpy, at the same accuracy, in one run on planted affinities.

`python tests/benchmarks/bench_sdp.py` takes some minutes; `--sizes 100` leaves out the larger ones.

Accuracy is measured alike for both: the larger of how far <T, X> and the certified bound lie from the optimum, as a
share of what the optimum gains over random groups. SCS runs at 1e-4, 1e-5, ... until it is as accurate as asked, and
only the run that was is counted; that its X is not quite feasible is not held against it. Times are CPU seconds of one
thread, so that other work on the machine does not count.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before numpy: it is read once
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from taskgroup_core.grouping.sdp import SDPGrouper
from taskgroup_core.matrices import FloatArray

INSTANCES = [(100, 10, 0.5), (100, 20, 0.5), (100, 10, 1.0), (100, 5, 3.0), (200, 20, 0.5), (200, 10, 1.0)]
LARGE = [(500, 25, 0.5), (500, 10, 2.0), (500, 50, 0.5)]
ASKED = 1e-4


def planted(n: int, k: int, noise: float) -> FloatArray:
    labels = np.arange(n) % k
    return (labels[:, None] == labels) + noise * np.random.default_rng(0).standard_normal((n, n))


def timed(values: FloatArray, k: int, solver: str, **options: Any) -> tuple[SDPGrouper, float]:
    start = process_time()
    grouper = SDPGrouper(k, solver=solver, solver_options=options, rounding="average_linkage").fit(values)
    return grouper, process_time() - start


def error(grouper: SDPGrouper, optimum: float, gain: float) -> float:
    return max(abs(grouper.relaxation_objective_ - optimum), abs(grouper.certified_bound_ - optimum)) / gain


def compare(n: int, k: int, noise: float) -> float:
    """Print one line; return SCS's time over ours, or infinity where SCS never got there."""
    values = planted(n, k, noise)
    optimum = timed(values, k, "ADMM", tolerance=ASKED / 10)[0].relaxation_objective_
    random = ((k - 1) * values.trace() + (n - k) * values.sum() / n) / (n - 1) / k
    ours, seconds = timed(values, k, "ADMM", tolerance=ASKED)
    line = f"n={n} k={k} noise={noise}: ours {seconds:.2f} s, error {error(ours, optimum, optimum - random):.1e}"
    ratio = np.inf
    for eps in (1e-4, 1e-5, 1e-6, 1e-7):
        scs, longer = timed(values, k, "SCS", eps_abs=eps, eps_rel=eps)
        reached = error(scs, optimum, optimum - random)
        line += f"; SCS at {eps:.0e} {longer:.2f} s, error {reached:.1e}"
        if reached <= ASKED:
            ratio = longer / seconds
            break
    print(f"{line}; ratio {ratio:.1f}", flush=True)
    return ratio


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 200, 500])
    sizes = parser.parse_args().sizes
    for n, k, noise in LARGE if 500 in sizes else []:  # before cvxpy is imported, whose memory is not ours
        grouper, seconds = timed(planted(n, k, noise), k, "ADMM", tolerance=1e-3)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(
            f"n={n} k={k} noise={noise}: {grouper.solver_status_} at 1e-3 in {seconds:.1f} s; at most {memory:.2f} GiB"
        )
    for size in (100, 200):
        ratios = [compare(n, k, noise) for n, k, noise in INSTANCES if n == size and size in sizes]
        if ratios:
            print(f"n={size}: SCS takes {median(ratios):.1f} times as long (median), {min(ratios):.1f} at least")


if __name__ == "__main__":
    main()
