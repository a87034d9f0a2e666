"""The figures of merit of an affinity estimate, as rows of a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from taskgroup_core.matrices import FloatArray
from taskgroup_core.metrics import (
    partner_spearman,
    relative_distance,
    replicate_ceiling,
    spearman_over_sources,
    spearman_over_targets,
    trivial_predictors,
)


def figures_of_merit(estimate: xr.DataArray, truth: xr.DataArray) -> dict[str, float]:
    """The paper's distance and Spearman (over targets), and ours over sources and over partners."""
    return {
        "distance": relative_distance(estimate, truth),
        "over_targets": spearman_over_targets(estimate, truth),
        "over_sources": spearman_over_sources(estimate, truth),
        "partner": partner_spearman(estimate, truth),
    }


def judge(
    replicates: xr.DataArray, estimates: Mapping[str, xr.DataArray], single_task: FloatArray
) -> tuple[list[dict[str, Any]], float]:
    """Rows for every estimate, for trivial predictors and for one more training, and the replicate ceiling.

    Parameters
    ----------
    replicates : T* of every replicate, dims ("replicate", "target", "source"), R >= 2; the truth is their mean.
    estimates : name -> affinity.
    single_task : f({t}, t) with shape (n,), mean over replicates.

    Returns
    -------
    rows with "estimate", "kind" and the figures of merit. The row "one training" scores each replicate against the mean
    of the others, and averages: what a single full training of every subset would have reached.
    """
    replicates = replicates.transpose("replicate", "target", "source")
    truth = replicates.mean("replicate")
    rows: list[dict[str, Any]] = [
        {"estimate": name, "kind": "estimate", **figures_of_merit(estimate, truth)}
        for name, estimate in estimates.items()
    ]
    for name, predictor in trivial_predictors(truth, single_task).items():
        rows.append({"estimate": name, "kind": "trivial", **figures_of_merit(predictor, truth)})
    singles = [
        figures_of_merit(replicates[r], replicates.drop_isel(replicate=r).mean("replicate"))
        for r in range(len(replicates))
    ]
    rows.append(
        {
            "estimate": "one training",
            "kind": "full training",
            **{key: float(np.mean([single[key] for single in singles])) for key in singles[0]},
        }
    )
    return rows, replicate_ceiling(replicates)
