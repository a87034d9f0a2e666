"""Which networks to serve: few groups, each task read from the one that is best for it, exactly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from taskgroup_core.checks import check_positive
from taskgroup_core.errors import InputError
from taskgroup_core.grouping.group_payoffs import ServedTasks
from taskgroup_core.grouping.group_search import select
from taskgroup_core.grouping.group_selection import Limits, Selection
from taskgroup_core.grouping.group_values import check_size, network_sets, other_gains
from taskgroup_core.grouping.grouping import Grouping
from taskgroup_core.grouping.overlapping import OverlappingGrouper, check_flag, check_numbers, check_word
from taskgroup_core.matrices import FloatArray, check_affinity, in_order_of, oriented
from taskgroup_core.subsets import membership

SINGLETONS = ("excluded", "diagonal")


class BestServedGrouper(OverlappingGrouper):
    """At most b networks, each task served by the one that suits it best, with the best mean score.

    A network that trains group G scores mean of T[t, s] over the OTHER members s on its member t: the higher-order
    approximation from pairs. Solves: choose groups within the budget so that the mean over tasks of the best score is
    highest. Groups may overlap; one that serves nobody is dropped. A constant added to a row of T leaves the groups,
    and so does a positive scale.

    Parameters
    ----------
    budget : b, in networks of full size; a fraction helps only where a cheaper kind of network is at hand.
    singletons : "excluded" (TAG: a network needs two tasks) or "diagonal" (HOA: a task alone scores T[t, t]).
    minimise : whether T holds losses, lower is better, rather than scores; `objective_` and `bound_` are losses then.
    cheaper : what a cheaper kind of network is worth: its affinity with shape (n, n), or where it holds one task only,
        as HOA's networks of half size do, each task's score with shape (n,); None where there is none. Where T is
        labelled too, names are matched with names.
    cheaper_cost : what one of those takes of the budget; HOA's are half as large.
    time_limit : in seconds, for the whole fit; up to a second more is spent to find a grouping at all.

    Attributes
    ----------
    objective_ : mean over tasks of the score that each is served with, in the affinity's unit.
    scores_ : that score of each task, with shape (n,).
    costs_ : what each group takes of the budget, with shape (k,).
    grouping_, groups_, served_by_, labels_, bound_, gap_, status_ : see `OverlappingGrouper`. Groups are sorted, and
        a task is served by the first of equals.

    Raises
    ------
    InputError : (on fit) arguments that cannot be used, or more than 20 tasks.
    InfeasibleError : (on fit) a budget that leaves a task without a network, or one task with singletons excluded.
    NoSolutionError : (on fit) no grouping was found in time.

    References
    ----------
    TAG, Section 4.2; T. Standley and others, Which tasks should be learned together in multi-task learning?, ICML 2020.

    Deviations
    ----------
    1. TAG's released code lists every choice of networks, HOA's uses branch and bound: here the same optimum, by column
       generation and a small integer programme.
    """

    def __init__(
        self,
        budget: float,
        *,
        singletons: str = "excluded",
        minimise: bool = False,
        cheaper: xr.DataArray | ArrayLike | None = None,
        cheaper_cost: float = 0.5,
        time_limit: float | None = None,
    ) -> None:
        self.budget = budget
        self.singletons = singletons
        self.minimise = minimise
        self.cheaper = cheaper
        self.cheaper_cost = cheaper_cost
        self.time_limit = time_limit

    def fit(self, affinity: xr.DataArray | ArrayLike, y: None = None) -> Self:
        """See `OverlappingGrouper.fit`."""
        tasks = oriented(affinity, "affinity")
        if isinstance(tasks, xr.DataArray) and isinstance(self.cheaper, xr.DataArray) and self.cheaper.ndim == 1:
            tasks = tasks["target"].rename(target=self.cheaper.dims[0])
        self._cheaper = in_order_of(tasks, self.cheaper, "cheaper")
        return super().fit(affinity, y)

    def _choose(self, values: FloatArray) -> tuple[Grouping, float, float, bool]:
        n = len(values)
        check_size(n)
        budget = check_positive("budget", self.budget)
        check_word("singletons", self.singletons, SINGLETONS)
        sign = -1.0 if check_flag("minimise", self.minimise) else 1.0
        kinds, costs, singletons = [sign * values], [1.0], [self.singletons]
        alone = self._cheaper is not None and np.ndim(self._cheaper) == 1
        if self._cheaper is not None:
            kinds.append(sign * _cheaper(self._cheaper, n))
            costs.append(check_positive("cheaper_cost", self.cheaper_cost))
            singletons.append("diagonal" if alone else self.singletons)
        caps = tuple(int(budget * (1 + 1e-9) / cost) for cost in costs)
        if not any(caps):
            self._refuse(f"a budget of {budget:g} where the cheapest network takes {min(costs):g}", "Allow a network.")
        if n == 1 and "diagonal" not in singletons:
            self._refuse("one task and singletons='excluded'", "Use singletons='diagonal'.")
        # Only differences within a row matter: without its level, rows at -100 +- 1 are solved as sharply as at 0 +- 1.
        levels = np.mean([np.median(kind, axis=1) for kind in kinds], axis=0)
        allowed = np.stack([network_sets(n, alone=word == "diagonal") for word in singletons])
        if alone:
            sets = np.arange(1 << n)
            allowed[1:] &= sets & (sets - 1) == 0
        limits = Limits(
            np.zeros((1, len(costs), n)), np.array([costs]), np.array([-np.inf]), np.array([budget * (1 + 1e-9)])
        )
        payoff = ServedTasks(
            np.stack([other_gains(kind - levels[:, None], sets) for kind, sets in zip(kinds, allowed, strict=True)])
        )
        within = allowed & (np.array(caps) > 0)[:, None]
        chosen = select(Selection(payoff, within, limits, caps, distinct=False), self.time_limit)
        if chosen is None:
            self._refuse(
                f"a budget of {budget:g} that leaves a task without a network", "Allow a network of full size."
            )
        networks = sorted((_tasks(mask, n), kind) for mask, kind in chosen.groups)
        scores = np.hstack(
            [member_scores(kinds[kind], [group], singletons=singletons[kind]) for group, kind in networks]
        )
        server = np.nanargmax(scores, axis=1)
        serving, served_by = np.unique(server, return_inverse=True)
        self.scores_ = sign * scores[np.arange(n), server]
        self.costs_ = np.array([costs[networks[place][1]] for place in serving])
        grouping = Grouping(tuple(networks[place][0] for place in serving), tuple(served_by.tolist()))
        bound = sign * float(chosen.bound / n + levels.mean())
        return grouping, float(self.scores_.mean()), bound, chosen.proved


def member_scores(
    affinity: xr.DataArray | ArrayLike, groups: Sequence[Sequence[int]], *, singletons: str = "excluded"
) -> FloatArray:
    """Score of each group onto each of its members, the mean of T over the other members; shape (n, k).

    Parameters
    ----------
    affinity : T[target, source], with shape (n, n).
    groups : task indices of each of k groups.
    singletons : "excluded" or "diagonal", as in `BestServedGrouper`.

    Returns
    -------
    NaN where a task is not a member, and for singletons where these are excluded.

    Raises
    ------
    InputError : an affinity, groups or a word that cannot be used.
    """
    values = check_affinity(affinity)
    check_word("singletons", singletons, SINGLETONS)
    scores = np.full((len(values), len(groups)), np.nan)
    for place, members in enumerate(membership(groups, len(values))):
        group = np.flatnonzero(members)
        if len(group) > 1:
            part = values[np.ix_(group, group)]
            scores[group, place] = (part.sum(axis=1) - np.diag(part)) / (len(group) - 1)
        elif singletons == "diagonal":
            scores[group, place] = values[group, group]
    return scores


def _cheaper(values: Any, n_tasks: int) -> FloatArray:
    """The affinity of a cheaper kind of network; for single tasks with the same score in all of a row."""
    if np.ndim(values) == 1:
        return np.repeat(check_numbers("cheaper", values, (n_tasks,))[:, None], n_tasks, axis=1)
    matrix = check_affinity(values, "cheaper")
    if len(matrix) != n_tasks:
        raise InputError("cheaper", f"shape {matrix.shape}", f"Give shape {(n_tasks, n_tasks)}, as the affinity has.")
    return matrix


def _tasks(mask: int, n_tasks: int) -> tuple[int, ...]:
    return tuple(task for task in range(n_tasks) if mask >> task & 1)
