"""Projected gradients of the paper's network against a loop of backward passes with a stored matrix, in one run.

Run from the repository root:
OMP_NUM_THREADS=1 PYTHONPATH=. python tests/benchmarks/bench_projected_gradients.py [--clock wall] [--device cuda]

SIGN with p = 683,370 parameters, d = 200, float32, random inputs. The loop takes `torch.autograd.grad` of one output at
a time and multiplies the flattened gradient with P, which it holds as the p x d matrix that it is, by rows. Held by
columns it is read faster, so that ratio is printed as well. Times are CPU seconds, so that other work on the machine
counts little, unless `--clock wall` is given. Every variant runs in a process of its own, which reports by how much its
peak memory exceeds what the network, the inputs and a run on eight examples take. P is drawn within the time.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from taskgroup_core.device import describe_device, resolve_device
from taskgroup_core.gradients.flat import FlatNetwork
from taskgroup_core.gradients.projection import projected_gradients
from taskgroup_core.gradients.projections import make_projection
from taskgroup_core.models.sign import Sign

DIMENSION, OUTPUTS, LOOPED = 200, 100, 16
LABELS = {"one": (1, 1), "one to three": (1, 3), "all": (OUTPUTS, OUTPUTS)}  # an input: from, to
VARIANTS = (
    ("gaussian", "auto"),
    ("gaussian", "reverse"),
    ("gaussian", "layered"),
    ("gaussian", "forward"),
    ("rademacher", "auto"),
    ("sparse", "auto"),
    ("sparse", "reverse"),
    ("kronecker", "auto"),
)


def examples(n_examples: int, labels: str) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs, and the input and the output of each example."""
    generator = torch.Generator().manual_seed(0)
    low, high = LABELS[labels]
    counts = torch.randint(low, high + 1, (n_examples,), generator=generator)
    input_index = torch.arange(n_examples).repeat_interleave(counts)[:n_examples]
    inputs = torch.randn(int(input_index[-1]) + 1, 4, 128, generator=generator)
    return inputs, input_index, torch.randint(OUTPUTS, (n_examples,), generator=generator)


def loop(
    flat: FlatNetwork, multiply: Callable[[Tensor], Tensor], inputs: Tensor, rows: Tensor, columns: Tensor
) -> Tensor:
    """What the others are compared with."""
    parameters, projected = list(flat.network.parameters()), []
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        gradients = torch.autograd.grad(flat.network(inputs[row : row + 1])[0, column], parameters)
        projected.append(multiply(torch.cat([part.reshape(-1) for part in gradients])))
    return torch.stack(projected)


def seconds(run: Callable[[], Tensor], clock: str) -> float:
    """Time of one call."""
    now = time.perf_counter if clock == "wall" else time.process_time
    begun = now()
    run().cpu()  # a GPU has finished by then
    return now() - begun


def peak(device: torch.device) -> float:
    """Peak memory of this process so far in MiB, that of the GPU where one is used."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def measure(kind: str, route: Any, labels: str, n_examples: int, place: str, clock: str) -> tuple[float, float]:
    """(seconds an example, MiB) of one variant; the loop's kinds are "rows" and "columns"."""
    device = resolve_device(place)
    torch.manual_seed(0)
    flat = FlatNetwork(Sign(4, 128, 256, OUTPUTS).eval().to(device))
    inputs, *where = (one.to(device) for one in examples(n_examples, labels))
    few = [one[:8] for one in where]
    if route == "loop":
        matrix = torch.randn(flat.n_parameters, DIMENSION, device=device)
        stored = matrix if kind == "rows" else matrix.T.contiguous()
        multiply = partial(torch.matmul, other=matrix) if kind == "rows" else stored.mv
        loop(flat, multiply, inputs, *few)
        return seconds(partial(loop, flat, multiply, inputs, *(one[:LOOPED] for one in where)), clock) / LOOPED, 0.0

    def run(dimension: int, some: list[Tensor]) -> Tensor:
        projection = make_projection(kind, flat, dimension, 0)  # type: ignore[arg-type]
        return projected_gradients(flat, projection, inputs[: int(some[0].max()) + 1], *some, route)

    run(8, few)
    before = peak(device)
    return seconds(partial(run, DIMENSION, where), clock) / n_examples, peak(device) - before


def main() -> None:
    """Print a line for each variant."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--clock", choices=("cpu", "wall"), default="cpu")
    parser.add_argument("--examples", type=int, default=2000)
    parser.add_argument("--labels", nargs="+", choices=list(LABELS), default=list(LABELS))
    given = parser.parse_args()
    print(f"{given.examples} examples, on {describe_device(resolve_device(given.device))}, {given.clock} clock")
    for labels in given.labels:

        def apart(kind: str, route: str, labels: str = labels) -> tuple[float, float]:
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                return pool.apply(measure, (kind, route, labels, given.examples, given.device, given.clock))

        by_rows, by_columns = apart("rows", "loop")[0], apart("columns", "loop")[0]
        print(f"labels an input: {labels}; loop {1e3 * by_rows:.1f} ms an example, by columns {1e3 * by_columns:.1f}")
        for kind, route in VARIANTS:
            if (route == "forward" and labels == "one") or (route == "reverse" and labels != "one"):
                continue
            taken, memory = apart(kind, route)
            ratios = f"{by_rows / taken:.1f} times as fast as the loop, {by_columns / taken:.1f} as that by columns"
            print(f"  {kind}, {route}: {1e3 * taken:.2f} ms, {ratios}; {memory:.0f} MiB", flush=True)


if __name__ == "__main__":
    main()
