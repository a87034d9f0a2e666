"""What many checks of arguments ask: is it a number, is it a whole one, are these real numbers in an array."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from taskgroup_core.errors import InputError


def is_number(value: Any) -> bool:
    """Whether a value is one real number of Python or numpy, no truth value; it may be NaN or infinite."""
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def is_whole(value: Any) -> bool:
    """Whether a value is an integer of Python or numpy, no truth value."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def check_whole(argument: str, value: Any, *, most: int | None = None) -> int:
    """Return `value` as an int, after checking that it is an integer of at least 1.

    Raises
    ------
    InputError : another value, or one above `most`.
    """
    if not is_whole(value) or value < 1 or (most is not None and value > most):
        remedy = "Use an integer of at least 1." if most is None else f"Use an integer from 1 to {most}."
        raise InputError(argument, repr(value), remedy)
    return int(value)


def check_positive(argument: str, value: Any, *, most: float | None = None, or_zero: bool = False) -> float:
    """Return `value` as a float, after checking that it is a finite number above 0.

    Raises
    ------
    InputError : another value (0 may be let pass), or one above `most`.
    """
    if not is_number(value) or not 0 <= value < np.inf or (value == 0 and not or_zero) or value > (most or np.inf):
        remedy = f"Use a finite number {'of at least' if or_zero else 'above'} 0"
        raise InputError(argument, repr(value), remedy + ("." if most is None else f", up to {most:g}."))
    return float(value)


def rectangular(values: Any, argument: str) -> NDArray[Any]:
    """Values as an array.

    Raises
    ------
    InputError : rows of different lengths.
    """
    try:
        return np.asarray(values)
    except ValueError as error:
        raise InputError(argument, "rows of different lengths", "Give an array.") from error


def real_array(values: Any, argument: str) -> NDArray[np.float64]:
    """Values as a float64 array, which may hold NaN and infinity.

    Raises
    ------
    InputError : rows of different lengths, or values that are not real numbers.
    """
    array = rectangular(values, argument)
    if array.dtype.kind not in "fiub":
        raise InputError(argument, f"values of type {array.dtype}", "Give real numbers.")
    return array.astype(np.float64)
