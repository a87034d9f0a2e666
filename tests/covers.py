"""Covers by plain enumeration: what sets of tasks are worth, and the best of all choices of them, loop by loop."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from taskgroup_core.matrices import FloatArray


def draw(rng: np.random.Generator, n: int) -> FloatArray:
    """Asymmetric, with negative entries; half of the draws are small integers, so that ties are common."""
    if rng.integers(2):
        return rng.integers(-3, 4, (n, n)).astype(float)
    return rng.standard_normal((n, n)) * 10.0 ** rng.integers(-3, 4)


def all_gains(values: FloatArray, diagonal: bool, divisor: str) -> FloatArray:
    """Each row a set of tasks, each column a task: what the set is worth to it, -inf where it is not a member."""
    n = len(values)
    counted = values if diagonal else values * (1 - np.eye(n))
    rows = []
    for size in range(1, n + 1):
        for group in map(list, combinations(range(n), size)):
            row = np.full(n, -np.inf)
            row[group] = counted[np.ix_(group, group)].sum(axis=1) / (size if divisor == "size" else max(size - 1, 1))
            rows.append(row)
    return np.array(rows)


def network_gains(values: FloatArray, singletons: str) -> FloatArray:
    """As `all_gains`, of the mean over the other members: TAG's and HOA's score of a network."""
    n = len(values)
    rows = []
    for size in range(1 if singletons == "diagonal" else 2, n + 1):
        for group in combinations(range(n), size):
            row = np.full(n, -np.inf)
            for task in group:
                others = [values[task, source] for source in group if source != task]
                row[task] = np.mean(others) if others else values[task, task]
            rows.append(row)
    return np.array(rows)


def payoffs(gains: FloatArray, choices: np.ndarray, overlap: str) -> FloatArray:
    """Total value of each choice of rows, -inf where a task is left out or may not be in two groups."""
    best = gains[choices].max(axis=1)
    values = np.where(np.isfinite(gains), gains, 0.0).sum(axis=1)
    total = best.sum(axis=1) if overlap == "best_served" else values[choices].sum(axis=1)
    covered = np.isfinite(best).all(axis=1)
    if overlap == "none":
        covered &= np.isfinite(gains[choices]).sum(axis=(1, 2)) == gains.shape[1]
    return np.where(covered, total, -np.inf)


def best_choice(gains: FloatArray, k: int, overlap: str) -> float:
    """The highest total value of k distinct sets that cover all tasks."""
    return float(payoffs(gains, np.array(list(combinations(range(len(gains)), k))), overlap).max())
