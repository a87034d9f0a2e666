"""Labelled matrices: the scores f(S, t) of subsets, and the affinity T[target, source]; one check for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from taskgroup_core.checks import real_array
from taskgroup_core.errors import InputError
from taskgroup_core.subsets import Subsets, check_subsets

FloatArray = NDArray[np.float64]
LARGEST_ENTRY = 1e100  # in size: squares of larger ones, summed, come near the end of floats


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
    InputError : wrong shape, not real, or a score inside a subset that is NaN or infinite.
    """
    member = check_subsets(subsets, len(tasks))
    variables = {}
    for metric, value in values.items():
        array = real_array(value, f"values[{metric!r}]")
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
    InputError : not a square matrix of that size, not real, or two tasks of the same name.
    """
    array = real_array(values, "values")
    if len(set(tasks)) < len(tasks):
        raise InputError("tasks", "a name twice", "Give every task a name of its own.")
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
    InputError : not square, not real, empty, NaN, infinite or beyond `LARGEST_ENTRY`, other dims, or names that differ
        between the dims.
    """
    array = real_array(oriented(affinity, argument), argument)
    if array.ndim != 2 or array.shape[0] != array.shape[1] or array.shape[0] == 0:
        raise InputError(argument, f"shape {array.shape}", "Give a square matrix with one row and column per task.")
    if not np.isfinite(array).all():
        target, source = np.argwhere(~np.isfinite(array))[0]
        raise InputError(
            argument,
            f"{array[target, source]} at [target {target}, source {source}]",
            "Measure every pair (for higher-order affinity: sample more subsets).",
        )
    if np.abs(array).max() > LARGEST_ENTRY:
        raise InputError(argument, f"entries of size {np.abs(array).max():.3g}", "Divide all by the largest of them.")
    return array


def oriented(affinity: Any, argument: str) -> Any:
    """A labelled affinity as [target, source]; anything else as it is.

    Raises
    ------
    InputError : other dims, or names that differ between the dims.
    """
    if not isinstance(affinity, xr.DataArray):
        return affinity
    if set(affinity.dims) != {"target", "source"}:
        raise InputError(argument, f"dims {affinity.dims}", 'Use the dims ("target", "source").')
    affinity = upright(affinity)
    if not np.array_equal(affinity["target"].values, affinity["source"].values):
        raise InputError(argument, "different task names on target and source", "Use one order of tasks for both.")
    return affinity


def upright(values: Any) -> Any:
    """Labelled values with target and source last, in this order, if they have these dims; anything else as it is."""
    last = ("target", "source")
    return values.transpose(..., *last, missing_dims="ignore") if isinstance(values, xr.DataArray) else values


def in_order_of(other: Any, values: Any, argument: str) -> Any:
    """Labelled values with the dims and the names in the order of other labelled ones; anything else as it is.

    Raises
    ------
    InputError : other dims, or other names.
    """
    if not isinstance(values, xr.DataArray) or not isinstance(other, xr.DataArray):
        return values
    if set(values.dims) != set(other.dims):
        raise InputError(argument, f"dims {values.dims}", f"Use the dims {other.dims}.")
    values = values.transpose(*other.dims)
    for dim in [dim for dim in other.dims if dim in values.indexes and dim in other.indexes]:
        names, wanted = values.indexes[dim], other.indexes[dim]
        if names.equals(wanted):
            continue
        if not names.is_unique or set(names) != set(wanted):
            raise InputError(argument, f"other names along {dim!r}", f"Use the names {list(wanted)}, in any order.")
        values = values.sel({dim: wanted})
    return values
