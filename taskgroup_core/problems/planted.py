"""A small synthetic problem whose groups are known: families of tasks that share a direction."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal, get_args

import numpy as np
import scipy.linalg
import torch
from numpy.typing import NDArray
from scipy.stats import norm
from torch import nn

from taskgroup_core.errors import InputError
from taskgroup_core.examples import Examples
from taskgroup_core.matrices import FloatArray
from taskgroup_core.models.mlp import perceptron
from taskgroup_core.problems.problem import Problem
from taskgroup_core.seeds import numpy_generator
from taskgroup_core.tasks import Kind, Task

METRIC = {"binary": "f1", "multiclass": "accuracy", "regression": "r2"}


def planted_problem(
    families: int,
    *,
    tasks_per_family: int | Sequence[int],
    n_examples: int = 400,
    n_features: int = 16,
    kind: Kind = "binary",
    classes: int = 3,
    conflict: float = 0.0,
    spread: float = 0.3,
    noise: float = 0.05,
    labelled: float = 1.0,
    network: Literal["linear", "mlp"] = "mlp",
    width: int = 16,
    common_inputs: bool = False,
    seed: int = 0,
) -> Problem:
    """Tasks on Gaussian inputs x, each with a direction w of length 1; those of one family have nearly the same w.

    A binary label is 1 where w'x > 0. Of K classes, it is the one of K equally likely intervals that w'x lies in. In
    regression it is w'x. Task t of family f is named "f.t".

    Parameters
    ----------
    families : number of families, at most `n_features`.
    tasks_per_family : tasks in each, or in all of them alike.
    n_examples : inputs, N; each task draws its own 20 % for training, 20 % for validation, and is tested on the rest.
    n_features : dimension of x.
    kind : of all tasks.
    classes : K, for kind "multiclass".
    conflict : the cosine between two families' directions is -conflict / (families - 1): 0 is unrelated, 1 as opposed
        as they can be.
    spread : share of a task's own in its direction, w = (1 - spread^2)^1/2 (family's direction) + spread (its own).
    noise : probability that a label is flipped, or replaced by another class, below 1/2; in regression the share of
        noise in a label's variance, which is about 1.
    labelled : share of the labels that are kept, in (0, 1]; each is kept or lost on its own.
    network : "linear" (one layer: the model is linear in its parameters and tasks do not interact) or "mlp" (one
        hidden layer of `width` rectified neurons, which the tasks share).
    common_inputs : give all tasks the first one's splits, so that every training input has all labels.
    seed : decides directions, inputs, noise, splits and which labels are kept.

    Raises
    ------
    InputError : a parameter out of range, or so few labels that a split lacks a task or one class.
    """
    per_family = [tasks_per_family] * families if isinstance(tasks_per_family, int) else list(tasks_per_family)
    in_range = {
        "families": 1 <= families <= n_features,
        "tasks_per_family": len(per_family) == families and all(size >= 1 for size in per_family),
        "n_examples": n_examples >= 10,
        "kind": kind in get_args(Kind),
        "classes": classes >= 2,
        "conflict": 0 <= conflict <= 1,
        "spread": 0 <= spread <= 1,
        "noise": 0 <= noise < 0.5,
        "labelled": 0 < labelled <= 1,
        "width": width >= 1,
        "network": network in ("linear", "mlp"),
    }
    wrong = [name for name, fine in in_range.items() if not fine]
    if wrong:
        raise InputError(wrong[0], repr(locals()[wrong[0]]), "See the ranges in the help of planted_problem.")
    generator = numpy_generator(seed, "planted")
    n_tasks = sum(per_family)
    cosine = -conflict / max(1, families - 1)
    gram = np.full((families, families), cosine) + (1 - cosine) * np.eye(families)
    values, vectors = scipy.linalg.eigh(gram)
    axes = np.linalg.qr(generator.standard_normal((n_features, families)))[0].T
    shared = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T @ axes  # rows with exactly this Gram matrix
    own = generator.standard_normal((n_tasks, n_features))
    own /= np.linalg.norm(own, axis=1, keepdims=True)
    direction = np.sqrt(1 - spread**2) * np.repeat(shared, per_family, axis=0) + spread * own
    inputs = generator.standard_normal((n_examples, n_features))
    disturbed = generator.random((n_examples, n_tasks)) < noise
    order = np.argsort(generator.random((n_tasks, n_examples)), axis=1)
    if common_inputs:
        order = np.repeat(order[:1], n_tasks, axis=0)
    label = _labels(kind, classes, inputs @ direction.T, noise, disturbed, seed).astype(np.float32)
    kept = numpy_generator(seed, "planted", "labelled").random(label.shape) < labelled
    fifth = n_examples // 5

    def rows(start: int, stop: int) -> Examples:
        node, task = order[:, start:stop].ravel(), np.repeat(np.arange(n_tasks), stop - start)
        node, task = node[kept[node, task]], task[kept[node, task]]
        return Examples(*map(torch.from_numpy, (node, task, label[node, task])))

    outputs = classes if kind == "multiclass" else 1
    names = [f"{family}.{task}" for family, size in enumerate(per_family) for task in range(size)]
    build = (
        partial(nn.Linear, n_features, n_tasks * outputs)
        if network == "linear"
        else partial(perceptron, n_features, width, n_tasks * outputs)
    )
    return Problem(
        f"planted, {families} x {per_family[0]}" if len(set(per_family)) == 1 else f"planted, {per_family}",
        tuple(Task(name, kind, METRIC[kind], outputs) for name in names),
        torch.from_numpy(inputs.astype(np.float32)),
        rows(0, fifth),
        rows(fifth, 2 * fifth),
        rows(2 * fifth, n_examples),
        build,
    )


def _labels(
    kind: Kind, classes: int, signal: FloatArray, noise: float, disturbed: NDArray[np.bool_], seed: int
) -> FloatArray:
    """Labels of the signals w'x, with the same shape (N, n)."""
    if kind == "binary":
        return ((signal > 0) ^ disturbed).astype(float)
    generator = numpy_generator(seed, "planted", kind)
    if kind == "regression":
        noisy: FloatArray = np.sqrt(1 - noise) * signal + np.sqrt(noise) * generator.standard_normal(signal.shape)
        return noisy
    interval = np.searchsorted(norm.ppf(np.arange(1, classes) / classes), signal)
    chosen = (interval + np.where(disturbed, generator.integers(1, classes, signal.shape), 0)) % classes
    return chosen.astype(float)
