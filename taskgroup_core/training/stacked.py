"""Training of many networks, each on a subset of its own, in one program."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain

import torch
from torch import Tensor, nn
from tqdm import tqdm

from taskgroup_core.device import resolve_device
from taskgroup_core.errors import InputError
from taskgroup_core.problems.problem import Problem
from taskgroup_core.seeds import seeded
from taskgroup_core.training.batches import smallest_batch
from taskgroup_core.training.epochs import Fitted, check_losses, labelled_rows, training_flops
from taskgroup_core.training.fit import check_members, fit
from taskgroup_core.training.network_probes import bytes_per_network, draws_elsewhere, rows_mix
from taskgroup_core.training.network_stack import NetworkStack, StackedRun
from taskgroup_core.training.recipe import Recipe
from taskgroup_core.training.stack_plan import plan_stacks
from taskgroup_core.training.stackable import NotStackedWarning, why_not_stackable
from taskgroup_core.training.workers import side_by_side

CPU_BUDGET = 256 * 2**20  # more brings nothing, and fewer networks at once pay more for each call
CUDA_SHARE = 0.5  # of the memory that is free: the estimate is a rough one
MOST_THREADS = 8  # with more of them, waiting for Python's lock eats up the gain
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


def _prepare(
    problem: Problem,
    runs: Sequence[StackedRun],
    recipe: Recipe,
    place: torch.device,
    start: nn.Module | None,
    mix: bool,
    smallest: int,
) -> NetworkStack:
    networks = [problem.network(run.seed) for run in runs]
    for network in networks:
        if start is not None:
            network.load_state_dict(start.state_dict())
        network.to(place).train()
    return NetworkStack(problem, runs, networks, recipe, mix, smallest)


def _train(stack: NetworkStack, problem: Problem, recipe: Recipe, draws: bool) -> list[Fitted]:
    """Train a stack; `draws`: it uses torch's global generators."""
    begun = time.perf_counter()
    if draws:
        with seeded(stack.runs[0].seed, "stack", *chain.from_iterable((run.seed, *run.members) for run in stack.runs)):
            stack.train()
    else:
        stack.train()
    seconds = time.perf_counter() - begun
    if stack.validation is not None:
        stack.validation.check()
    curves, of_validation = (_by_network(history, stack) for history in (stack.losses, stack.validation_losses))
    fitted = []
    for run, network, curve, validation in zip(stack.runs, stack.networks, curves, of_validation, strict=True):
        losses = check_losses(curve, f" for tasks {list(run.members)}")
        flops = training_flops(problem, run.members, recipe, len(losses))
        fitted.append(Fitted(network, losses, flops, seconds / len(stack.runs), tuple(validation)))
    return fitted


def _by_network(history: list[tuple[list[int], Tensor]], stack: NetworkStack) -> list[list[float]]:
    curves: list[list[float]] = [[] for _ in stack.runs]
    for networks, losses in history:
        for network, loss in zip(networks, losses.tolist(), strict=True):
            curves[network].append(loss)
    return curves


def fit_each(
    problem: Problem,
    subsets: Sequence[Sequence[int]],
    recipe: Recipe,
    seeds: Sequence[int],
    device: str | torch.device = "auto",
    budget: int | None = None,
    start: nn.Module | None = None,
) -> Iterator[tuple[int, Fitted]]:
    """`fit_many`, stack by stack: yields the position of a subset and its `Fitted`, so that few are held at a time."""
    runs = _runs(problem, subsets, seeds)
    place = resolve_device(device)
    if budget is None:
        budget = int(CUDA_SHARE * torch.cuda.mem_get_info(place)[0]) if place.type == "cuda" else CPU_BUDGET
    if budget <= 0:
        raise InputError("budget", str(budget), "Use a positive number of bytes.")
    used = problem.table("train")[0]
    inputs = problem.inputs[used[torch.linspace(0, len(used) - 1, min(PROBE_ROWS, len(used))).long()]]
    probes = [problem.network(runs[0].seed + more) for more in range(2)]
    plan = [[position] for position in range(len(runs))]
    reason = why_not_stackable(probes, inputs, recipe.validates)
    if reason is None:
        mix, draws = rows_mix(probes[0], inputs), draws_elsewhere(probes[0], inputs)
        threads = min(torch.get_num_threads(), MOST_THREADS) if place.type == "cpu" and not draws else 1
        sizes, smallest = [len(run.rows) for run in runs], smallest_batch(probes[0], inputs[:1])
        bytes_of_one = partial(bytes_per_network, probes[0], inputs)
        plan = plan_stacks(sizes, recipe.batch_size, bytes_of_one, budget, threads, smallest)
    else:
        warnings.warn(f"The networks are trained one at a time: {reason}.", NotStackedWarning, stacklevel=4)
    together, alone = ([stack for stack in plan if (len(stack) > 1) == more] for more in (True, False))
    with tqdm(total=len(runs), desc="training", unit="network", delay=10) as bar:
        for (position,) in alone:
            yield position, fit(problem, runs[position].members, recipe, runs[position].seed, place, start)
            bar.update()
        if together:
            prepared = (
                _prepare(problem, [runs[p] for p in stack], recipe, place, start, mix, smallest) for stack in together
            )
            train = partial(_train, problem=problem, recipe=recipe, draws=draws)
            positions = chain.from_iterable(together)
            for fitted in chain.from_iterable(side_by_side(prepared, train, threads)):
                yield next(positions), fitted
                bar.update()


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

    Each network has the initialisation, the batches, the dropout masks and the number of steps that `fit` gives it,
    and ends in the same weights but for rounding; a network that stops early leaves its stack. Only modules that are
    random by other means than dropout layers (`nn.Dropout`), and dropout on a GPU, draw other numbers, which depend on
    the networks that share a stack; on a GPU, so on the memory that is free there, unless `budget` is given.

    Networks are stacked that take equally many steps an epoch. Short batches are filled up with rows that do not count;
    where rows of a batch influence each other, as in batch norm, they are not, and only batches of one length go
    together. A module that cannot be stacked is trained by `fit`, with a warning.

    Parameters
    ----------
    problem, recipe, device : as of `fit`.
    subsets : task indices of each network.
    seeds : the seed of each network.
    budget : memory in bytes that the stacks which are trained at a time may take, from an estimate: on a CPU one
        stack for each of torch's threads (8 at most), on a GPU one. None takes 256 MiB on a CPU, where more is no
        faster, and half of what is free on a GPU.
    start : a network that all are fine-tuned from, left unchanged; without it each is initialised from its seed.

    Returns
    -------
    One `Fitted` a subset, in their order: `flops` without the filling, `seconds` an equal share of the wall time that
    its stack took.

    Raises
    ------
    InputError : no subset, an unknown task index, seeds of another number, a budget that is not positive, a batch of
        one row for a network with batch norm (see `batch_sizes`), or a loss that turned NaN or infinite.

    Warns
    -----
    NotStackedWarning : the module cannot be stacked; the message says why.
    """
    fitted = dict(fit_each(problem, subsets, recipe, seeds, device, budget, start))
    return [fitted[position] for position in range(len(subsets))]
