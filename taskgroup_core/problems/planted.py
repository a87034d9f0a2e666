"""A small synthetic problem whose groups are known: families of tasks that share a direction."""

from __future__ import annotations

from functools import partial
from typing import Literal

import numpy as np
import scipy.linalg
import torch
from torch import nn

from taskgroup_core.errors import InputError
from taskgroup_core.examples import Examples
from taskgroup_core.problems.problem import Problem
from taskgroup_core.seeds import numpy_generator
from taskgroup_core.tasks import Task


def _perceptron(n_features: int, width: int, n_tasks: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(n_features, width), nn.ReLU(), nn.Linear(width, n_tasks))


def planted_problem(
    families: int,
    *,
    tasks_per_family: int,
    n_examples: int = 400,
    n_features: int = 16,
    conflict: float = 0.0,
    spread: float = 0.3,
    noise: float = 0.05,
    network: Literal["linear", "mlp"] = "mlp",
    width: int = 16,
    common_inputs: bool = False,
    seed: int = 0,
) -> Problem:
    """Binary tasks on Gaussian inputs x: label 1 where w'x > 0, flipped with probability `noise`.

    The tasks of one family have nearly the same w; task t of family f is named "f.t".

    Parameters
    ----------
    families : number of families, at most `n_features`.
    tasks_per_family : tasks in each.
    n_examples : inputs, N; each task draws its own 20 % for training, 20 % for validation, and is tested on the rest.
    n_features : dimension of x.
    conflict : the cosine between two families' directions is -conflict / (families - 1): 0 is unrelated, 1 as opposed
        as they can be.
    spread : share of a task's own in its direction, w = (1 - spread^2)^1/2 (family's direction) + spread (its own).
    noise : probability that a label is flipped, below 1/2.
    network : "linear" (one layer: the model is linear in its parameters and tasks do not interact) or "mlp" (one
        hidden layer of `width` rectified neurons, which the tasks share).
    common_inputs : give all tasks the first one's splits, so that every training input has all labels.
    seed : decides directions, inputs, flips and splits.

    Raises
    ------
    InputError : a parameter out of range, or so few inputs that a split lacks one class.
    """
    in_range = {
        "families": 1 <= families <= n_features,
        "tasks_per_family": tasks_per_family >= 1,
        "n_examples": n_examples >= 10,
        "conflict": 0 <= conflict <= 1,
        "spread": 0 <= spread <= 1,
        "noise": 0 <= noise < 0.5,
        "width": width >= 1,
        "network": network in ("linear", "mlp"),
    }
    wrong = [name for name, fine in in_range.items() if not fine]
    if wrong:
        raise InputError(wrong[0], repr(locals()[wrong[0]]), "See the ranges in the help of planted_problem.")
    generator = numpy_generator(seed, "planted")
    n_tasks = families * tasks_per_family
    cosine = -conflict / max(1, families - 1)
    gram = np.full((families, families), cosine) + (1 - cosine) * np.eye(families)
    values, vectors = scipy.linalg.eigh(gram)
    axes = np.linalg.qr(generator.standard_normal((n_features, families)))[0].T
    shared = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T @ axes  # rows with exactly this Gram matrix
    own = generator.standard_normal((n_tasks, n_features))
    own /= np.linalg.norm(own, axis=1, keepdims=True)
    direction = np.sqrt(1 - spread**2) * np.repeat(shared, tasks_per_family, axis=0) + spread * own
    inputs = generator.standard_normal((n_examples, n_features))
    label = (inputs @ direction.T > 0) ^ (generator.random((n_examples, n_tasks)) < noise)
    order = np.argsort(generator.random((n_tasks, n_examples)), axis=1)
    if common_inputs:
        order = np.repeat(order[:1], n_tasks, axis=0)
    fifth = n_examples // 5

    def rows(start: int, stop: int) -> Examples:
        node, task = order[:, start:stop].ravel(), np.repeat(np.arange(n_tasks), stop - start)
        return Examples(*map(torch.from_numpy, (node, task, label[node, task].astype(np.float32))))

    build = (
        partial(nn.Linear, n_features, n_tasks)
        if network == "linear"
        else partial(_perceptron, n_features, width, n_tasks)
    )
    return Problem(
        f"planted, {families} x {tasks_per_family}",
        tuple(Task(f"{family}.{task}") for family in range(families) for task in range(tasks_per_family)),
        torch.from_numpy(inputs.astype(np.float32)),
        rows(0, fifth),
        rows(fifth, 2 * fifth),
        rows(2 * fifth, n_examples),
        build,
    )
