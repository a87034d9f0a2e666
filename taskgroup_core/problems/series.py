"""Files of several time series: ETTm1 in its official format, and the series that come with the project."""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from taskgroup_core.errors import DataError, InputError
from taskgroup_core.problems.registry import DataFile, DataSet, embedded, locate, shipped
from taskgroup_core.problems.text_files import opened_text
from taskgroup_core.problems.text_rows import csv_rows

ETT = DataSet(
    "ett",
    "ETTm1: oil temperature and six loads of an electricity transformer, every 15 minutes for two years",
    "CC BY-ND 4.0",
    (
        DataFile(
            "ETTm1.csv",
            "https://raw.githubusercontent.com/zhouhaoyi/ETDataset/main/ETT-small/ETTm1.csv",
            "6ce1759b1a18e3328421d5d75fadcb316c449fcd7cec32820c8dafda71986c9e",
            10_360_719,
        ),
    ),
)
POWER = shipped("power", "seven electrical series of one household, by the hour", "CC BY 4.0", "hours.parquet")
DATASETS = (ETT, POWER)
LARGEST = float(np.finfo(np.float32).max)
ETT_COLUMNS = ("HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT")


@dataclass(frozen=True)
class SeriesTable:
    """Several series at the same, equally spaced times.

    Parameters
    ----------
    name : of the data.
    names : of the n series.
    time : datetime64[s] with shape (T,), ascending in equal steps.
    values : float32 with shape (T, n), each in its own unit; NaN where missing.

    Raises
    ------
    InputError : shapes that do not fit, times that do not ascend in equal steps, or an infinite value.
    """

    name: str
    names: tuple[str, ...]
    time: NDArray[np.datetime64]
    values: NDArray[np.float32]

    def __post_init__(self) -> None:
        shape = len(self.time), len(self.names)
        if self.time.ndim != 1 or self.values.shape != shape:
            found = f"shape {self.values.shape} for {shape[0]} times and {shape[1]} names"
            raise InputError("values", found, "Give a row for each time and a column for each name.")
        steps = np.unique(np.diff(self.time))
        if len(steps) > 1 or not (steps > np.timedelta64(0)).all():
            found = f"steps from {steps[0]} to {steps[-1]}"
            raise InputError("time", found, "Give ascending times in equal steps, with NaN as values where they lack.")
        if np.isinf(self.values).any():
            raise InputError("values", "infinity", "Give finite numbers, NaN where missing.")


def load_ett(path: str | Path | None = None) -> SeriesTable:
    """ETTm1 from its official CSV file: a header, then a date and seven numbers a row.

    Parameters
    ----------
    path : `ETTm1.csv`, or the same compressed as .gz; by default the one in the data folder, see `locate`.

    Raises
    ------
    DataError : a file that is missing, truncated or not text, another header, no row, a malformed row or an unequal
        step of time (with its line); in the data folder, another size or checksum than the official one.
    """
    path = locate(ETT, "ETTm1.csv") if path is None else Path(path)
    time, values = array("q"), array("f")
    with opened_text(path, newline="") as file:
        rows = csv_rows(path, file)
        _, header = next(rows, (1, []))
        if header != ["date", *ETT_COLUMNS]:
            lacking = [name for name in ("date", *ETT_COLUMNS) if name not in header]
            found = f"no column {', '.join(lacking)}" if lacking else f"columns {', '.join(header)}"
            raise DataError(f"{path}, line 1", found, f"The header is date,{','.join(ETT_COLUMNS)}.")
        for line, row in rows:
            time.append(_seconds(path, line, row))
            values.extend(_numbers(path, line, row))
            if len(time) > 1 and time[-1] - time[-2] != max(time[1] - time[0], 1):
                found = f"{time[-1] - time[-2]} s after the row before, not {max(time[1] - time[0], 1)} s"
                raise DataError(f"{path}, line {line}", found, "Rows are equally spaced in time.")
    if not time:
        raise DataError(str(path), "no row", "Download it again.")
    seconds, table = np.frombuffer(time, dtype=np.int64), np.frombuffer(values, dtype=np.float32)
    return SeriesTable("ETTm1", ETT_COLUMNS, seconds.astype("datetime64[s]"), table.reshape(-1, len(ETT_COLUMNS)))


def _seconds(path: Path, line: int, row: list[str]) -> int:
    try:
        moment = datetime.fromisoformat(row[0])
        if moment.tzinfo is not None:
            raise ValueError("a time zone, which the official file has not")
        return int(moment.replace(tzinfo=UTC).timestamp())
    except (ValueError, IndexError) as error:
        found = repr(row[0]) if row else "an empty row"
        raise DataError(f"{path}, line {line}", found, "A row begins with a date like 2016-07-01 00:15:00.") from error


def _numbers(path: Path, line: int, row: list[str]) -> list[float]:
    cells = row[1:]
    if len(cells) != len(ETT_COLUMNS):
        found = f"{len(cells)} numbers"
        raise DataError(f"{path}, line {line}", found, f"A row holds a date and {len(ETT_COLUMNS)} numbers.")
    numbers: list[float] = []
    for name, cell in zip(ETT_COLUMNS, cells, strict=True):
        try:
            numbers.append(float(cell))
        except ValueError:
            numbers.append(math.nan)
        if not abs(numbers[-1]) <= LARGEST:
            raise DataError(f"{path}, line {line}", f"{cell[:40]!r} in column {name}", "Give a finite float32 number.")
    return numbers


def load_power(folder: str | Path | None = None) -> SeriesTable:
    """Hourly means of seven electrical series of one household; see data/power/README.md.

    Parameters
    ----------
    folder : where the frozen files are; see `embedded`.

    Raises
    ------
    DataError : a file that is missing, or whose SHA-256 is not the recorded one.
    """
    table = pd.read_parquet(embedded("power", folder) / "hours.parquet")
    time = table.pop("time").to_numpy(dtype="datetime64[s]")
    values = np.ascontiguousarray(table.to_numpy(dtype=np.float32))  # row by row, so that labels are views
    return SeriesTable("household power", tuple(table.columns), time, values)
