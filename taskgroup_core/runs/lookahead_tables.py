"""What the study of TAG's affinity shows, as tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from taskgroup_core.affinity.collected import WINDOWS
from taskgroup_core.errors import InputError
from taskgroup_core.matrices import make_affinity
from taskgroup_core.metrics import partner_spearman
from taskgroup_core.runs.judgement import judge
from taskgroup_core.runs.record import RunRecord


def interval_table(record: RunRecord, intervals: Sequence[int]) -> pd.DataFrame:
    """Table 2's rows: what a collection at intervals or in a quarter costs, and how well it agrees with every step's.

    Parameters
    ----------
    record : from `lookahead_study`.
    intervals : steps between two collections, 1 or more; those longer than the training are left out.

    Returns
    -------
    A row each, with "collections"; "cost", operations as a multiple of plain training; "speed-up", the cost of every
    step over it; "pearson", over ordered pairs, and "partners", `partner_spearman`, both against every step's.
    """
    trace = record.arrays["trace.gradient"]
    steps, flops = len(trace), record.results["flops"]
    parts = {f"every {k}": np.arange(0, steps, k) for k in intervals if k <= steps}
    parts |= {
        f"{name} quarter": np.arange(int(np.ceil(low * steps)), int(np.ceil(high * steps)))
        for name, (low, high) in WINDOWS.items()
        if name != "all"
    }
    whole, outside = np.nanmean(trace, axis=0), ~np.eye(trace.shape[1], dtype=bool)
    rows = {}
    for name, chosen in parts.items():
        if np.isnan(trace[chosen]).all(axis=0).any():
            continue
        part = np.nanmean(trace[chosen], axis=0)
        cost = 1 + flops["gradient"] * len(chosen) / steps / flops["training"]
        agreement = np.corrcoef(part[outside], whole[outside])[0, 1], partner_spearman(part, whole)
        rows[name] = (len(chosen), cost, (1 + flops["gradient"] / flops["training"]) / cost, *agreement)
    columns = ["collections", "cost", "speed-up", "pearson", "partners"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)


def mean_affinity(record: RunRecord, name: str) -> xr.DataArray:
    """The mean over the steps of one of the record's traces.

    Parameters
    ----------
    record : from `lookahead_study`.
    name : of one of its `collectors`.

    Raises
    ------
    InputError : no trace of that name.
    """
    trace = record.arrays.get(f"trace.{name}")
    if trace is None:
        known = [key.removeprefix("trace.") for key in record.arrays if key.startswith("trace.")]
        raise InputError("name", repr(name), f"Use one of {', '.join(known)}.")
    return make_affinity(np.nanmean(trace, axis=0), record.results["tasks"], method=name)


def partner_table(record: RunRecord, metric: str) -> tuple[list[dict[str, Any]], float]:
    """How well every collection ranks the partners of T*, beside trivial predictors and full training: see `judge`.

    Parameters
    ----------
    record : from `lookahead_study`.
    metric : "score" or "negative_loss" of the validation examples.
    """
    replicates = record.arrays[f"truth.{metric}"]
    tasks = record.results["tasks"]
    coordinates = {"replicate": range(len(replicates)), "target": tasks, "source": tasks}
    truth = xr.DataArray(replicates, dims=("replicate", "target", "source"), coords=coordinates)
    names = [key.removeprefix("trace.") for key in record.arrays if key.startswith("trace.")]
    single = replicates.mean(axis=0).diagonal()
    return judge(truth, {name: mean_affinity(record, name) for name in names}, single)
