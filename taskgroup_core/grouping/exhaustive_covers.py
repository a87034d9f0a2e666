"""The best groups of a few tasks where groups may overlap, by looking at every cover: the reference of the others."""

from __future__ import annotations

import numpy as np

from taskgroup_core.errors import InputError
from taskgroup_core.grouping.best_served import SINGLETONS, member_scores
from taskgroup_core.grouping.group_values import (
    divisors,
    group_sums,
    members_of,
    network_sets,
    other_gains,
    row_gains,
)
from taskgroup_core.grouping.grouping import Grouping, average_density, check_n_groups
from taskgroup_core.grouping.overlapping import OverlappingGrouper, check_flag, check_word
from taskgroup_core.grouping.partition_search import best_cover, best_partition, best_servers
from taskgroup_core.matrices import FloatArray

OBJECTIVES = ("every_group", "served_rows", "served_others")
LARGEST = 10


class ExhaustiveCoverGrouper(OverlappingGrouper):
    """The k distinct groups, every task in one at least, with the best objective of all covers.

    No linear programme: a cover that pays every group is found by dynamic programming over sets of tasks that need not
    be covered again, one that pays tasks by the best partition of the tasks into those that share a server. Below a
    second up to n = 10.

    Parameters
    ----------
    n_groups : k, from 1 to n.
    objective : "every_group" is the average density of the groups, a shared task paid in each of them (what
        `ProgrammingGrouper` maximises, divided by k); "served_rows" the mean over tasks of their row's mean over the
        members of their best group (its `overlap="best_served"`, divided by n); "served_others" the mean over tasks of
        the mean of T over the OTHER members of their best group (what `BestServedGrouper` maximises).
    fewer : whether fewer than k groups may be taken for "every_group". Where tasks are paid it makes no difference: a
        further group never costs anything, and groups that serve nobody are dropped.
    singletons : "excluded" or "diagonal", as in `BestServedGrouper`; of "served_others" only.

    Attributes
    ----------
    objective_ : the best mean, in the affinity's unit.
    grouping_, groups_, served_by_, labels_, bound_, gap_, status_ : see `OverlappingGrouper`. Groups are sorted, and a
        task is served by the group where its own row is best, the first of equals.

    Raises
    ------
    InputError : (on fit) arguments that cannot be used, or more than 10 tasks.
    InfeasibleError : (on fit) one task alone with singletons excluded.

    References
    ----------
    GRAD-TAG, Equation (7); Principled task grouping, Equation (6); TAG, Section 4.2.
    """

    time_limit = None

    def __init__(
        self, n_groups: int, *, objective: str = "every_group", fewer: bool = False, singletons: str = "excluded"
    ) -> None:
        self.n_groups = n_groups
        self.objective = objective
        self.fewer = fewer
        self.singletons = singletons

    def _choose(self, values: FloatArray) -> tuple[Grouping, float, float, bool]:
        n = len(values)
        if n > LARGEST:
            found = f"{n} tasks"
            raise InputError("affinity", found, f"Use at most {LARGEST}, or ProgrammingGrouper or BestServedGrouper.")
        k = check_n_groups(self.n_groups, n)
        check_word("objective", self.objective, OBJECTIVES)
        check_word("singletons", self.singletons, SINGLETONS)
        fewest = 1 if check_flag("fewer", self.fewer) else k
        if self.objective == "every_group":
            density = group_sums(values) / divisors(n, "size")
            covers = [best_cover(density, j) for j in range(fewest, k + 1)]
            masks = max(covers, key=lambda cover: density[cover].mean())
        else:
            masks = self._served(values, k)
        groups = sorted(tuple(np.flatnonzero(row).tolist()) for row in members_of(np.array(masks), n))
        if self.objective == "served_others":
            scores = member_scores(values, groups, singletons=self.singletons)
        else:
            scores = np.full((n, len(groups)), np.nan)
            for place, group in enumerate(groups):
                scores[group, place] = values[np.ix_(group, group)].mean(axis=1)
        grouping = Grouping(tuple(groups), tuple(np.nanargmax(scores, axis=1).tolist()))
        pays_groups = self.objective == "every_group"
        best = average_density(values, groups) if pays_groups else float(np.nanmax(scores, axis=1).mean())
        return grouping, best, best, True

    def _served(self, values: FloatArray, most: int) -> list[int]:
        """The groups that serve the tasks best, `most` of them at most."""
        n = len(values)
        if self.objective == "served_others":
            allowed = network_sets(n, alone=self.singletons == "diagonal")
            if not allowed.any():
                self._refuse("one task and singletons='excluded'", "Use singletons='diagonal'.")
            gains = other_gains(values, allowed)
        else:
            allowed = network_sets(n, alone=True)
            gains = row_gains(values, "size")
        earned, server = best_servers(gains, allowed)
        partitions = [best_partition(earned, j) for j in range(1, most + 1)]
        best = max(partitions, key=lambda parts: earned[parts].sum())
        return sorted({int(server[part]) for part in best})
