"""Gap and time of the search for too many tasks to list, on planted affinities with sizes from 5 to 15, in one run.

`python tests/benchmarks/bench_large_programming.py` takes some minutes; `--tasks 40 --groups 4` is quicker.

The value is set beside that of the planted families, and its gap beside the one that the bound by rows alone leaves.
Times are CPU seconds of one thread, so that other work on the machine does not count.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from time import process_time

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before numpy: it is read once
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from taskgroup_core.grouping.group_limits import check_slots
from taskgroup_core.grouping.large_problem import LargeProgramme
from taskgroup_core.grouping.programming import OVERLAPS, ProgrammingGrouper
from taskgroup_core.grouping.row_bound import RowBound
from taskgroup_core.matrices import FloatArray

SIZES = (5, 15)


def planted(n: int, k: int, noise: float, *, symmetric: bool) -> tuple[FloatArray, FloatArray]:
    """An affinity with k families, and their membership with shape (k, n)."""
    labels = np.arange(n) % k
    drawn = np.random.default_rng(0).standard_normal((n, n))
    drawn = (drawn + drawn.T) / np.sqrt(2) if symmetric else drawn
    return np.equal.outer(labels, labels) + noise * drawn, np.equal.outer(np.arange(k), labels)


def main() -> None:
    """Print one line for each affinity and each convention of the objective."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=100)
    parser.add_argument("--groups", type=int, default=10)
    parser.add_argument("--noise", type=float, nargs="+", default=[0.1, 0.2, 0.3, 0.5])
    parser.add_argument("--overlap", nargs="+", default=OVERLAPS)
    parser.add_argument("--divisor", nargs="+", default=["size"])
    parser.add_argument("--time-limit", type=float, default=None)
    given = parser.parse_args()
    n, k = given.tasks, given.groups
    for noise in given.noise:
        for symmetric in (False, True):
            values, families = planted(n, k, noise, symmetric=symmetric)
            for divisor in given.divisor:
                for overlap in given.overlap:
                    problem = LargeProgramme(values, divisor, overlap, check_slots(n, k, *SIZES, None, None, ()))
                    by_rows = RowBound(problem)
                    rows = by_rows.bound(*by_rows.prices())
                    start = process_time()
                    options = {"divisor": divisor, "overlap": overlap, "time_limit": given.time_limit}
                    found = ProgrammingGrouper(k, min_size=SIZES[0], max_size=SIZES[1], **options).fit(values)
                    print(
                        f"n={n} k={k} noise={noise} {'symmetric' if symmetric else 'asymmetric'} {divisor} {overlap}: "
                        f"gap {100 * found.gap_:.2f} % in {process_time() - start:.1f} s "
                        f"(by rows alone {100 * (rows / found.objective_ - 1):.1f} %); value "
                        f"{100 * (found.objective_ / problem.total(families) - 1):+.2f} % on the planted families",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
