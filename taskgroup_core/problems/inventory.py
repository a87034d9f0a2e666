"""Which files of a data set are here, and whether they are what their publisher offers."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from taskgroup_core.errors import DataError
from taskgroup_core.problems.checksums import read_checksums
from taskgroup_core.problems.registry import (
    SUMS,
    DataFile,
    DataSet,
    data_folder,
    difference,
    embedded_folder,
    is_embedded,
)

State = Literal["right", "missing", "altered", "unchecked"]


def dataset_folder(dataset: DataSet) -> Path:
    """Where the files of a data set are, or would be."""
    return embedded_folder(dataset.name) if is_embedded(dataset.name) else data_folder() / dataset.name


def record_path(path: Path) -> Path:
    """Where the checksum of a file is kept that was seen at its first download, when none was known before."""
    return path.with_name(f"{path.name}.sha256")


def check_file(file: DataFile, path: Path) -> tuple[State, str]:
    """The state of one file, and in words what is wrong with it.

    Parameters
    ----------
    file : the entry; without a checksum of its own, that of the file's first download counts.
    path : the file.

    Returns
    -------
    "right" (size and SHA-256 are the known ones), "missing", "altered" (the words say how) or "unchecked" (there is
    nothing to compare it with).
    """
    if not path.is_file():
        return "missing", ""
    expected, what = file.sha256, "the official one"
    if expected is None:
        expected, what = _recorded(path), "that of its first download"
    wrong = difference(path, file.size, expected, what)
    if not wrong and expected is None:
        return "unchecked", "no checksum is known"
    return ("altered", wrong) if wrong else ("right", "")


def _recorded(path: Path) -> str | None:
    try:
        return read_checksums(record_path(path), "").get(path.name)
    except DataError:
        return None  # never written, or cut: it counts as never written


def check_dataset(dataset: DataSet) -> list[tuple[Path, State, str]]:
    """Path, state and words for every file of a data set; see `check_file`.

    Raises
    ------
    DataError : a data set that comes with the project has no list of checksums in its folder, or a malformed one.
    """
    folder = dataset_folder(dataset)
    files = _shipped(folder) if is_embedded(dataset.name) else dataset.files
    return [(folder / file.name, *check_file(file, folder / file.name)) for file in files]


def _shipped(folder: Path) -> tuple[DataFile, ...]:
    known = read_checksums(folder / SUMS, "Remove the folder, or restore its files.")
    return tuple(DataFile(name, sha256=digest) for name, digest in known.items())


def presence(dataset: DataSet) -> str:
    """One word for a data set: embedded, here, missing, or partial with the number of files; nothing is read."""
    if is_embedded(dataset.name):
        return "embedded"
    folder = dataset_folder(dataset)
    here = sum((folder / file.name).is_file() for file in dataset.files)
    if here < len(dataset.files):
        return f"partial ({here} of {len(dataset.files)})" if here else "missing"
    return "here"


def total_mib(dataset: DataSet) -> tuple[float, bool]:
    """Size of a data set in MiB as far as known, and whether that is all of it."""
    folder = dataset_folder(dataset)
    sizes = [
        file.size if file.size is not None else path.stat().st_size if (path := folder / file.name).is_file() else None
        for file in dataset.files
    ]
    return sum(size or 0 for size in sizes) / 2**20, None not in sizes
