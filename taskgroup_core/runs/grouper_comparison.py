"""All groupers on the same affinity: objectives, gaps and agreement; and f of groups, read from a table."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from taskgroup_core.errors import InputError
from taskgroup_core.grouping.agreement import omega_index
from taskgroup_core.grouping.best_served import BestServedGrouper, member_scores
from taskgroup_core.grouping.exhaustive import LARGEST as MOST_FOR_PARTITIONS
from taskgroup_core.grouping.exhaustive import ExhaustiveGrouper
from taskgroup_core.grouping.exhaustive_covers import LARGEST as MOST_FOR_COVERS
from taskgroup_core.grouping.exhaustive_covers import ExhaustiveCoverGrouper
from taskgroup_core.grouping.gat_mixture import GATMixtureGrouper
from taskgroup_core.grouping.group_values import LARGEST as MOST_TO_SERVE
from taskgroup_core.grouping.grouping import Grouping, average_density
from taskgroup_core.grouping.lloyd import LloydGrouper
from taskgroup_core.grouping.partition_search import best_partition, best_servers
from taskgroup_core.grouping.programming import ProgrammingGrouper
from taskgroup_core.grouping.random import RandomGrouper
from taskgroup_core.grouping.sdp import SDPGrouper
from taskgroup_core.grouping.spectral import SpectralGrouper
from taskgroup_core.matrices import FloatArray, check_affinity
from taskgroup_core.seeds import derive
from taskgroup_core.subsets import Subsets, check_subsets, membership

RANDOM = "random"


def all_groupers(n_tasks: int, n_groups: int, *, draws: int = 20, restarts: int = 10, seed: int = 0) -> dict[str, Any]:
    """Every grouper that reads an affinity, by name, with its defaults; the exhaustive ones where n allows.

    Parameters
    ----------
    n_tasks, n_groups : n and k; k is the budget of networks of the best-served groupers.
    draws : how many random partitions: "random 0", "random 1", ...
    restarts : of SCA's grouper.
    seed : of all that draw at random.
    """
    groupers: dict[str, Any] = {
        "SDP": SDPGrouper(n_groups, solver="ADMM", rounding="local_search"),
        "spectral": SpectralGrouper(n_groups, shift="always", random_state=seed),
        "Lloyd": LloydGrouper(n_groups, random_state=seed),
        "SCA": GATMixtureGrouper(n_groups, restarts=restarts, random_state=seed),
        "SCA, no loops": GATMixtureGrouper(n_groups, restarts=restarts, self_loops=False, random_state=seed),
        "programming": ProgrammingGrouper(n_groups),
    }
    if n_tasks <= MOST_TO_SERVE:
        groupers["best served"] = BestServedGrouper(n_groups)
    if n_tasks <= MOST_FOR_PARTITIONS:
        groupers["exhaustive, partitions"] = ExhaustiveGrouper(n_groups)
    if n_tasks <= MOST_FOR_COVERS:
        groupers["exhaustive, covers"] = ExhaustiveCoverGrouper(n_groups)
    for draw in range(draws):
        groupers[f"{RANDOM} {draw}"] = RandomGrouper(n_groups, random_state=derive(seed, "random groups", draw))
    return groupers


def compare_groupers(
    affinity: xr.DataArray | FloatArray, groupers: Mapping[str, Any]
) -> tuple[pd.DataFrame, dict[str, Grouping]]:
    """Fit every grouper to one affinity.

    Parameters
    ----------
    affinity : T[target, source].
    groupers : name -> grouper with `fit` and `grouping_`.

    Returns
    -------
    A row for each grouper: "density" of its groups (mean over groups, in the affinity's unit), "served" (mean over
    tasks of the mean of T over the other members of their serving group; T[t, t] for a task alone), "groups",
    "memberships" of a task, the proved "gap" (NaN where the grouper proves nothing) and CPU "seconds". And the
    groupings.
    """
    values, rows, groupings = check_affinity(affinity), [], {}
    for name, grouper in groupers.items():
        started = time.process_time()
        grouper.fit(affinity)
        seconds = time.process_time() - started
        grouping = groupings[name] = grouper.grouping_
        served = member_scores(values, grouping.groups, singletons="diagonal")
        n = len(values)
        rows.append(
            {
                "grouper": name,
                "density": average_density(values, grouping.groups),
                "served": float(served[np.arange(n), list(grouping.served_by)].mean()),
                "groups": len(grouping.groups),
                "memberships": sum(map(len, grouping.groups)) / n,
                "gap": getattr(grouper, "certified_gap_", getattr(grouper, "gap_", np.nan)),
                "seconds": seconds,
            }
        )
    return pd.DataFrame(rows).set_index("grouper"), groupings


def agreement(groupings: Mapping[str, Grouping]) -> pd.DataFrame:
    """The Omega index of every two groupings: the adjusted Rand index where neither overlaps."""
    names = list(groupings)
    values = [[omega_index(groupings[one], groupings[two]) for two in names] for one in names]
    return pd.DataFrame(values, index=names, columns=names)


class ScoreTable:
    """f(S, t) read from a table of all subsets: a `MultitaskAlgorithm` that trains nothing.

    Parameters
    ----------
    table : one metric of `scores(all_subsets(n))`, dims ("subset", "task"), mean over replicates.

    Raises
    ------
    InputError : a table that lacks a subset.
    """

    flops = 0

    def __init__(self, table: xr.DataArray) -> None:
        member = check_subsets(table["member"].values, table.sizes["task"])
        self.table, self._bits = table, 1 << np.arange(member.shape[1])
        self._row = np.full(1 << member.shape[1], -1)
        self._row[member @ self._bits] = np.arange(len(member))
        if (self._row[1:] < 0).any():
            raise InputError("table", f"{len(member)} subsets", "Score all the subsets of `all_subsets(n)`.")

    @property
    def task_names(self) -> Sequence[str]:
        """The n task names."""
        names: list[str] = self.table["task"].values.tolist()
        return names

    def scores(self, subsets: Subsets) -> xr.Dataset:
        """Scores of `subsets`, under the table's name; see `MultitaskAlgorithm`."""
        member = check_subsets(subsets, len(self._bits))
        return self.table[{"subset": self._row[member @ self._bits]}].to_dataset(name=self.table.name)

    def of_grouping(self, grouping: Grouping) -> float:
        """The mean over tasks of f(the group that serves it, task)."""
        rows = self._row[membership(grouping.groups, len(self._bits)) @ self._bits]
        return float(self.table.values[rows[list(grouping.served_by)], np.arange(len(self._bits))].mean())

    def best_cover(self, n_groups: int) -> Grouping:
        """The k networks at most, which may overlap, that serve the tasks best: the optimum over all covers."""
        n = len(self._bits)
        gains = np.zeros((n, 1 << n))
        gains[:, 1:] = np.nan_to_num(self.table.values[self._row[1:]].T)
        earned, server = best_servers(gains, np.arange(1 << n) > 0)
        parts = max((best_partition(earned, k) for k in range(1, n_groups + 1)), key=lambda one: earned[one].sum())
        masks = sorted({int(server[part]) for part in parts})
        served = [next(masks.index(int(server[part])) for part in parts if part >> task & 1) for task in range(n)]
        groups = tuple(tuple(task for task in range(n) if mask >> task & 1) for mask in masks)
        return Grouping(groups, tuple(served))
