"""Functions of yeast genes: fourteen overlapping binary tasks that come with the project."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from taskgroup_core.errors import InputError
from taskgroup_core.problems.problem import Problem
from taskgroup_core.problems.registry import embedded, shipped
from taskgroup_core.problems.tables import table_problem
from taskgroup_core.tasks import Task

DATASETS = (
    shipped(
        "yeast",
        "fourteen functions of 2,417 yeast genes from 103 measurements",
        "BSD-3-Clause, of the package that distributes it",
        "yeast.parquet",
    ),
)


def yeast_problem(labels: Sequence[str] | None = None, *, folder: str | Path | None = None, **options: Any) -> Problem:
    """Functions of 2,417 yeast genes from 103 measurements: up to 14 binary tasks; see data/yeast/README.md.

    Parameters
    ----------
    labels : names among "Class1" to "Class14"; None for all.
    folder : where the frozen file is; see `embedded`.
    options : of `table_problem`: width, shares, seed.

    Raises
    ------
    InputError : an unknown label, or see `table_problem`.
    DataError : see `embedded`.

    References
    ----------
    Elisseeff and Weston, A kernel method for multi-labelled classification, NeurIPS 2001.
    """
    table = pd.read_parquet(embedded("yeast", folder) / "yeast.parquet")
    known = [name for name in table.columns if name.startswith("Class")]
    chosen = known if labels is None else list(labels)
    if not set(chosen) <= set(known):
        raise InputError("labels", str(sorted(set(chosen) - set(known))), f"Use some of {', '.join(known)}.")
    features = table.drop(columns=known).to_numpy()
    return table_problem("yeast", features, table[chosen].to_numpy(dtype=float), [Task(c) for c in chosen], **options)
