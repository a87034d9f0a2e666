"""Groups worth adding to a programme at given prices: found by local search, not proved to be the best."""

from __future__ import annotations

import numpy as np

from taskgroup_core.grouping.large_problem import LargeProgramme, Members
from taskgroup_core.matrices import FloatArray

RELATIVE = 1e-12  # smaller gains are rounding


def climb(
    problem: LargeProgramme, kind: int, start: Members, cover: FloatArray, price: FloatArray, keep: int
) -> Members:
    """The sets on the way from a start to a local optimum of what a group adds at these prices, and the best around it.

    Each step takes the best of all sets that differ by one task more or less; where none is better, by one replaced.

    Parameters
    ----------
    problem : the choice being made.
    kind : of the group.
    start : a set of tasks, with shape (n,); one below the smallest size is filled first.
    cover, price : of covering and of holding each task, with shape (n,).
    keep : how many neighbours to hand out too wherever no step of one kind gains.

    Returns
    -------
    Sets that suit this kind of group, with shape (c, n).
    """
    way = [start]
    group, value = start, -np.inf
    low = problem.sizes[kind][0]
    if problem.suits(start[None], kind)[0]:
        value = float(problem.reduced(start[None], cover, price)[0])
    replacing = False
    while True:
        around = _replaced(group) if replacing else _turned(group)
        filling = group.sum() < low
        fits = around.sum(axis=1) > group.sum() if filling else problem.suits(around, kind)
        around = around[fits]
        worth = problem.reduced(around, cover, price)
        better = filling or worth.max(initial=-np.inf) > value + RELATIVE * abs(value)
        if not len(around) or not better:
            way.extend(around[np.argsort(-worth, kind="stable")[:keep]])
            if replacing or filling:
                break
            replacing = True  # there are many more of these sets
            continue
        best = int(worth.argmax())
        group, replacing = around[best], False
        value = float(worth[best]) if problem.suits(group[None], kind)[0] else -np.inf
        way.append(group)
    sets = np.array(way)
    return sets[problem.suits(sets, kind)]


def _turned(group: Members) -> Members:
    """Every set with one task more or one less, none empty."""
    around: Members = group ^ np.eye(len(group), dtype=bool)
    return around[around.any(axis=1)]


def _replaced(group: Members) -> Members:
    """Every set with one task replaced by another."""
    inside, outside = np.flatnonzero(group), np.flatnonzero(~group)
    around: Members = np.repeat((group ^ np.eye(len(group), dtype=bool))[inside], len(outside), axis=0)
    around[np.arange(len(around)), np.tile(outside, len(inside))] = True
    return around
