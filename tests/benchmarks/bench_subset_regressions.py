"""Subset regressions of GRAD-TAE, all at once, against a loop of scikit-learn's LogisticRegression (lbfgs).

Run from the repository root:  OMP_NUM_THREADS=2 PYTHONPATH=. python tests/benchmarks/bench_subset_regressions.py
The loop is timed on a sample of the subsets, half before and half after ours, and scaled to all of them.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from taskgroup_core.affinity.newton import newton
from taskgroup_core.affinity.subset_regressions import TaskRows, subset_regressions
from taskgroup_core.device import describe_device, resolve_device
from taskgroup_core.gradients.flat import FlatNetwork
from taskgroup_core.gradients.projection import projected_gradients
from taskgroup_core.gradients.projections import ProjectionKind, make_projection
from taskgroup_core.matrices import FloatArray
from taskgroup_core.problems.debian import debian_problem
from taskgroup_core.problems.planted import planted_problem
from taskgroup_core.problems.problem import Problem
from taskgroup_core.subsets import sample_subsets
from taskgroup_core.training.fit import fit
from taskgroup_core.training.recipe import Recipe
from tests.benchmarks.bench_lookahead import seconds

TASKS, ROWS, DIMENSION, ALPHA = 100, 300, 200, 10


def as_rows(features: Tensor, label: Tensor) -> TaskRows:
    """A binary task without offset, which scikit-learn does not have."""
    return TaskRows("binary", features[:, None].contiguous(), torch.zeros_like(label)[:, None], label)


def gaussian(decay: float) -> list[TaskRows]:
    """Gaussian rows whose k-th direction has a standard deviation of k^-decay, labels from a direction per task."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    scale = torch.arange(1, DIMENSION + 1, dtype=torch.float64) ** -decay
    scale *= (DIMENSION / scale.square().sum()).sqrt()
    rotation, shared = torch.linalg.qr(normal(DIMENSION, DIMENSION))[0], normal(DIMENSION)
    tasks = []
    for _ in range(TASKS):
        own, inputs = shared + 0.7 * normal(DIMENSION), normal(ROWS, DIMENSION) * (0.5 * normal(DIMENSION)).exp()
        label = inputs @ own / DIMENSION**0.5 + normal(ROWS) > 0
        tasks.append(as_rows(inputs * scale @ rotation.T, label.double()))
    return tasks


def network_rows(problem: Problem, recipe: Recipe, kind: ProjectionKind) -> list[TaskRows]:
    """Projected gradients of a network that `recipe` trained on all tasks, of at most ROWS examples a task."""
    flat = FlatNetwork(fit(problem, range(TASKS), recipe, 0, "cpu").network)
    used, labels = problem.table("train")
    known = ~labels.isnan()
    example, task = (known & (known.cumsum(dim=0) <= ROWS)).nonzero(as_tuple=True)
    projection = make_projection(kind, flat, DIMENSION, 0)
    features = projected_gradients(flat, projection, problem.inputs[used], example, task).double()
    label = labels[example, task].double()
    return [as_rows(features[task == index], label[task == index]) for index in range(TASKS)]


def planted() -> list[TaskRows]:
    """Of a small network on a planted problem with balanced labels."""
    problem = planted_problem(10, tasks_per_family=TASKS // 10, n_examples=5 * ROWS, n_features=32, width=64, seed=0)
    return network_rows(problem, Recipe(epochs=20, batch_size=512), "gaussian")


def debian() -> list[TaskRows]:
    """Of GRAD-TAG's network on the Debian graph, where a few in a hundred labels are positive: nearly separated."""
    return network_rows(debian_problem(TASKS), Recipe(epochs=20, batch_size=1000), "sparse")


KINDS: dict[str, Callable[[], list[TaskRows]]] = {
    "independent": partial(gaussian, 0.0),
    "correlated": partial(gaussian, 1.0),
    "network": planted,
    "Debian": debian,
}


def scikit_learn(tasks: list[TaskRows], members: list[FloatArray], C: float) -> Tensor:
    """The loop: its slices of the rows are copied outside of the fits, but within the time, as ours are."""
    solutions = []
    for member in members:
        chosen = np.flatnonzero(member)
        features = np.concatenate([tasks[index].features[:, 0].numpy() for index in chosen])
        label = np.concatenate([tasks[index].label.numpy() for index in chosen])
        solutions.append(LogisticRegression(C=C, fit_intercept=False).fit(features, label).coef_[0])
    return torch.from_numpy(np.stack(solutions))


def largest_error(tasks: list[TaskRows], members: list[FloatArray], solutions: Tensor, C: float) -> float:
    """Over the sample, of the largest entry's error relative to the largest entry."""
    errors = []
    for member, solution in zip(members, solutions.cpu(), strict=False):
        chosen = [tasks[index] for index in np.flatnonzero(member)]
        tight = newton(chosen, 1 / (C * sum(map(len, chosen))), 1e-12, 100).solution
        errors.append(float((solution - tight).abs().max() / tight.abs().max()))
    return max(errors)


def main() -> None:
    """Print times, ratios and errors."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--subsets", type=int, default=2000)
    parser.add_argument("--sample", type=int, default=100)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    arguments = parser.parse_args()
    device = resolve_device(arguments.device)
    print(f"{describe_device(device)}; scikit-learn: {arguments.sample} subsets, scaled to {arguments.subsets}")
    warnings.simplefilter("ignore", ConvergenceWarning)  # its 100 iterations do not always suffice
    subsets = sample_subsets(TASKS, ALPHA, arguments.subsets, 0)
    sample, half = list(subsets[: arguments.sample]), arguments.sample // 2
    for name in arguments.kinds:
        tasks = KINDS[name]()
        ours = [TaskRows(t.kind, t.features.to(device), t.offset.to(device), t.label.to(device)) for t in tasks]
        subset_regressions(ours, subsets[:20])
        for C in (0.01, 1.0, 100.0):
            found, theirs = [], []
            loop = seconds(lambda t=tasks, c=C, f=theirs: f.append(scikit_learn(t, sample[:half], c)))
            time_ours = seconds(lambda o=ours, c=C, f=found: f.append(subset_regressions(o, subsets, c)))
            loop += seconds(lambda t=tasks, c=C, f=theirs: f.append(scikit_learn(t, sample[half:], c)))
            loop *= arguments.subsets / arguments.sample
            errors = [largest_error(tasks, sample, some, C) for some in (torch.cat(theirs), found[0].solutions)]
            print(
                f"{name}, C = {C}: scikit-learn {loop:.1f} s (largest error {errors[0]:.1e}), ours {time_ours:.2f} s "
                f"({errors[1]:.1e}), ratio {loop / time_ours:.1f}; {found[0].status}",
                flush=True,
            )


if __name__ == "__main__":
    main()
