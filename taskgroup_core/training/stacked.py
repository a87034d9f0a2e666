"""Training of many networks, each on a subset of its own, in one program."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain, groupby

import torch
from torch import nn
from tqdm import tqdm

from taskgroup_core.device import resolve_device
from taskgroup_core.errors import InputError
from taskgroup_core.problems.problem import Problem
from taskgroup_core.seeds import seeded
from taskgroup_core.training.fit import (
    Fitted,
    Recipe,
    check_losses,
    check_members,
    fit,
    labelled_rows,
    training_flops,
)
from taskgroup_core.training.network_stack import NetworkStack, StackedRun
from taskgroup_core.training.stackable import NotStackedWarning, bytes_per_network, rows_mix, why_not_stackable

CPU_BUDGET = 64 * 2**20  # with more networks at once the caches overflow, and training gets slower
CUDA_SHARE = 0.5  # of the memory that is free: the estimate is a rough one
PROBE_ROWS = 8


def _runs(problem: Problem, subsets: Sequence[Sequence[int]], seeds: Sequence[int]) -> list[StackedRun]:
    if not len(subsets):
        raise InputError("subsets", "an empty sequence", "Give at least one subset.")
    if len(seeds) != len(subsets):
        raise InputError("seeds", f"{len(seeds)} for {len(subsets)} subsets", "Give one seed a subset.")
    used, runs = problem.table("train")[0], []
    for subset, seed in zip(subsets, seeds, strict=True):
        members = tuple(check_members(problem, subset, "subsets"))
        runs.append(StackedRun(members, seed, torch.searchsorted(used, labelled_rows(problem, members)[0])))
    return runs


def plan_stacks(
    sizes: Sequence[int], batch_size: int, bytes_of_one: Callable[[int], int], budget: int
) -> list[list[int]]:
    """Which networks to train together: lists of positions in `sizes`, of like sizes and as even as can be.

    Parameters
    ----------
    sizes : inputs that each network trains on; all networks of a stack take the same number of steps an epoch.
    batch_size : inputs a step.
    bytes_of_one : from the inputs of a step to the memory in bytes that one network takes.
    budget : memory of a stack in bytes; a stack has one network at least, even where that takes more.
    """
    stacks = []
    order = sorted(range(len(sizes)), key=lambda position: sizes[position])
    for _, alike in groupby(order, key=lambda position: -(-sizes[position] // batch_size)):
        group = list(alike)
        limit = max(1, budget // bytes_of_one(min(batch_size, sizes[group[-1]])))
        n = -(-len(group) // limit)
        stacks += [group[index * len(group) // n : (index + 1) * len(group) // n] for index in range(n)]
    return stacks


def _fit_stack(
    problem: Problem,
    runs: Sequence[StackedRun],
    recipe: Recipe,
    place: torch.device,
    start: nn.Module | None,
    mix: bool,
) -> list[Fitted]:
    begun = time.perf_counter()
    networks = [problem.network(run.seed) for run in runs]
    for network in networks:
        if start is not None:
            network.load_state_dict(start.state_dict())
        network.to(place).train()
    stack = NetworkStack(problem, runs, networks, recipe, mix)
    with seeded(runs[0].seed, "dropout", *chain.from_iterable((run.seed, *run.members) for run in runs)):
        losses = torch.stack([stack.epoch() for _ in range(recipe.epochs)]).T.tolist()
    stack.unstack()
    seconds = (time.perf_counter() - begun) / len(runs)
    for run, curve in zip(runs, losses, strict=True):
        check_losses(curve, f" for tasks {list(run.members)}")
    return [
        Fitted(network, tuple(curve), training_flops(problem, run.members, recipe), seconds)
        for run, network, curve in zip(runs, networks, losses, strict=True)
    ]


def fit_many(
    problem: Problem,
    subsets: Sequence[Sequence[int]],
    recipe: Recipe,
    seeds: Sequence[int],
    device: str | torch.device = "auto",
    budget: int | None = None,
    start: nn.Module | None = None,
) -> list[Fitted]:
    """Train one network a subset as `fit` does, but in stacks: many networks of one architecture in one program.

    Each network has the initialisation, the batches and the number of steps that `fit` gives it. Without dropout it
    ends in the same weights but for rounding; with dropout its masks are others, which also depend on the networks
    that it shares a stack with. Networks are stacked that take equally many steps an epoch. Short batches are filled
    up with rows that do not count; where rows of a batch influence each other, as in batch norm, they are not, and
    only batches of one length go together. A module that cannot be stacked is trained by `fit`, with a warning.

    Parameters
    ----------
    problem, recipe, device : as of `fit`.
    subsets : task indices of each network.
    seeds : the seed of each network.
    budget : memory in bytes that a stack may take, from an estimate; None takes 64 MiB on a CPU, where larger stacks
        overflow the caches and are slower, and half of what is free on a GPU.
    start : a network that all are fine-tuned from, left unchanged; without it each is initialised from its seed.

    Returns
    -------
    One `Fitted` a subset, in their order: `flops` without the filling, `seconds` an equal share of the stack's.

    Raises
    ------
    InputError : no subset, an unknown task index, seeds of another number, a budget that is not positive, or a loss
        that turned NaN or infinite.

    Warns
    -----
    NotStackedWarning : the module cannot be stacked; the message says why.
    """
    runs = _runs(problem, subsets, seeds)
    place = resolve_device(device)
    if budget is None:
        budget = int(CUDA_SHARE * torch.cuda.mem_get_info(place)[0]) if place.type == "cuda" else CPU_BUDGET
    if budget <= 0:
        raise InputError("budget", str(budget), "Use a positive number of bytes.")
    used = problem.table("train")[0]
    inputs = problem.inputs[used[torch.linspace(0, len(used) - 1, min(PROBE_ROWS, len(used))).long()]]
    probes = [problem.network(runs[0].seed + more) for more in range(2)]
    reason = why_not_stackable(probes, inputs)
    if reason is None:
        mix = rows_mix(probes[0], inputs)
        sizes = [len(run.rows) for run in runs]
        plan = plan_stacks(sizes, recipe.batch_size, partial(bytes_per_network, probes[0], inputs), budget)
    else:
        warnings.warn(f"The networks are trained one at a time: {reason}.", NotStackedWarning, stacklevel=2)
        plan = [[position] for position in range(len(runs))]
    fitted: dict[int, Fitted] = {}
    with tqdm(total=len(runs), desc="training", unit="network", delay=10) as bar:
        for positions in plan:
            stack = [runs[position] for position in positions]
            if len(stack) == 1:
                done = [fit(problem, stack[0].members, recipe, stack[0].seed, place, start)]
            else:
                done = _fit_stack(problem, stack, recipe, place, start, mix)
            fitted.update(zip(positions, done, strict=True))
            bar.update(len(stack))
    return [fitted[position] for position in range(len(runs))]
