"""Nash-MTL's weights: Newton's method against the sequence of cone programmes of TorchJD, in one run.

Run from the repository root:  OMP_NUM_THREADS=1 PYTHONPATH=. python tests/benchmarks/bench_nash_bargaining.py
Needs `pip install ecos`, the solver that TorchJD's `NashMTL` calls, beside the extra `mtl`.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings

import torch
from torchjd.aggregation import NashMTL

from taskgroup_core.training.nash_bargaining import NashBargaining


def residual(jacobian: torch.Tensor, combined: torch.Tensor) -> float:
    """Largest departure of a_i (G a)_i from its mean, relative to it: 0 at the bargain, whatever its length."""
    weights = torch.linalg.lstsq(jacobian.T, combined[:, None]).solution[:, 0]
    products = weights * (jacobian @ jacobian.T @ weights)
    return float((products / products.mean() - 1).abs().max())


def main() -> None:
    """Print median seconds of a call, the residual of the equation, and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=10, help="calls of each, on gradients of their own")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", category=UserWarning)
    for n_tasks in (3, 9, 12):
        seconds: dict[str, list[float]] = {"Newton": [], "TorchJD": []}
        residuals: dict[str, list[float]] = {"Newton": [], "TorchJD": []}
        for draw in range(arguments.repeats + 1):  # the first warms up
            generator = torch.Generator().manual_seed(draw)
            jacobian = torch.randn(n_tasks, 2000, generator=generator, dtype=torch.float64)
            for name, kind in (("Newton", NashBargaining(max_norm=0.0)), ("TorchJD", NashMTL(n_tasks, max_norm=0.0))):
                begun = time.perf_counter()
                combined = kind(jacobian)
                if draw:
                    seconds[name].append(time.perf_counter() - begun)
                    residuals[name].append(residual(jacobian, combined))
        middle = {name: statistics.median(values) for name, values in seconds.items()}
        shown = ", ".join(f"{name} {middle[name]:.5f} s, residual {max(residuals[name]):.1e}" for name in middle)
        print(f"n = {n_tasks}: {shown}; ratio {middle['TorchJD'] / middle['Newton']:.0f}")


if __name__ == "__main__":
    main()
