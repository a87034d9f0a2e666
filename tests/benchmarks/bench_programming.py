"""Time of the exact groupers, and of the same optimum from one programme over all sets at once (HiGHS's defaults).

Run: python tests/benchmarks/bench_programming.py
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from scipy.optimize import LinearConstraint, milp

from taskgroup_core.grouping.best_served import BestServedGrouper
from taskgroup_core.grouping.group_values import divisors, group_sums, members_of
from taskgroup_core.grouping.programming import ProgrammingGrouper
from taskgroup_core.matrices import FloatArray
from taskgroup_core.runs.programming_times import KINDS, drawn_affinity

REPEATS = 3


def every_set_at_once(values: FloatArray, n_groups: int) -> float:
    """The optimum of the same problem with a column for every set from the start."""
    n = len(values)
    worth = (group_sums(values) / divisors(n, "size"))[1:]
    members = members_of(np.arange(1, 1 << n), n).T.astype(float)
    limits = [LinearConstraint(members, 1, np.inf), LinearConstraint(np.ones((1, len(worth))), n_groups, n_groups)]
    options = {"mip_rel_gap": 0.0, "time_limit": 60.0}
    result = milp(-worth, integrality=np.ones(len(worth)), bounds=(0, 1), constraints=limits, options=options)
    return np.nan if result.x is None else -float(result.fun)


def timed(call: Callable[[], float]) -> tuple[float, float]:
    """Seconds that a call took, and its value."""
    start = time.perf_counter()
    value = call()
    return time.perf_counter() - start, value


def main() -> None:
    """Print median and longest times, and where it is small enough the ratio to the programme over all sets."""
    for n, numbers in ((6, range(2, 7)), (7, range(2, 7)), (9, range(2, 7)), (14, [6]), (20, [6])):
        for kind in KINDS:
            ours, ratios = [], []
            for k in numbers:
                for seed in range(REPEATS):
                    values = drawn_affinity(kind, n, seed)
                    seconds, value = timed(lambda v=values, k=k: ProgrammingGrouper(k).fit(v).objective_)
                    ours.append(seconds)
                    if n <= 9:
                        other, best = timed(lambda v=values, k=k: every_set_at_once(v, k))
                        assert abs(best - value) <= 1e-6 * abs(best), (n, kind, k, seed)
                        ratios.append(other / seconds)
            ratio = f", all sets at once takes {np.median(ratios):.1f} times as long (median)" if ratios else ""
            print(
                f"programming n={n} {kind}: median {np.median(ours):.3f} s, longest {max(ours):.3f} s{ratio}",
                flush=True,
            )
    for n in (9, 16, 20):
        for kind in KINDS:
            affinities = [drawn_affinity(kind, n, seed) for seed in range(REPEATS)]
            times = [timed(lambda v=values: BestServedGrouper(5).fit(v).objective_)[0] for values in affinities]
            print(
                f"best served n={n} b=5 {kind}: median {np.median(times):.3f} s, longest {max(times):.3f} s", flush=True
            )


if __name__ == "__main__":
    main()
