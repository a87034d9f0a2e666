"""Rows of node ids in text files, and the error of one that is malformed, with file and line."""

from __future__ import annotations

from pathlib import Path

from taskgroup_core.errors import DataError


def numbers(line: str) -> list[int] | None:
    """The non-negative integers of a tab-separated line, or None where it holds anything else."""
    words = line.rstrip("\n").split("\t")
    return [int(word) for word in words] if all(word.isascii() and word.isdigit() for word in words) else None


def malformed(path: Path, number: int, line: str) -> DataError:
    """The error of a row (counted from 1) that does not hold node ids."""
    return DataError(f"{path}, line {number}", repr(line[:60]), "Each row holds node ids separated by tabs.")
