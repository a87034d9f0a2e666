"""Downloads of data sets: nothing appears under a file's name before its checksum was compared."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from taskgroup_core.errors import DataError, InputError, MissingExtra
from taskgroup_core.problems.checked_zip import CheckedZip
from taskgroup_core.problems.inventory import check_file, dataset_folder, record_path
from taskgroup_core.problems.registry import DataFile, DataSet, file_sha256, is_embedded
from taskgroup_core.problems.transfer_file import Transfer, writable

LARGEST_ARCHIVE = 1 << 28  # bytes, unpacked, of an archive that files are taken out of: they are small texts


def fetch(
    dataset: DataSet,
    patterns: Sequence[str] = (),
    *,
    folder: str | Path | None = None,
    transfer: Transfer | None = None,
    tell: Callable[[str], object] | None = None,
) -> list[Path]:
    """Download the files of a data set that are not here yet, and check those that are.

    Parameters
    ----------
    dataset : which.
    patterns : of file names, such as "com-dblp*"; all files where none.
    folder : where the files go, if not into the data set's own folder.
    transfer : attempts, pauses and progress.
    tell : called with a sentence for each file.

    Returns
    -------
    Paths of the files.

    Raises
    ------
    InputError : a pattern that fits no file.
    DataError : a file that is here but altered, one that cannot be downloaded automatically (the message says how to
        get it; the others are downloaded first), or see `Transfer.into`.
    MissingExtra : pooch is absent.
    """
    told = tell or (lambda _: None)
    files = _chosen(dataset, patterns)
    place = dataset_folder(dataset) if folder is None else Path(folder)
    by_hand = []
    for file in files:
        path = place / file.name
        state, what = check_file(file, path)
        if state == "altered":
            remedy = f"Remove it, then run: taskgroup data fetch {dataset.name}"
            raise DataError(str(path), what, dataset.how if file.address is None else remedy)
        if state == "missing" and file.address is None:
            by_hand.append(path)
        elif state == "missing":
            download = _take_out if file.archived else _download
            told(f"{file.name}: {download(file, path, file.address or '', transfer or Transfer())}")
        elif state == "unchecked":
            told(f"{file.name}: {_remember(path)}")
        else:
            told(f"{file.name}: here already, its checksum is right")
    if by_hand:
        names = ", ".join(path.name for path in by_hand)
        raise DataError(str(place), f"no file {names}, which cannot be downloaded automatically", dataset.how)
    return [place / file.name for file in files]


def _chosen(dataset: DataSet, patterns: Sequence[str]) -> list[DataFile]:
    if is_embedded(dataset.name):
        raise InputError("NAME", f"{dataset.name!r}, which comes with the project", "There is nothing to fetch.")
    for pattern in patterns:
        if not any(fnmatch(file.name, pattern) for file in dataset.files):
            names = ", ".join(file.name for file in dataset.files)
            raise InputError("FILES", repr(pattern), f"The files of {dataset.name} are {names}.")
    return [file for file in dataset.files if not patterns or any(fnmatch(file.name, one) for one in patterns)]


def _download(file: DataFile, path: Path, address: str, transfer: Transfer) -> str:
    """Transfer one file, which pooch compares with its checksum before it gets its name; a sentence about it."""
    try:
        import pooch
    except ImportError as error:
        raise MissingExtra("pooch", "data") from error
    pooch.get_logger().setLevel("WARNING")  # what it would say is told below
    part = path.with_name(f"{path.name}.part")

    def into(url: str, output: str, _: object) -> None:
        resumed = part.is_file()
        transfer.into(part, file, url)
        if file.sha256 is not None and file_sha256(part) != file.sha256 and resumed:
            part.unlink()  # an earlier part may be to blame: once more from the beginning
            transfer.into(part, file, url)
        os.replace(part, output)
        part.with_name(f"{part.name}.version").unlink(missing_ok=True)

    expected = None if file.sha256 is None else f"sha256:{file.sha256}"
    try:
        with writable(path):
            pooch.retrieve(address, expected, fname=path.name, path=path.parent, downloader=into)
    except DataError:
        raise
    except ValueError as error:
        remedy = "It was altered on the way, or the publisher changed it: try again, and do not use it otherwise."
        raise DataError(address, "a file whose SHA-256 is not the official one", remedy) from error
    return "downloaded, its checksum is right" if file.sha256 else f"downloaded. {_remember(path)}"


def _take_out(file: DataFile, path: Path, address: str, transfer: Transfer) -> str:
    """Take one file out of a zip archive, which is transferred unless it is here; a sentence about it."""
    archive = path.with_name(PurePosixPath(urlsplit(address).path).name)
    if not archive.is_file():
        _download(DataFile(archive.name, address), archive, address, transfer)
    part = path.with_name(f"{path.name}.part")
    try:
        with CheckedZip(archive, max_bytes=LARGEST_ARCHIVE) as opened:
            members = [name for name in opened.names if PurePosixPath(name).name == file.name]
            if len(members) != 1:
                raise DataError(str(archive), f"{len(members)} members named {file.name}", "")
            with writable(path):
                part.write_bytes(opened.read(members[0]))
        state, what = check_file(file, part)
        if state == "altered":
            part.unlink()
            raise DataError(f"{archive}, member {members[0]!r}", what, "")
    except DataError as error:
        remedy = f"Remove {archive.name}, then run the same command again; nothing was taken out of it."
        raise DataError(error.argument, error.found, remedy) from error
    os.replace(part, path)
    return f"taken out of {archive.name}" + (", its checksum is right" if file.sha256 else f". {_remember(path)}")


def _remember(path: Path) -> str:
    """Keep the checksum of a file for which none was known: trust on first use."""
    digest = file_sha256(path)
    record = record_path(path)
    part = record.with_name(f"{record.name}.part")
    with writable(record):
        part.write_text(f"{digest}  {path.name}\n", encoding="utf-8")
        os.replace(part, record)
    return f"no checksum was known for it; from now on it is compared with {digest[:12]}..., as found now"
