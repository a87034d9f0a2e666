"""The printed tables of TAG and Principled task grouping, read again: their groups, and the sums of their errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
import pandas as pd
import xarray as xr

from taskgroup_core.errors import InputError
from taskgroup_core.grouping.best_served import member_scores
from taskgroup_core.problems.published import published_table

UNITS = {"TAG 9": 1e-4, "TAG 10": 1e-4, "TAG 11": 1e-4, "Principled 1": 1e-3}  # of the last digit; else 1e-2


def printed_groups(table: str, method: str, tasks: Sequence[str]) -> list[tuple[int, ...]]:
    """The networks of one row of a printed table, each as the places of its tasks in `tasks`, in printed order.

    Raises
    ------
    InputError : no such row.
    """
    order = {task: place for place, task in enumerate(tasks)}
    rows = _row(table, method)
    return [tuple(sorted(order[task] for task in one["task"])) for _, one in rows.groupby("network")]


def summed_errors(estimates: Mapping[tuple[str, str], xr.DataArray]) -> pd.DataFrame:
    """What the errors of each printed row add up to, under three readings of a task that is in several networks.

    Parameters
    ----------
    estimates : for some rows (table, method), the affinity by which the method decides which network serves a task.

    Returns
    -------
    Index "table" and "method", for the rows whose errors can all be read; columns "printed" (the total), "lowest" (each
    task's lowest error), "as served" (each task in the network that suits it best by `estimates`; NaN without one),
    "nearest" (of all sums the one nearest to the printed total), "unit" (of the last printed digit) and "slack" (how
    far rounding alone can carry a sum from its total).

    References
    ----------
    TAG, Tables 4 to 7 and 9 to 11; Principled task grouping, Table 1.
    """
    found = {}
    for table, method, printed in published_table("printed_totals").itertuples(index=False, name=None):
        rows = _row(table, method)
        if rows["error"].isna().any():
            continue
        errors = [one["error"].tolist() for _, one in rows.groupby("task")]
        sums = np.array([sum(some) for some in product(*errors)])
        served = _as_served(rows, estimates[table, method]) if (table, method) in estimates else np.nan
        unit = UNITS.get(table, 1e-2)
        found[table, method] = {
            "printed": printed,
            "lowest": sums.min(),
            "as served": served,
            "nearest": sums[np.abs(sums - printed).argmin()],
            "unit": unit,
            "slack": unit * (len(errors) + 1) / 2 * (1 + 1e-6),
        }
    return pd.DataFrame(found).T.rename_axis(["table", "method"])


def _row(table: str, method: str) -> pd.DataFrame:
    networks = published_table("printed_networks")
    rows = networks[(networks["table"] == table) & (networks["method"] == method)]
    if rows.empty:
        raise InputError("table, method", f"{table!r}, {method!r}", "Use a row of published_table('printed_totals').")
    return rows


def _as_served(rows: pd.DataFrame, estimate: xr.DataArray) -> float:
    wide = rows.pivot(index="task", columns="network", values="error").loc[estimate["target"].values]
    groups = [np.flatnonzero(wide[network].notna()).tolist() for network in wide]
    server = np.nanargmax(member_scores(estimate, groups), axis=1)
    return float(wide.to_numpy()[np.arange(len(wide)), server].sum())
