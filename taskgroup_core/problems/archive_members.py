"""What an archive may hold before anything is taken out of it."""

from __future__ import annotations

import lzma
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from taskgroup_core.errors import DataError

MAX_BYTES = 16 * 2**30
MAX_MEMBERS = 2_000_000
REMEDY = "Get the archive from its publisher again; nothing was taken out of it."
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,  # bz2 raises it without a number
    ValueError,
    RuntimeError,  # zipfile's word for a member that needs a password; NotImplementedError is one too
)


class Members:
    """The members of an archive, judged one after the other by name, kind and size.

    Parameters
    ----------
    path : the archive.
    max_bytes, max_members : upper bounds on what all members take unpacked, and on their number.
    """

    def __init__(self, path: Path, max_bytes: int, max_members: int) -> None:
        self.path, self.max_bytes, self.max_members = path, max_bytes, max_members
        self.files: set[PurePosixPath] = set()
        self.folders: set[PurePosixPath] = set()
        self.total = self.number = 0

    def refuse(self, name: str, what: str) -> DataError:
        """The error about one member."""
        return DataError(f"{self.path}, member {name!r}", what, REMEDY)

    def add(self, name: str, size: int, kind: str) -> None:
        """One more member.

        Parameters
        ----------
        name : as the archive has it, with slashes.
        size : its announced bytes, unpacked.
        kind : "file", "folder", or what else it is.

        Raises
        ------
        DataError : a name that leads out of the folder (absolute, "..", a drive) or that another member has, a member
            that is neither file nor folder, or more than the bounds.
        """
        pure = PurePosixPath(name)
        parts = name.rstrip("/").split("/")
        if not parts[0] or ".." in parts or "\\" in name or "\0" in name or parts[0][1:2] == ":":
            raise self.refuse(name, "a name that leads out of the folder, or is none")
        if kind not in ("file", "folder"):
            raise self.refuse(name, kind)
        if kind == "file" and (pure in self.files or pure in self.folders or pure == PurePosixPath(".")):
            raise self.refuse(name, "a second member of that name")
        parents = set(pure.parents) | ({pure} if kind == "folder" else set())
        if parents & self.files:
            raise self.refuse(name, "a folder where another member is a file")
        if kind == "file":
            self.files.add(pure)
        self.folders |= parents
        self.total, self.number = self.total + size, self.number + 1
        if size < 0 or self.total > self.max_bytes or self.number > self.max_members:
            limits = f"{self.max_bytes:,} bytes or {self.max_members:,} members"
            raise self.refuse(name, f"more than {limits} up to here")


@contextmanager
def readable(path: Path, member: str | None = None, remedy: str = REMEDY) -> Iterator[None]:
    """Every way in which an archive may be damaged becomes one DataError.

    Raises
    ------
    DataError : the archive, or a member of it, is missing, truncated, altered or in a format that cannot be read.
    """
    try:
        yield
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(str(path), "no such file", "Download it, or correct the path.") from error
    except IsADirectoryError as error:
        raise DataError(str(path), "a folder", "Give the path of the archive.") from error
    except _DAMAGE as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # of the disk, not of the archive
        where = str(path) if member is None else f"{path}, member {member!r}"
        raise DataError(where, f"a truncated, altered or unreadable archive ({error})", remedy) from error
