"""Examination scores of London's schools: a regression task a school."""

from __future__ import annotations

import math
from array import array
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from taskgroup_core.errors import DataError, InputError
from taskgroup_core.examples import Examples
from taskgroup_core.matrices import FloatArray
from taskgroup_core.problems.problem import Problem
from taskgroup_core.problems.registry import DataFile, DataSet, locate
from taskgroup_core.problems.tables import table_problem
from taskgroup_core.problems.text_files import opened_text
from taskgroup_core.problems.text_rows import csv_rows
from taskgroup_core.tasks import Task

SCHOOL: Final = DataSet(
    "school",
    "examination scores of 15,362 pupils in 139 London schools",
    "no licence known to this project",
    (
        DataFile(
            "School_Data.csv.gz", sha256="7fd1fcb0fda35741734722b224995985dc067979353bbc739d2eefebf7c17878", size=47562
        ),
    ),
    "Put the ILEA's table, with columns Year, School, FSM, ... and ExamScore, there as School_Data.csv.gz.",
)
DATASETS: Final = (SCHOOL,)
PUPIL: Final = ("Year", "Gender", "VR_BAND_Student", "Ethnicity")  # the school's own columns are constant in a task
COLUMNS: Final = ("School", "ExamScore", *PUPIL)


def school_problem(n_schools: int | None = None, *, folder: str | Path | None = None, **options: Any) -> Problem:
    """One regression task a school: the score of each pupil, standardised, from what is known of the pupil.

    Parameters
    ----------
    n_schools : that many of the largest; None for all 139.
    folder : of `locate`.
    options : of `table_problem`: width, shares, seed.

    Raises
    ------
    InputError : a number of schools that there are not, or see `table_problem`.
    DataError : a file that is missing, truncated or empty, another header, or a malformed row (with its line).
    """
    path = locate(SCHOOL, "School_Data.csv.gz", folder)
    numbers = _numbers(path)
    pupils = numbers[:, 0].astype(np.int64)
    schools, sizes = np.unique(pupils, return_counts=True)
    count = len(schools) if n_schools is None else n_schools
    if not 1 <= count <= len(schools):
        raise InputError("n_schools", str(n_schools), f"Use 1 to {len(schools)}.")
    chosen = np.sort(schools[np.argsort(-sizes, kind="stable")[:count]])
    taken = np.isin(pupils, chosen)
    numbers, pupils = numbers[taken], pupils[taken]
    inputs = np.column_stack([np.equal.outer(values, np.unique(values)) for values in numbers[:, 2:].T])
    row, task = np.arange(len(pupils)), np.searchsorted(chosen, pupils)
    labels = Examples(torch.from_numpy(row), torch.from_numpy(task), torch.from_numpy(numbers[:, 1]).float())
    del numbers  # the file's table is not held beside the problem's
    return table_problem("school", inputs, labels, [Task(f"school {s}", "regression", "r2") for s in chosen], **options)


def _numbers(path: Path) -> FloatArray:
    """The `COLUMNS` of the file, one row a pupil, with shape (N, 6)."""
    values = array("d")
    with opened_text(path, newline="") as file:
        rows = csv_rows(path, file)
        _, header = next(rows, (1, []))
        lacking = [name for name in COLUMNS if name not in header]
        if lacking:
            raise DataError(f"{path}, line 1", f"no column {lacking[0]}", f"The header names {', '.join(COLUMNS)}.")
        for line, row in rows:
            if len(row) != len(header):
                raise DataError(f"{path}, line {line}", f"{len(row)} cells", f"Each row has {len(header)} cells.")
            cells = dict(zip(header, row, strict=True))
            for name in COLUMNS:
                try:
                    number = float(cells[name])
                except ValueError:
                    number = math.nan
                if not math.isfinite(number) or (name != "ExamScore" and not number.is_integer()):
                    raise DataError(f"{path}, line {line}", f"{cells[name][:40]!r} as {name}", "Write a number.")
                values.append(number)
    if not values:
        raise DataError(str(path), "no pupil", "Restore it.")
    return np.frombuffer(values).reshape(-1, len(COLUMNS))
