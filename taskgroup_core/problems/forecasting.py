"""Forecasting: each of several series is a task, to say its next steps from its past."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from taskgroup_core.checks import check_whole
from taskgroup_core.errors import InputError
from taskgroup_core.examples import Examples
from taskgroup_core.models.autoformer import Autoformer
from taskgroup_core.models.forecaster import LinearForecaster
from taskgroup_core.problems.build_check import tried
from taskgroup_core.problems.problem import Problem
from taskgroup_core.problems.scaling import ROUNDING
from taskgroup_core.problems.series import SeriesTable, load_power
from taskgroup_core.tasks import Task

Parts = tuple[int, int, int]
ETT_PARTS: Parts = (34_560, 11_520, 11_520)  # steps: 12, 4 and 4 months of 30 days, the field's split of ETTm1
POWER_PARTS: Parts = (365 * 24, 120 * 24, 120 * 24)  # hours
N_MARKS = 4


def standardisation(table: SeriesTable, n_train: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of every series over the first `n_train` steps, in its unit, each with shape (n,).

    Raises
    ------
    InputError : a series without readings there, or with equal ones only.
    """
    known = np.ma.masked_invalid(table.values[:n_train].astype(np.float64))
    mean, spread = known.mean(axis=0).filled(0), known.std(axis=0).filled(0)
    for name, one, size in zip(table.names, spread, np.abs(mean), strict=True):
        if not one > ROUNDING * size:
            found = f"series {name!r} without two different values in the training part"
            raise InputError("table", found, "Leave the series out, or make the part longer.")
    return mean, spread


def calendar_marks(time: NDArray[np.datetime64]) -> NDArray[np.float32]:
    """Time of the day, day of the week, day of the month and day of the year of T times, from -0.5 to 0.5, (T, 4)."""
    day, month, year = (time.astype(f"datetime64[{unit}]") for unit in "DMY")
    of_day = (time - day) / np.timedelta64(1, "D")
    of_week = (day.astype(np.int64) + 3) % 7 / 6  # 1 January 1970 was a Thursday; Monday is 0
    of_month = (day - month.astype("datetime64[D]")) / np.timedelta64(30, "D")
    of_year = (day - year.astype("datetime64[D]")) / np.timedelta64(365, "D")
    return np.stack([of_day, of_week, of_month, of_year], axis=1).astype(np.float32) - np.float32(0.5)


