"""Archives unpacked all or nothing."""

from __future__ import annotations

import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from taskgroup_core.errors import DataError, InputError
from taskgroup_core.problems.archive_members import MAX_BYTES, MAX_MEMBERS, REMEDY, Members, readable
from taskgroup_core.problems.checked_zip import CheckedZip


def unpack(
    path: str | Path, folder: str | Path, *, max_bytes: int = MAX_BYTES, max_members: int = MAX_MEMBERS
) -> list[Path]:
    """Unpack a zip or tar archive (plain, gz, bz2 or xz) into a new folder, after all of it has been checked.

    Parameters
    ----------
    path : the archive.
    folder : where its members go; it appears only once everything is in it.
    max_bytes, max_members : see `CheckedZip`.

    Returns
    -------
    Paths of the files, in the archive's order.

    Raises
    ------
    InputError : the folder is there already.
    DataError : see `CheckedZip`; or damage that shows in a member's content.
    """
    path, folder = Path(path), Path(folder)
    if folder.exists():
        raise InputError("folder", f"{folder}, which exists", "Name a new folder, or remove this one.")
    members = _zip_members if zipfile.is_zipfile(path) or path.suffix == ".zip" else _tar_members
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as scratch:
        names = []
        place = Path(scratch) / "whole"
        place.mkdir()
        for name, source in members(path, max_bytes, max_members):
            target = place / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as file, readable(path, name):
                shutil.copyfileobj(source, file)
            names.append(name)
        place.rename(folder)
    return [folder / name for name in names]


def _zip_members(path: Path, max_bytes: int, max_members: int) -> Iterator[tuple[str, IO[bytes]]]:
    with CheckedZip(path, max_bytes=max_bytes, max_members=max_members) as archive:
        for name in archive.names:
            with archive.open(name) as source:
                yield name, source


def _tar_members(path: Path, max_bytes: int, max_members: int) -> Iterator[tuple[str, IO[bytes]]]:
    with readable(path), tarfile.open(path) as archive:
        check = Members(path, max_bytes, max_members)
        for info in archive:  # a member is judged by its header, before its content is decompressed
            kind = (
                "folder" if info.isdir() else "file" if info.isreg() and not info.issparse() else "a link or a device"
            )
            check.add(info.name, info.size, kind)
        assert archive.fileobj is not None
        archive.fileobj.seek(archive.offset)
        if archive.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise DataError(str(path), "a truncated archive: its end is missing", REMEDY)
        for info in archive.getmembers():
            source = archive.extractfile(info) if info.isreg() else None
            if source is not None:
                yield info.name, source
