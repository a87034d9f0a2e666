"""Numbers that papers published: affinities, scores of pairs and networks, printed tables, solver times."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import xarray as xr

from taskgroup_core.errors import InputError
from taskgroup_core.matrices import make_affinity
from taskgroup_core.problems.registry import embedded, shipped

MATRICES = ("tag_celeba", "tag_taskonomy", "hoa_celeba", "hoa_taskonomy")
TABLES = ("standley_networks", "printed_networks", "printed_totals", "celeba_totals", "solver_seconds")
DATASETS = (
    shipped(
        "published",
        "affinities, pair scores and printed tables of TAG, HOA, Principled and SCA",
        "facts; TAG's notebooks Apache-2.0, HOA's MIT",
        *(f"{name}.csv" for name in (*MATRICES, *TABLES)),
    ),
)


def published_matrix(name: str, folder: str | Path | None = None) -> xr.DataArray:
    """A published square matrix T[target, source], with the numbers as they were published.

    Parameters
    ----------
    name : "tag_celeba" or "tag_taskonomy", TAG's affinities (no unit, higher is better); "hoa_celeba", validation
        accuracies of pairs in percent; "hoa_taskonomy", losses of pairs, where lower is better. On the diagonal of the
        last two a task trains alone.
    folder : where the files are; see `embedded`.

    Returns
    -------
    A matrix with shape (9, 9) for CelebA and (5, 5) for Taskonomy.

    Raises
    ------
    InputError : another name.
    DataError : a file that is missing, or whose SHA-256 is not the recorded one.

    References
    ----------
    TAG, Section 5 and its released notebooks; see data/published/README.md.
    """
    _check(name, MATRICES)
    table = pd.read_csv(embedded("published", folder) / f"{name}.csv", index_col="target")
    return make_affinity(table.to_numpy(), list(table.columns), method=name)


def published_table(name: str, folder: str | Path | None = None) -> pd.DataFrame:
    """A published table, one row for each line of its file.

    Parameters
    ----------
    name : "standley_networks" (losses of all networks of HOA's setting 2: split, cost in networks of full size, five
        tasks), "printed_networks" (error of a task in a network of a printed table), "printed_totals" (the total
        beside them), "celeba_totals" (the total error of TAG's nine attributes by two later papers) or
        "solver_seconds" (Principled's Table 2).
    folder : where the files are; see `embedded`.

    Returns
    -------
    The table; NaN where a value does not exist or cannot be read.

    Raises
    ------
    InputError : another name.
    DataError : a file that is missing, or whose SHA-256 is not the recorded one.

    References
    ----------
    TAG, Tables 4 to 7 and 9 to 11; Principled task grouping, Tables 1 to 3; SCA, Table 2; Standley et al. 2020,
    setting 2.
    """
    _check(name, TABLES)
    return pd.read_csv(embedded("published", folder) / f"{name}.csv")


def _check(name: str, names: tuple[str, ...]) -> None:
    if name not in names:
        raise InputError("name", repr(name), f"Use one of {', '.join(names)}.")
