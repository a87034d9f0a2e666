"""Rows of numbers from text files: opened, read and, where one is malformed, reported with file and line."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from taskgroup_core.errors import DataError


@contextmanager
def opened(path: Path) -> Iterator[IO[str]]:
    """A text file, compressed if its name ends in .gz; every way of being unreadable becomes one DataError.

    Raises
    ------
    DataError : a file that is missing, truncated or altered, or that is not ASCII text.
    """
    try:
        with gzip.open(path, "rt", encoding="ascii") if path.suffix == ".gz" else path.open(encoding="ascii") as file:
            yield file
    except FileNotFoundError as error:
        raise DataError(str(path), "no such file", "Download it from SNAP, or correct the path.") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(str(path), f"a truncated or altered gzip file ({error})", "Download it again.") from error
    except UnicodeDecodeError as error:
        raise DataError(str(path), "bytes that are not ASCII text", "Give SNAP's text file, or its .gz.") from error


def numbers(line: str) -> list[int] | None:
    """The non-negative integers of a tab-separated line, or None where it holds anything else."""
    words = line.rstrip("\n").split("\t")
    return [int(word) for word in words] if all(word.isascii() and word.isdigit() for word in words) else None


def malformed(path: Path, number: int, line: str) -> DataError:
    """The error of a row (counted from 1) that does not hold node ids."""
    return DataError(f"{path}, line {number}", repr(line[:60]), "Each row holds node ids separated by tabs.")
