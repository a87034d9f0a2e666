"""A run record: the parameters, results and arrays of one run, with where they come from."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from taskgroup_core.errors import InputError

Arrays = dict[str, NDArray[Any]]

# Names become file names: letters that every file system takes, no folder, no hidden file.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
# Half of a letter, which no file of text can hold.
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class RunRecord:
    """What one run was asked, what it answered, and where that answer comes from.

    Parameters
    ----------
    name : for the file names: letters, digits, ".", "_" and "-".
    parameters, results, provenance : JSON values. Numpy numbers become Python's, tuples become lists. JSON has no
        NaN: a NaN (never measured) becomes None, and infinity is refused, because None would hide it. Times and
        memory belong to `provenance`, since results decide the id.
    arrays : arrays of numbers, booleans or text; kept as read-only copies. NaN and infinity are allowed here.

    Raises
    ------
    InputError : a name, key or value that cannot be stored.
    """

    name: str
    parameters: dict[str, Any]
    results: dict[str, Any]
    arrays: Arrays
    provenance: dict[str, Any]

    def __post_init__(self) -> None:
        check_name(self.name, "name")
        for field in ("parameters", "results", "provenance"):
            object.__setattr__(self, field, to_json(getattr(self, field), field))
        object.__setattr__(self, "arrays", check_arrays(self.arrays))

    @property
    def id(self) -> str:
        """The first 12 hex digits of a SHA-256 over name, parameters, results and arrays, but not the provenance.

        So the same run on the same machine has the same id whenever it is run.
        """
        arrays = {
            name: [array.dtype.str, list(array.shape), hashlib.sha256(array.tobytes()).hexdigest()]
            for name, array in self.arrays.items()
        }
        return json_hash([self.name, self.parameters, self.results, arrays])[:12]


def json_hash(value: Any) -> str:
    """The SHA-256 of a JSON value, independent of the order of keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def check_name(name: str, argument: str) -> None:
    """Refuse a name that could not be a file name.

    Raises
    ------
    InputError : empty, or other than letters, digits, ".", "_" and "-", or beginning with "." or "-".
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InputError(argument, repr(name), 'Use letters, digits, ".", "_" and "-", first a letter, digit or "_".')


def to_json(value: Any, argument: str) -> Any:
    """`value` as JSON holds it; see `RunRecord` for NaN.

    Raises
    ------
    InputError : infinity, a surrogate, a key that is no text, or a type that JSON does not have.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        if math.isinf(value):
            raise InputError(argument, repr(value), "Store a finite number, or None where nothing was measured.")
        return None if math.isnan(value) else value
    if isinstance(value, str) and _SURROGATE.search(value):
        raise InputError(argument, repr(value), "Store text without surrogates.")
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str) or _SURROGATE.search(key):
                raise InputError(argument, f"the key {key!r}", "Use text without surrogates as keys.")
        return {key: to_json(entry, f"{argument}[{key!r}]") for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(entry, f"{argument}[{index}]") for index, entry in enumerate(value)]
    raise InputError(argument, f"a {type(value).__name__}", "Store numbers, text, lists and dicts; arrays in `arrays`.")


def check_arrays(arrays: Mapping[str, Any]) -> Arrays:
    """Read-only copies of `arrays`, little-endian and in C order, so that equal arrays have equal bytes.

    Raises
    ------
    InputError : a name that is empty or holds a slash, an array of objects, dates or bytes, or rows of several lengths.
    """
    checked: Arrays = {}
    for name, value in arrays.items():
        if not isinstance(name, str) or not name.isprintable() or not name.strip() or set(name) & set("/\\"):
            raise InputError("arrays", f"the name {name!r}", 'Use text without "/" and "\\".')
        try:
            array = np.array(value, order="C")
        except ValueError as error:  # rows of several lengths
            raise InputError(f"arrays[{name!r}]", str(error).rstrip("."), "Give all rows one length.") from error
        if array.dtype.kind not in "biufcU":
            raise InputError(f"arrays[{name!r}]", f"type {array.dtype}", "Store numbers, booleans or text.")
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        array.setflags(write=False)
        checked[name] = array
    return checked