def series_problem(
    table: SeriesTable,
    parts: Parts,
    *,
    look_back: int = 96,
    horizon: int = 96,
    step: int = 1,
    network: Literal["linear", "autoformer"] = "linear",
    **options: Any,
) -> Problem:
    """One task a series: its next `horizon` steps, scored by the mean absolute error in training standard deviations.

    A window is an input, and its label for a task are the H numbers of that series that follow. The table is cut in
    time into three parts, as the field does: forecasts of the later parts lie in them, their windows may reach back
    into the part before. A task has no label of a window where the series lacks a number in the window or in the
    forecast. All windows are views of one standardised table: together they take no more memory than it does, and
    what is asked for is copied then (a batch; `fit` copies all training windows and labels).

    Parameters
    ----------
    table : n series at T times.
    parts : steps for training, validation and test, from the start; what is left over is not used.
    look_back : steps of a window, L.
    horizon : steps of a forecast, H, up to L for the Autoformer.
    step : from one window of a part to the next; 1 takes all of them.
    network : "linear" reads the n series, "autoformer" their calendar marks too (see `calendar_marks`): those of each
        step, and those of the step that lies `horizon` later, for the calendar of the forecast is known.
    options : of `LinearForecaster` (width) or `Autoformer` (label_length, width, layers, kernel, factor, dropout).

    Raises
    ------
    InputError : a parameter out of range, an option that the network does not take, a part that is too short for a
        window and a forecast, a table that is shorter than its parts, or see `standardisation`.

    References
    ----------
    Principled task grouping, section 5.3 and Appendix C.2; Wu et al., Autoformer, 2021, section 4, for the split.
    """
    for name, value in {"look_back": look_back, "horizon": horizon, "step": step}.items():
        check_whole(name, value)
    if len(parts) != 3:
        raise InputError("parts", str(parts), "Give the steps for training, validation and test.")
    total = sum(parts)
    if total > len(table.values):
        raise InputError("parts", f"{parts}, with {len(table.values)} steps", "Use shorter parts, or a longer table.")
    if parts[0] < look_back + horizon or min(parts[1:]) < horizon:
        remedy = f"Training takes {look_back + horizon} steps or more, the other parts {horizon} or more."
        raise InputError("parts", str(parts), remedy)
    mean, spread = standardisation(table, parts[0])
    values = ((table.values[:total] - mean) / spread).astype(np.float32)
    known = ~np.isnan(values)
    # A number that is missing is the mean; no label depends on it.
    channels, build = torch.from_numpy(np.where(known, values, np.float32(0))), _linear
    if network == "autoformer":
        channels, build = _with_marks(channels, table.time[: total + horizon], horizon, look_back), _autoformer
    elif network != "linear":
        raise InputError("network", repr(network), 'Use "linear" or "autoformer".')
    ends = np.cumsum(parts).tolist()
    starts = [0, ends[0] - look_back, ends[1] - look_back]
    numbers = torch.from_numpy(values).unfold(0, horizon, 1)  # (T - H + 1, n, H): no copy
    lacking = np.vstack([np.zeros_like(known[:1], dtype=np.int64), (~known).cumsum(axis=0)])
    whole = torch.from_numpy(lacking[look_back + horizon :] == lacking[: -look_back - horizon])

    def split(part: int) -> Examples:
        window = torch.arange(starts[part], ends[part] - look_back - horizon + 1, step)
        after = numbers[look_back:][window[0] : window[-1] + 1 : step]
        there = whole[window]
        rows, tasks = there.nonzero(as_tuple=True)
        label = after.flatten(0, 1)
        return Examples(window[rows], tasks, label if there.all() else label[there.flatten()])

    n_series = len(table.names)
    return Problem(
        table.name,
        tuple(Task(name, "regression", "negative_mae", horizon) for name in table.names),
        channels.unfold(0, look_back, 1)[: total - look_back - horizon + 1].mT,
        split(0),
        split(1),
        split(2),
        tried(build(n_series, look_back, horizon, options)),
    )


def _linear(n_series: int, look_back: int, horizon: int, options: dict[str, Any]) -> Callable[[], nn.Module]:
    return partial(LinearForecaster, n_series, look_back, horizon, **options)


def _autoformer(n_series: int, look_back: int, horizon: int, options: dict[str, Any]) -> Callable[[], nn.Module]:
    label_length = options.setdefault("label_length", look_back // 2)
    if not 1 <= label_length <= look_back:
        raise InputError("label_length", str(label_length), f"Use 1 to {look_back} steps, as a window has.")
    return partial(Autoformer, n_series, N_MARKS, horizon, **options)


def _with_marks(channels: Tensor, time: NDArray[np.datetime64], horizon: int, look_back: int) -> Tensor:
    """The series, the marks of each step, and those of the step that lies `horizon` later."""
    if horizon > look_back:
        found = f"{horizon}, with windows of {look_back} steps"
        raise InputError("horizon", found, "An Autoformer forecasts as many steps as a window has, or fewer.")
    every = time[0] + (time[1] - time[0]) * np.arange(len(channels) + horizon)  # the calendar goes on after the data
    marks = torch.from_numpy(calendar_marks(every))
    return torch.cat([channels, marks[: len(channels)], marks[horizon:]], dim=1)


def power_problem(parts: Parts = POWER_PARTS, *, horizon: int = 24, **options: Any) -> Problem:
    """The problem of the series that come with the project, by the hour: `series_problem` of `load_power`.

    Parameters
    ----------
    parts, horizon : in hours; a forecast is a day by default.
    options : further ones of `series_problem`.

    Raises
    ------
    InputError, DataError : see `series_problem` and `load_power`.
    """
    return series_problem(load_power(), parts, horizon=horizon, **options)
