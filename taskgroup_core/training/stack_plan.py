"""Which networks are trained together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby

from taskgroup_core.training.batches import batch_sizes


def plan_stacks(
    sizes: Sequence[int],
    batch_size: int,
    bytes_of_one: Callable[[int], int],
    budget: int,
    side_by_side: int = 1,
    smallest: int = 1,
) -> list[list[int]]:
    """Stacks as lists of positions in `sizes`, of like sizes and as even as can be.

    Parameters
    ----------
    sizes : inputs that each network trains on; all networks of a stack take the same number of steps an epoch.
    batch_size : inputs a step.
    bytes_of_one : from the inputs of a step to the memory in bytes that one network takes.
    budget : memory in bytes of the stacks that are trained at a time; a stack has one network at least, even where
        that takes more.
    side_by_side : how many stacks are trained at a time: networks that could all go into fewer are shared out.
    smallest : rows that a batch must have, see `batch_sizes`.
    """
    stacks = []
    order = sorted(range(len(sizes)), key=lambda position: sizes[position])
    for _, alike in groupby(order, key=lambda position: len(batch_sizes(sizes[position], batch_size, smallest))):
        group = list(alike)
        limit = max(1, budget // side_by_side // bytes_of_one(min(batch_size, sizes[group[-1]])))
        n = max(-(-len(group) // limit), min(side_by_side, len(group) // 2))
        stacks += [group[index * len(group) // n : (index + 1) * len(group) // n] for index in range(n)]
    return stacks
