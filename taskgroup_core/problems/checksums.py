"""Lists of checksums, as sha256sum writes them."""

from __future__ import annotations

import re
from pathlib import Path

from taskgroup_core.errors import DataError


def read_checksums(path: Path, remedy: str) -> dict[str, str]:
    """The SHA-256 of each file that a list of checksums names.

    Parameters
    ----------
    path : of the list, with a checksum, two spaces and a name in each line.
    remedy : of the error.

    Raises
    ------
    DataError : a list that is missing, empty or malformed.
    """
    try:
        lines = path.read_bytes().decode("ascii").splitlines()
    except FileNotFoundError as error:
        raise DataError(str(path), "no such file", remedy) from error
    except UnicodeDecodeError as error:
        raise DataError(str(path), "bytes that are not ASCII text", remedy) from error
    found = {}
    for number, line in enumerate(lines, start=1):
        parts = re.fullmatch(r"([0-9a-f]{64})  (.+)", line)
        if parts is None:
            raise DataError(f"{path}, line {number}", f"{line[:80]!r} in place of a checksum and a name", remedy)
        found[parts[2]] = parts[1]
    if not found:
        raise DataError(str(path), "no checksum", remedy)
    return found
