"""Long runs in slices: what is finished stays finished, whatever ends the process."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from taskgroup_core.errors import DataError, InputError
from taskgroup_core.runs.record import Arrays, check_arrays, check_name
from taskgroup_core.runs.store import pack_arrays, unpack_arrays, write_atomically

_MANIFEST = "checkpoint.json"
# The entry of a slice's archive with the key of the run that made it: no array of a slice can have such a name.
_KEY = "/key"


class OutOfTime(Exception):
    """A run that stopped between two slices because its minutes were used up: start it again and it goes on."""


class Deadline:
    """The minutes a run may take in this process, counted from now.

    Parameters
    ----------
    minutes : infinity never ends; with 0 no slice is computed.

    Raises
    ------
    InputError : negative or NaN.
    """

    def __init__(self, minutes: float = math.inf) -> None:
        if not minutes >= 0:
            raise InputError("minutes", str(minutes), "Give zero or more minutes.")
        self.minutes = minutes
        self._end = time.monotonic() + 60 * minutes

    def check(self) -> None:
        """Call between slices.

        Raises
        ------
        OutOfTime : the minutes are used up.
        """
        if time.monotonic() >= self._end:
            raise OutOfTime(f"the {self.minutes:g} minutes of this process are used up")


class Checkpoint:
    """The finished slices of one run: one file each in a folder that belongs to this run alone.

    Each slice holds the key of the run that made it. So where a run takes over the folder of another that has not
    ended yet (`restart`), neither ever reads what the other goes on storing.

    Parameters
    ----------
    folder : made where it is not there.
    key : what the slices depend on, as a hash of code, data and parameters.
    restart : drop the slices that are there, whatever their key.

    Raises
    ------
    InputError : the folder holds the slices of a run with another key, or other files.
    DataError : the folder's own description cannot be read.
    """

    def __init__(self, folder: Path | str, key: str, restart: bool = False) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._manifest = self.folder / _MANIFEST
        if not self._manifest.exists() and any(self.folder.glob("[!.]*")):
            raise InputError(str(self.folder), "files, but no checkpoint", "Choose an empty folder, or a new one.")
        if restart:
            self.remove_slices()
        if self._manifest.exists():
            found, self._sessions = self._read()
            if found != key:
                raise InputError(
                    str(self.folder),
                    "slices of a run with other code, data or parameters",
                    "Use --restart to drop them and begin again, or go back to what they were computed with.",
                )
        else:
            self._sessions = []
        self._key = key
        self._write()

    @property
    def names(self) -> list[str]:
        """The names of the finished slices."""
        return sorted(path.stem for path in self.folder.glob("[!.]*.npz"))

    @property
    def sessions(self) -> list[dict[str, Any]]:
        """What `add_session` was told, process after process."""
        return list(self._sessions)

    def get(self, name: str) -> Arrays | None:
        """The arrays of a finished slice, None where it is not finished, or by a run with another key.

        Raises
        ------
        DataError : a damaged file, or a folder in its place.
        """
        path = self._path(name)
        remedy = "Delete it: the slice is then computed again."
        try:
            arrays = unpack_arrays(path.read_bytes(), path)
        except FileNotFoundError:
            return None
        except DataError as error:
            raise DataError(str(path), error.found, remedy) from error
        except OSError as error:
            raise DataError(str(path), error.strerror or "no readable file", remedy) from error
        return check_arrays(arrays) if str(arrays.pop(_KEY, None)) == self._key else None

    def put(self, name: str, /, **arrays: ArrayLike) -> None:
        """Store a finished slice, whole or not at all.

        Raises
        ------
        InputError : a name or an array that cannot be stored.
        """
        write_atomically(self._path(name), pack_arrays({**check_arrays(arrays), _KEY: np.array(self._key)}))

    def add_session(self, **facts: Any) -> None:
        """Note what one process spent on the run (seconds, device, ...), so that the total outlives it."""
        self._sessions.append(facts)
        self._write()

    def remove_slices(self) -> None:
        """Delete the slices and the folder's description, nothing else."""
        for path in self.folder.glob("[!.]*.npz"):
            path.unlink(missing_ok=True)
        self._manifest.unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        check_name(name, "name")
        return self.folder / f"{name}.npz"

    def _read(self) -> tuple[str, list[dict[str, Any]]]:
        try:
            manifest = json.loads(self._manifest.read_text(encoding="utf-8"))
            return manifest["key"], [dict(session) for session in manifest["sessions"]]
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            found = f"no readable description of a checkpoint ({error})"
            raise DataError(str(self._manifest), found, "Use --restart to begin again.") from error

    def _write(self) -> None:
        write_atomically(self._manifest, json.dumps({"key": self._key, "sessions": self._sessions}).encode())


def cached(
    checkpoint: Checkpoint | None, name: str, compute: Callable[[], Arrays], deadline: Deadline | None = None
) -> Arrays:
    """The arrays of one slice: read where it is finished, computed and stored where not.

    Computed and stored arrays are the same bit for bit, so that a resumed run gives what an uninterrupted one does.

    Parameters
    ----------
    checkpoint : None computes without storing.
    name : the slice's name, unique within the run.
    compute : gives the slice's arrays; must not depend on whether other slices were computed in this process.
    deadline : looked at before computing, never before reading.

    Raises
    ------
    OutOfTime : the slice is not finished and the deadline has passed.
    """
    finished = checkpoint.get(name) if checkpoint else None
    if finished is not None:
        return finished
    if deadline:
        deadline.check()
    arrays = check_arrays(compute())
    if checkpoint:
        checkpoint.put(name, **arrays)
    return arrays
