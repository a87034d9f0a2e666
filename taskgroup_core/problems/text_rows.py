"""Rows of text files, and the error of one that is malformed, with file and line."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from taskgroup_core.errors import DataError

LONGEST = 1000  # digits of a number: Python reads a few times as many


def numbers(line: str) -> list[int] | None:
    """The non-negative integers of a tab-separated line, or None where it holds anything else."""
    words = line.rstrip("\n").split("\t")
    good = all(word.isascii() and word.isdigit() and len(word) <= LONGEST for word in words)
    return [int(word) for word in words] if good else None


def malformed(path: Path, number: int, line: str) -> DataError:
    """The error of a row (counted from 1) that does not hold node ids."""
    return DataError(f"{path}, line {number}", repr(line[:60]), "Each row holds node ids separated by tabs.")


def csv_rows(path: Path, file: IO[str]) -> Iterator[tuple[int, list[str]]]:
    """The rows of a CSV file, each with the line (from 1) on which it ends.

    Raises
    ------
    DataError : a row that is no CSV.
    """
    rows = csv.reader(file)
    while True:
        try:
            row = next(rows, None)
        except csv.Error as error:
            raise DataError(f"{path}, line {rows.line_num}", str(error), "Restore the file.") from error
        if row is None:
            return
        yield rows.line_num, row
