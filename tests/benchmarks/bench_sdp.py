"""Time of our first-order solver against SCS through cvxpy, at the same accuracy, in one run on planted affinities.

`python tests/benchmarks/bench_sdp.py` takes some minutes; `--sizes 100` leaves out the larger ones.

How accuracy is measured, alike for both, `solver_times` says. Times are CPU seconds of one thread, so that other work
on the machine does not count.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
from pathlib import Path
from statistics import median
from time import process_time

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before numpy: it is read once
sys.path.insert(0, str(Path(__file__).parents[2]))

from taskgroup_core.grouping.sdp import SDPGrouper
from taskgroup_core.runs.sdp_study import planted_affinity
from taskgroup_core.runs.solver_times import solver_times

INSTANCES = [(100, 10, 0.5), (100, 20, 0.5), (100, 10, 1.0), (100, 5, 3.0), (200, 20, 0.5), (200, 10, 1.0)]
LARGE = [(500, 25, 0.5), (500, 10, 2.0), (500, 50, 0.5)]
ASKED = 1e-4


def compare(n: int, k: int, noise: float) -> float:
    """Print one line; return SCS's time over ours, or infinity where SCS never got there."""
    found = solver_times(planted_affinity(n, k, noise, 0)[0], k, ASKED)
    print(
        f"n={n} k={k} noise={noise}: ours {found.ours:.2f} s, error {found.our_error:.1e}; "
        f"SCS at {found.scs_tolerance:.0e} {found.scs:.2f} s, error {found.scs_error:.1e}; ratio {found.ratio:.1f}",
        flush=True,
    )
    return found.ratio


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 200, 500])
    sizes = parser.parse_args().sizes
    for n, k, noise in LARGE if 500 in sizes else []:  # before cvxpy is imported, whose memory is not ours
        begun = process_time()
        grouper = SDPGrouper(k, rounding="average_linkage", solver_options={"tolerance": 1e-3})
        grouper.fit(planted_affinity(n, k, noise, 0)[0])
        seconds = process_time() - begun
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
