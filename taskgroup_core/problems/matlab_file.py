"""MATLAB files of data sets."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from taskgroup_core.errors import DataError

_DAMAGE = (MatReadError, ValueError, TypeError, KeyError, NotImplementedError, OSError, zlib.error)


def load_matlab(path: Path, names: Sequence[str], lacking: str, remedy: str) -> dict[str, Any]:
    """The variables of some names; every way in which the file may be unreadable becomes one DataError.

    Parameters
    ----------
    path : of the file.
    names : of the variables to read.
    lacking, remedy : of the error: what was not found, and what to do about it.

    Raises
    ------
    DataError : a truncated or altered file, or none of MATLAB's.
    """
    try:
        content: dict[str, Any] = loadmat(path, variable_names=list(names))
    except _DAMAGE as error:
        raise DataError(str(path), f"{lacking} ({error})", remedy) from error
    return content
