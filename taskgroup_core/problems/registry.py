"""Where data files are: those that come with the project, and those that a reader downloads or already has."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from taskgroup_core.errors import DataError, InputError
from taskgroup_core.problems.checksums import read_checksums

FOLDER_VARIABLE = "TASKGROUP_DATA"
SUMS = "SHA256SUMS"
MOST_HASHED = 1 << 26  # bytes of a file whose SHA-256 is compared each time it is read: a third of a second
_BESIDE = Path(__file__).resolve().parents[2] / "data"


@dataclass(frozen=True)
class DataFile:
    """One file of a data set as its publisher offers it.

    Parameters
    ----------
    name : path within the data set's folder, such as "com-amazon.ungraph.txt.gz".
    address : where it can be downloaded, or None where that may not or cannot be done automatically.
    sha256 : checksum of the official file, or None where the project has never seen it (said so, never guessed).
    size : bytes, or None where unknown.
    archived : whether the address is that of a zip archive, of which this file is the member with its name, in whatever
        folder; checksum and size are the member's.
    """

    name: str
    address: str | None = None
    sha256: str | None = None
    size: int | None = None
    archived: bool = False


@dataclass(frozen=True)
class DataSet:
    """A data set; see `shipped` for those that come with the project.

    Parameters
    ----------
    name : its folder below the data folder, such as "snap".
    title : what it is, in a few words.
    licence : the licence, or its terms of use in a few words.
    files : the files a loader asks for.
    how : a sentence that says how to get what is not downloaded automatically; empty where everything is.
    """

    name: str
    title: str
    licence: str
    files: tuple[DataFile, ...]
    how: str = ""

    def file(self, name: str) -> DataFile:
        """The entry of a file.

        Raises
        ------
        InputError : no file of that name.
        """
        for one in self.files:
            if one.name == name:
                return one
        raise InputError("name", repr(name), f"Use one of {', '.join(one.name for one in self.files)}.")


def shipped(name: str, title: str, licence: str, *files: str) -> DataSet:
    """The entry of a data set that comes with the project: its checksums are in its folder."""
    how = "It comes with the project: clone the repository with its data folder."
    return DataSet(name, title, licence, tuple(DataFile(file) for file in files), how)


def data_folder() -> Path:
    """Where data sets lie that do not come with the project: $TASKGROUP_DATA, else ~/.cache/taskgroup."""
    chosen = os.environ.get(FOLDER_VARIABLE)
    return Path(chosen) if chosen else Path.home() / ".cache" / "taskgroup"


def locate(dataset: DataSet, name: str, folder: str | Path | None = None) -> Path:
    """The path of a file that a loader is about to read.

    Parameters
    ----------
    dataset, name : which file.
    folder : where the data set's files are, if not in its own folder below `data_folder()`.

    Raises
    ------
    DataError : the file is not there; the message says how to get it. In the data set's own folder also one of another
        size than the official file, or, up to `MOST_HASHED` bytes, of another SHA-256.
    """
    path = (Path(folder) if folder is not None else data_folder() / dataset.name) / name
    if not path.is_file():
        fetch = f"Run: taskgroup data fetch {dataset.name}" + (f" {name}" if len(dataset.files) > 1 else "")
        raise DataError(str(path), "no such file", fetch if dataset.file(name).address else dataset.how)
    if folder is None:
        now = path.stat()
        wrong = _remembered(path, now.st_size, now.st_mtime_ns, dataset.file(name))
        if wrong:
            remedy = "Remove it and get it again; to read a file of your own, give the loader its place."
            raise DataError(str(path), f"not the official file: {wrong}", remedy)
    return path


@cache
def _remembered(path: Path, size: int, _changed: int, file: DataFile) -> str:
    """See `difference`; a file that has not changed since is not read again."""
    return difference(path, file.size, file.sha256 if size <= MOST_HASHED else None)


def difference(path: Path, size: int | None, sha256: str | None, what: str = "the official one") -> str:
    """In words how a file differs from what is known of it; empty where it does not.

    Parameters
    ----------
    path : of a file that is there.
    size, sha256 : bytes and checksum that it must have; None where unknown.
    what : the file with this checksum.
    """
    found = path.stat().st_size
    if size is not None and found != size:
        return f"{found:,} bytes in place of {size:,}"
    return f"its SHA-256 is not {what}" if sha256 is not None and file_sha256(path) != sha256 else ""


def file_sha256(path: Path) -> str:
    """SHA-256 of a file in hexadecimal, read piece by piece."""
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def embedded_folder(name: str) -> Path:
    """Where a data set that comes with the project is: $TASKGROUP_DATA/NAME where that is a folder, else data/NAME."""
    chosen = data_folder() / name
    return chosen if chosen.is_dir() else _BESIDE / name


def is_embedded(name: str) -> bool:
    """Whether a data set comes with the project: its folder beside the package has checksums."""
    return (_BESIDE / name / SUMS).is_file()


def embedded(name: str, folder: str | Path | None = None) -> Path:
    """The folder of a data set that comes with the project, after its files' checksums were compared.

    Parameters
    ----------
    name : of the folder, such as "debian".
    folder : another place that holds the same files, in place of `embedded_folder`.

    Raises
    ------
    DataError : a file that is missing, or whose SHA-256 is not the one in SHA256SUMS; a list of checksums that is
        missing or malformed, or lacks a file of the kind that it names others of.
    """
    place = embedded_folder(name) if folder is None else Path(folder)
    sums = place / SUMS
    if not sums.is_file():
        remedy = f"Clone the project with its data folder, or set {FOLDER_VARIABLE} to a folder that holds {name}/."
        raise DataError(str(sums), "no such file", remedy)
    remedy = "Restore it from version control"
    remedy += (
        f", or rebuild the folder with data/{name}/derive.py." if (_BESIDE / name / "derive.py").is_file() else "."
    )
    known = read_checksums(sums, remedy)
    kinds = {Path(file).suffix for file in known}
    unknown = sorted(path.name for path in place.iterdir() if path.suffix in kinds and path.name not in known)
    if unknown:
        raise DataError(str(sums), f"no checksum of {unknown[0]}", remedy)
    for file, expected in known.items():
        path = place / file
        if not path.is_file():
            raise DataError(str(path), "no such file", remedy)
        if file_sha256(path) != expected:
            raise DataError(str(path), "another SHA-256 than in SHA256SUMS: truncated or altered", remedy)
    return place
