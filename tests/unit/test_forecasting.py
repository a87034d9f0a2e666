"""Forecasting problems: windows and labels, their memory, and every kind of use of them at a small scale."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from taskgroup_core.affinity.transfer_gain import TransferGainAffinity
from taskgroup_core.errors import InputError
from taskgroup_core.models.autoformer import shared_by_series
from taskgroup_core.problems.forecasting import (
    ETT_PARTS,
    POWER_PARTS,
    calendar_marks,
    power_problem,
    series_problem,
    standardisation,
)
from taskgroup_core.problems.problem import Problem
from taskgroup_core.problems.series import SeriesTable, load_power
from taskgroup_core.training.fit import fit
from taskgroup_core.training.recipe import Recipe
from tests.unit.test_all_estimators import ESTIMATORS


def table(steps: int = 300, missing: tuple[int, ...] = ()) -> SeriesTable:
    """Four noisy waves by the hour; the second lacks the steps of `missing`."""
    generator = np.random.default_rng(0)
    angle = 2 * np.pi * np.arange(steps)[:, None] / np.array([24, 24, 12, 50])
    values = (3 + np.sin(angle) * [1, 2, 3, 4] + 0.3 * generator.standard_normal((steps, 4))).astype(np.float32)
    values[list(missing), 1] = np.nan
    time = np.datetime64("2020-02-28T00:00:00") + np.arange(steps) * np.timedelta64(3600, "s")
    return SeriesTable("waves", ("a", "b", "c", "d"), time, values)


SIZES = {"look_back": 12, "horizon": 4}


@pytest.mark.parametrize("step", [1, 3])
def test_windows_and_labels_by_loops(step: int) -> None:
    data, parts = table(), (150, 80, 60)
    problem = series_problem(data, parts, step=step, **SIZES)
    mean, spread = data.values[:150].mean(axis=0, dtype=float), data.values[:150].std(axis=0, dtype=float)
    scaled = (data.values - mean) / spread
    for split, first, stop in (("train", 0, 150), ("val", 150 - 12, 230), ("test", 230 - 12, 290)):
        rows, wanted = getattr(problem, split), []
        for start in range(first, stop - 12 - 4 + 1, step):
            wanted += [(start, task, scaled[start + 12 : start + 16, task]) for task in range(4)]
        assert rows.input_index.tolist() == [start for start, _, _ in wanted]
        assert rows.task_index.tolist() == [task for _, task, _ in wanted]
        np.testing.assert_allclose(rows.label, np.stack([label for _, _, label in wanted]), rtol=1e-5, atol=1e-5)
        chosen = rows.input_index[[0, -1]]
        found = problem.inputs[chosen].numpy()
        np.testing.assert_allclose(found, np.stack([scaled[i : i + 12] for i in chosen]), rtol=1e-5, atol=1e-5)


def test_windows_and_labels_are_views_of_one_table() -> None:
    problem = series_problem(table(), (150, 80, 60), **SIZES)
    assert problem.inputs.untyped_storage().nbytes() == 290 * 4 * 4
    for split in (problem.train, problem.val, problem.test):
        assert split.label.untyped_storage().nbytes() == 290 * 4 * 4
    assert problem.inputs.numel() * 4 > 10 * problem.inputs.untyped_storage().nbytes()


def test_a_missing_number_costs_the_labels_that_it_touches() -> None:
    whole = series_problem(table(), (150, 80, 60), **SIZES)
    problem = series_problem(table(missing=(40, 41, 200)), (150, 80, 60), **SIZES)
    for split, gaps in (("train", (40, 41)), ("val", (200,)), ("test", ())):
        before, rows = getattr(whole, split), getattr(problem, split)
        touched = torch.zeros(len(before), dtype=torch.bool)
        for gap in gaps:
            near = (before.input_index <= gap) & (before.input_index + 16 > gap)
            touched |= near & (before.task_index == 1)
        assert rows.input_index.tolist() == before.input_index[~touched].tolist()
        assert rows.task_index.tolist() == before.task_index[~touched].tolist()
    other = problem.train.task_index != 1
    same = whole.train.task_index != 1
    assert torch.equal(problem.train.label[other], whole.train.label[same])


def test_calendar_marks_against_pandas() -> None:
    time = pd.date_range("2019-12-30 18:00", periods=900, freq="7h")
    marks = calendar_marks(time.to_numpy(dtype="datetime64[s]"))
    wanted = [time.hour / 24, time.day_of_week / 6, (time.day - 1) / 30, (time.day_of_year - 1) / 365]
    np.testing.assert_allclose(marks, np.stack(wanted, axis=1) - 0.5, atol=1e-6)


def test_the_autoformer_gets_the_marks_of_the_steps_to_come() -> None:
    data = table()
    problem = series_problem(data, (150, 80, 70), network="autoformer", width=8, layers=1, kernel=5, **SIZES)
    assert problem.inputs.shape[1:] == (12, 4 + 4 + 4)
    marks = calendar_marks(data.time)
    np.testing.assert_array_equal(problem.inputs[20, :, 4:8], marks[20:32])
    np.testing.assert_array_equal(problem.inputs[20, :, 8:], marks[24:36])
    fewer = series_problem(data, (150, 80, 70), step=5, network="autoformer", width=4, layers=1, kernel=5, **SIZES)
    recipe = Recipe(epochs=3, batch_size=32, learning_rate=0.01)
    fitted = fit(fewer, range(4), recipe, 0, "cpu")
    assert fitted.losses[-1] < fitted.losses[0]
    gain = TransferGainAffinity(recipe, 0, "cpu", every=3, shared=shared_by_series).affinity(fewer)
    assert np.isfinite(gain.values).all()


def small(missing: tuple[int, ...] = ()) -> Problem:
    return series_problem(table(missing=missing), (150, 80, 60), step=3, width=3, **SIZES)


@pytest.mark.parametrize("name", ["GRAD-TAE, pairwise", "HOA", "transfer gain", "TAG", "gradient cosine", "SCA"])
def test_estimators_run_on_forecasts_with_missing_labels(name: str) -> None:
    found = ESTIMATORS[name](small((40, 41)))
    assert np.isfinite(found.values).all() and found["target"].values.tolist() == ["a", "b", "c", "d"]


def test_the_series_of_the_project() -> None:
    data = load_power()
    assert data.values.shape == (34_587, 7) and data.values.flags["C_CONTIGUOUS"]
    assert (np.diff(data.time) == np.timedelta64(1, "h")).all()
    problem = power_problem(step=24, width=4)
    assert problem.n_tasks == 7 and problem.tasks[0].n_outputs == 24
    lacking = np.isnan(data.values[: POWER_PARTS[0]]).any()
    assert lacking and len(problem.train) < 7 * len(range(0, POWER_PARTS[0] - 96 - 24 + 1, 24))
    fitted = fit(problem, range(7), Recipe(epochs=5, batch_size=32, learning_rate=0.01), 0, "cpu")
    assert fitted.losses[-1] < 0.9 * fitted.losses[0]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"look_back": 0}, "look_back: found 0"),
        ({"horizon": 0}, "horizon: found 0"),
        ({"step": 0}, "step: found 0"),
        ({"parts": (150, 80, 71)}, r"parts.*with 300 steps"),
        ({"parts": (15, 80, 60)}, "16 steps or more"),
        ({"parts": (150, 3, 60)}, "16 steps or more"),
        ({"network": "forest"}, "network: found 'forest'"),
        ({"look_back": 1.5}, "look_back: found 1.5"),
        ({"parts": (150, 80)}, r"parts: found \(150, 80\)"),
        ({"widht": 3}, "options: found .*widht"),
        ({"width": 0}, "width: found 0"),
        ({"network": "autoformer", "kernel": 24}, "kernel: found 24"),
        ({"network": "autoformer", "dropout": 2}, "dropout: found 2"),
        ({"network": "autoformer", "horizon": 13}, "13, with windows of 12 steps"),
        ({"network": "autoformer", "label_length": 13}, "label_length: found 13"),
    ],
)
def test_bad_parameters(options: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        series_problem(table(), **({"parts": (150, 80, 60)} | SIZES | options))  # type: ignore[arg-type]


def test_a_series_that_never_changes_is_refused() -> None:
    data = table()
    data.values[:150, 2] = 1
    with pytest.raises(InputError, match="series 'c' without two different values"):
        standardisation(data, 150)
    for value in (0.1, np.nan):  # the standard deviation of 0.1 everywhere is rounding, and not 0
        data.values[:150, 2] = value
        with pytest.raises(InputError, match="series 'c'"):
            standardisation(data, 150)


def test_the_field_s_numbers_of_windows() -> None:
    steps = np.arange(sum(ETT_PARTS))
    data = SeriesTable(
        "two", ("a", "b"), steps.astype("datetime64[s]"), np.stack([steps % 7, steps % 5], 1).astype("f4")
    )
    problem = series_problem(data, ETT_PARTS)
    assert [len(getattr(problem, split)) // 2 for split in ("train", "val", "test")] == [34_369, 11_425, 11_425]
