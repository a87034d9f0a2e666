"""Text files of data sets, compressed or not."""

from __future__ import annotations

import gzip
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from taskgroup_core.errors import DataError

SUFFIXES = ("", ".gz", ".xz")  # in which a text file may come


@contextmanager
def opened_text(path: Path, encoding: str = "ascii", newline: str | None = None) -> Iterator[IO[str]]:
    """A text file, compressed if its name ends in .gz or .xz; every way of being unreadable becomes one DataError."""
    openers: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".xz": lzma.open}
    try:
        with openers.get(path.suffix, open)(path, "rt", encoding=encoding, newline=newline) as file:
            yield file
    except FileNotFoundError as error:
        raise DataError(str(path), "no such file", "Download it, or correct the path.") from error
    except IsADirectoryError as error:
        raise DataError(str(path), "a folder", "Give the path of the file.") from error
    except (EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError) as error:
        kind = path.suffix.lstrip(".").replace("gz", "gzip")
        raise DataError(str(path), f"a truncated or altered {kind} file ({error})", "Download it again.") from error
    except UnicodeDecodeError as error:
        raise DataError(
            str(path),
            f"bytes that are not {encoding.upper()} text",
            "Give the publisher's text file, or its .gz or .xz.",
        ) from error
