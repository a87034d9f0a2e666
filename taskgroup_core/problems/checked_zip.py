"""Zip archives that are looked through first, then read without unpacking."""

from __future__ import annotations

import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO

from taskgroup_core.errors import InputError
from taskgroup_core.problems.archive_members import MAX_BYTES, MAX_MEMBERS, Members, readable


class CheckedZip:
    """A zip archive whose list of members was checked, to read members from without unpacking.

    Parameters
    ----------
    path : the archive.
    max_bytes, max_members : upper bounds on what all members take unpacked, and on their number.

    Attributes
    ----------
    names : the files in it, in their order.

    Raises
    ------
    DataError : no zip archive, a truncated or encrypted one, or a member with a name that leads out of the folder
        (absolute, "..", a drive), that is a link or a device, that is there twice, or beyond the bounds.
    """

    def __init__(self, path: str | Path, *, max_bytes: int = MAX_BYTES, max_members: int = MAX_MEMBERS) -> None:
        self.path = Path(path)
        with readable(self.path):
            self._zip = zipfile.ZipFile(self.path)
        try:
            check = Members(self.path, max_bytes, max_members)
            for info in self._zip.infolist():
                check.add(info.orig_filename, info.file_size, _kind(info))
        except BaseException:
            self._zip.close()
            raise
        self.names = tuple(info.filename for info in self._zip.infolist() if not info.is_dir())

    def read(self, name: str) -> bytes:
        """The content of a member, never more than its announced size.

        Raises
        ------
        InputError : no member of that name.
        DataError : its content is damaged (another checksum than announced).
        """
        with self.open(name) as file, readable(self.path, name):
            return file.read()

    @contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """A member as a file; see `read`. Damage may show only at its end."""
        try:
            info = self._zip.getinfo(name)
        except KeyError as error:
            raise InputError("name", repr(name), f"{self.path.name} has no such member.") from error
        with readable(self.path, name):
            file = self._zip.open(info)
        with file:
            yield file

    def close(self) -> None:
        """Close the archive."""
        self._zip.close()

    def __enter__(self) -> CheckedZip:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _kind(info: zipfile.ZipInfo) -> str:
    mode = info.external_attr >> 16
    if info.flag_bits & 0x1:
        return "an encrypted file"
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "a link or a device"
    return "folder" if info.filename.endswith("/") else "file"  # `is_dir` fails on an empty name
