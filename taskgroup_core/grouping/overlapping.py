"""What the groupers share whose groups may overlap: the result's attributes, and the checks of their arguments."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, NoReturn, Self

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator

from taskgroup_core.checks import is_number
from taskgroup_core.errors import InputError
from taskgroup_core.grouping.group_selection import InfeasibleError
from taskgroup_core.grouping.grouping import Grouping
from taskgroup_core.matrices import FloatArray, check_affinity


class OverlappingGrouper(BaseEstimator):  # type: ignore[misc]
    """Base of the exact groupers whose groups may overlap, in scikit-learn's conventions.

    Attributes
    ----------
    grouping_ : the `Grouping`; `groups_` and `served_by_` are its two parts.
    labels_ : the group of each task, with shape (n,); None where groups overlap.
    objective_ : what the class maximises (or minimises), in the affinity's unit.
    bound_ : no grouping within the limits is better than this; equal to `objective_` where that is proved best.
    gap_ : |bound_ - objective_| / |objective_|; 0 where proved best.
    status_ : a sentence that says how the result came about and whether to trust it.
    """

    time_limit: float | None

    def fit(self, affinity: xr.DataArray | ArrayLike, y: None = None) -> Self:  # noqa: ARG002
        """Group the tasks of an affinity.

        Parameters
        ----------
        affinity : T[target, source], labelled or a plain array with shape (n, n).
        y : ignored; here because scikit-learn's conventions ask for it.

        Raises
        ------
        InputError : an affinity or a constructor argument that cannot be used.
        InfeasibleError : limits that no grouping meets; `status_` holds the same sentence.
        NoSolutionError : the time limit came before any grouping was found.
        """
        values = check_affinity(affinity)
        limit = self.time_limit
        if limit is not None and (not is_number(limit) or not limit > 0):
            raise InputError("time_limit", repr(limit), "Use a number of seconds above 0, or None.")
        self.grouping_, self.objective_, self.bound_, proved = self._choose(values)
        self.groups_, self.served_by_ = self.grouping_.groups, self.grouping_.served_by
        overlap = sum(map(len, self.groups_)) > len(values)
        self.labels_ = None if overlap else self.grouping_.labels()
        if proved:
            self.bound_, self.gap_ = self.objective_, 0.0
            self.status_ = "Proved: no grouping within the limits is better."
        else:
            self.gap_ = abs(self.bound_ - self.objective_) / max(abs(self.objective_), np.finfo(float).tiny)
            self.status_ = (
                f"Time limit reached: the best grouping found; none is better by more than {100 * self.gap_:.3g} %. "
                "Allow more time to close the gap."
            )
        return self

    def _refuse(self, found: str, remedy: str) -> NoReturn:
        self.status_ = f"Infeasible: {found}. {remedy}"
        raise InfeasibleError("limits", found, remedy)

    @abstractmethod
    def _choose(self, values: FloatArray) -> tuple[Grouping, float, float, bool]:
        """The grouping, its objective, a bound on the best objective, and whether it is proved best."""


def check_word(name: str, value: Any, words: tuple[str, ...]) -> str:
    """Return `value`, after checking that it is one of some words.

    Raises
    ------
    InputError : another value.
    """
    if not isinstance(value, str) or value not in words:
        raise InputError(name, repr(value), f"Use one of {', '.join(words)}.")
    return value


def check_flag(name: str, value: Any) -> bool:
    """Return `value`, after checking that it is True or False.

    Raises
    ------
    InputError : another value.
    """
    if not isinstance(value, (bool, np.bool_)):
        raise InputError(name, repr(value), "Use True or False.")
    return bool(value)


def check_numbers(name: str, value: Any, shape: tuple[int, ...]) -> FloatArray:
    """Return `value` as a finite float64 array that was broadcast to a shape.

    Raises
    ------
    InputError : not real numbers, another shape, NaN or infinity.
    """
    try:
        array = np.broadcast_to(np.asarray(value), shape)
    except ValueError as error:
        raise InputError(name, f"shape {np.shape(value)}", f"Give a number or an array with shape {shape}.") from error
    if array.dtype.kind not in "fiu" or not np.isfinite(array).all():
        raise InputError(name, repr(value), "Give finite real numbers.")
    return array.astype(np.float64)
