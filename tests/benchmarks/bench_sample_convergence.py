"""What SCA's scores cost with N = 100 samples, against a plain loop over samples and tasks.

Run from the repository root:  OMP_NUM_THREADS=2 PYTHONPATH=. python tests/benchmarks/bench_sample_convergence.py
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from taskgroup_core.affinity.sample_convergence import SampleConvergenceAffinity
from taskgroup_core.device import describe_device, resolve_device
from taskgroup_core.examples import Examples
from taskgroup_core.matrices import FloatArray
from taskgroup_core.models.sign import Sign
from taskgroup_core.problems.problem import Problem
from taskgroup_core.tasks import Task
from taskgroup_core.training.shared_parameters import shared_parameters

SAMPLES = 100  # the paper's N


def sign_problem(n_tasks: int, n_features: int, width: int) -> Problem:
    """SIGN on 100 random inputs with all labels."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(SAMPLES, 4, n_features, generator=generator)
    labels = (torch.rand(SAMPLES, n_tasks, generator=generator) < 0.5).float()
    rows, tasks = torch.ones(SAMPLES, n_tasks).nonzero(as_tuple=True)
    examples = Examples(rows, tasks, labels[rows, tasks])
    names = tuple(Task(f"task {index}") for index in range(n_tasks))
    build = partial(Sign, 4, n_features, width, n_tasks)
    return Problem("benchmark", names, inputs, examples, examples, examples, build)


def plain_loop(problem: Problem, device: str, samples: int) -> FloatArray:
    """Eq. (16) and (17) as they stand: one backward pass a sample and task, one distance a sample and pair."""
    place = resolve_device(device)
    network = problem.network(0).to(place).eval()
    names = shared_parameters(network, problem.n_outputs)
    shared = [network.get_parameter(name) for name in names]
    labels, n_tasks = problem.table("train")[1], problem.n_tasks
    total = np.zeros((n_tasks, n_tasks))
    for row in range(samples):
        output = network(problem.inputs[row : row + 1].to(place))[0]
        gradients = []
        for task in range(n_tasks):
            label = labels[row, task].to(place)
            loss = torch.nn.functional.binary_cross_entropy_with_logits(output[task], label)
            found = torch.autograd.grad(loss, shared, retain_graph=True)
            gradients.append(torch.cat([part.flatten() for part in found]))
        for i in range(n_tasks):
            for j in range(i):
                total[i, j] = total[j, i] = total[i, j] + float((gradients[i] - gradients[j]).abs().sum())
    return 1 - total / total.max(axis=1, keepdims=True)


def seconds(function: Callable[[], object]) -> float:
    """Wall time of one call."""
    begun = time.perf_counter()
    function()
    return time.perf_counter() - begun


def main() -> None:
    """Print the ratios, medians over the repeats, each repeat timing both one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    print(describe_device(resolve_device(arguments.device)))
    for n_tasks, n_features, width in ((6, 16, 16), (12, 64, 64), (9, 128, 256)):
        problem = sign_problem(n_tasks, n_features, width)
        estimator = SampleConvergenceAffinity(SAMPLES, 0, arguments.device)
        assert np.allclose(
            estimator.affinity(problem).values, plain_loop(problem, arguments.device, SAMPLES), atol=1e-3
        )
        slow, quick = [], []
        for _ in range(arguments.repeats):
            slow.append(seconds(lambda problem=problem: plain_loop(problem, arguments.device, SAMPLES)))  # type: ignore[misc]
            quick.append(seconds(lambda problem=problem, made=estimator: made.affinity(problem)))  # type: ignore[misc]
        ratio = statistics.median(a / b for a, b in zip(slow, quick, strict=True))
        size = sum(value.numel() for value in problem.network(0).parameters())
        print(f"{n_tasks} tasks, p = {size:,}: loop {min(slow):.2f} s, batched {min(quick):.3f} s, {ratio:.0f} times")


if __name__ == "__main__":
    main()
