"""Labelled matrices: the scores f(S, t) of subsets, and the affinity T[target, source]; one check for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from taskgroup_core.errors import InputError
from taskgroup_core.subsets import Subsets, check_subsets

FloatArray = NDArray[np.float64]


def make_scores(values: Mapping[str, ArrayLike], subsets: Subsets, tasks: Sequence[str], **attrs: Any) -> xr.Dataset:
    """Scores f(S, t): one variable per metric, each with dims ("subset", "task"), higher is better, NaN outside S.

    Parameters
    ----------
    values : metric name -> matrix with shape (m, n); entries outside the subset are ignored.
    subsets : membership matrix with shape (m, n), kept as the coordinate "member".
    tasks : the n task names.
    attrs : what produced the scores (method, seed, ...).

    Raises
    ------
    InputError : wrong shape, or a score inside a subset that is NaN or infinite.
    """
    member = check_subsets(subsets, len(tasks))
    variables = {}
    for metric, value in values.items():
        array = np.asarray(value, dtype=np.float64)
        if array.shape != member.shape:
            raise InputError(f"values[{metric!r}]", f"shape {array.shape}", f"Give shape {member.shape}.")
        if not np.isfinite(array[member]).all():
            raise InputError(f"values[{metric!r}]", "NaN or infinity inside a subset", "Score every member task.")
        variables[metric] = (("subset", "task"), np.where(member, array, np.nan))
    return xr.Dataset(variables, coords={"task": list(tasks), "member": (("subset", "task"), member)}, attrs=attrs)


def make_affinity(values: ArrayLike, tasks: Sequence[str], **attrs: Any) -> xr.DataArray:
    """Affinity T with dims ("target", "source"): T[target, source] says how good source is for target.

    Parameters
    ----------
    values : matrix with shape (n, n); NaN where a pair was never measured.
    tasks : the n task names.
    attrs : method, metric, seeds.

    Raises
    ------
    InputError : not a square matrix of that size.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.shape != (len(tasks), len(tasks)):
        raise InputError("values", f"shape {array.shape}", f"Give shape ({len(tasks)}, {len(tasks)}).")
    names = list(tasks)
    return xr.DataArray(array, dims=("target", "source"), coords={"target": names, "source": names}, attrs=attrs)


def check_affinity(affinity: xr.DataArray | ArrayLike, argument: str = "affinity") -> FloatArray:
    """The values of an affinity, orientation [target, source], as a finite float64 matrix with shape (n, n).

    Parameters
    ----------
    affinity : labelled (dims "target" and "source" in either order) or a plain array.

    Raises
    ------
    InputError : not square, not real, empty, NaN or infinite, other dims, or names that differ between the dims.
    """
    if isinstance(affinity, xr.DataArray):
        if set(affinity.dims) != {"target", "source"}:
            raise InputError(argument, f"dims {affinity.dims}", 'Use the dims ("target", "source").')
        affinity = affinity.transpose("target", "source")
        if not np.array_equal(affinity["target"].values, affinity["source"].values):
            raise InputError(argument, "different task names on target and source", "Use one order of tasks for both.")
        array = affinity.values
    else:
        array = np.asarray(affinity)
    if array.ndim != 2 or array.shape[0] != array.shape[1] or array.shape[0] == 0:
        raise InputError(argument, f"shape {array.shape}", "Give a square matrix with one row and column per task.")
    if array.dtype.kind not in "fiub":
        raise InputError(argument, f"values of type {array.dtype}", "Give real numbers.")
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        target, source = np.argwhere(~np.isfinite(array))[0]
        raise InputError(
            argument,
            f"{array[target, source]} at [target {target}, source {source}]",
            "Measure every pair (for higher-order affinity: sample more subsets).",
        )
    return array
