"""Files of series: ETTm1's official format, the embedded series and how they are derived."""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import lzma
import os
import re
import shutil
import zipfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
import torch

from taskgroup_core.errors import DataError, InputError
from taskgroup_core.models.forecaster import repeated
from taskgroup_core.problems import series
from taskgroup_core.problems.forecasting import ETT_PARTS, series_problem, standardisation
from taskgroup_core.problems.registry import DataFile
from taskgroup_core.problems.series import ETT, ETT_COLUMNS, SeriesTable, load_ett, load_power
from taskgroup_core.training.evaluate import evaluate
from tests.memory import peak

OFFICIAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "ett" / "ETTm1.csv.gz"
FOLDER = Path(__file__).resolve().parents[2] / "data" / "power"
HEADER = "date," + ",".join(ETT_COLUMNS)


def row(step: int) -> str:
    date = np.datetime64("2016-07-01T00:00:00") + step * np.timedelta64(15, "m")
    return f"{date}".replace("T", " ") + "".join(f",{step + 0.25 * column}" for column in range(7))


def written(folder: Path, lines: list[str], name: str = "ETTm1.csv") -> Path:
    path, text = folder / name, "\n".join(lines) + "\n"
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


@pytest.mark.parametrize("name", ["ETTm1.csv", "ETTm1.csv.gz"])
def test_the_official_format_on_a_small_file(tmp_path: Path, name: str) -> None:
    table = load_ett(written(tmp_path, [HEADER, *map(row, range(20))], name))
    assert table.names == ETT_COLUMNS and table.values.dtype == np.float32
    assert table.time[1] == np.datetime64("2016-07-01T00:15:00")
    np.testing.assert_array_equal(table.values, np.arange(20)[:, None] + 0.25 * np.arange(7))


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([], "line 1: found no column date, HUFL"),
        ([HEADER.replace(",OT", "")], "line 1: found no column OT"),
        ([HEADER + ",more"], "line 1: found columns"),
        ([HEADER, row(0), row(1).replace("1.25", "much")], r"line 3: found 'much' in column HULL"),
        ([HEADER, row(0).replace("0.25", "nan")], r"line 2: found 'nan' in column HULL"),
        ([HEADER, row(0).replace("0.25", "")], r"line 2: found '' in column HULL"),
        ([HEADER, row(0), row(1) + ",1"], "line 3: found 8 numbers"),
        ([HEADER, row(0), "", row(1)], "line 3: found an empty row"),
        ([HEADER, row(0), row(1).replace("1.25", "1" * 200_000)], "line 3: found field larger than field limit"),
        ([HEADER, row(0).replace("2016", "year")], "line 2: found 'year-07-01 00:00:00'"),
        ([HEADER, row(0), row(1), row(3)], "line 4: found 1800 s after the row before, not 900 s"),
        ([HEADER, row(2), row(1), row(0)], "line 3: found -900 s after the row before"),
        ([HEADER, row(0), row(0), row(0)], "line 3: found 0 s after the row before"),
        ([HEADER, row(0), row(1).replace("1.25", "1e300")], "line 3: found '1e300' in column HULL"),
        ([HEADER, row(0).replace(":00,", ":00+02:00,", 1)], r"line 2: found '2016-07-01 00:00:00\+02:00'"),
    ],
)
def test_a_malformed_file_is_reported_with_its_line(tmp_path: Path, lines: list[str], words: str) -> None:
    path = written(tmp_path, lines) if lines else tmp_path / "ETTm1.csv"
    path.touch()
    with pytest.raises(DataError, match=rf"{re.escape(str(path))}, {words}"):
        load_ett(path)


def test_missing_and_truncated_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKGROUP_DATA", str(tmp_path))
    with pytest.raises(DataError, match="taskgroup data fetch ett"):
        load_ett()
    with pytest.raises(DataError, match="no such file"):
        load_ett(tmp_path / "other.csv")
    path = written(tmp_path, [HEADER, *map(row, range(200))], "ETTm1.csv.gz")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match="truncated or altered"):
        load_ett(path)
    (tmp_path / "ETTm1.csv").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="bytes that are not ASCII text"):
        load_ett(tmp_path / "ETTm1.csv")
    with pytest.raises(DataError, match="no row"):
        load_ett(written(tmp_path, [HEADER]))
    with pytest.raises(DataError, match="a folder"):
        load_ett(tmp_path)


def test_the_file_in_the_data_folder_is_the_official_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKGROUP_DATA", str(tmp_path))
    (tmp_path / "ett").mkdir()
    path = written(tmp_path / "ett", [HEADER, *map(row, range(5))])
    with pytest.raises(DataError, match="bytes in place of 10,360,719"):
        load_ett()
    known = DataFile("ETTm1.csv", sha256=hashlib.sha256(path.read_bytes()).hexdigest(), size=path.stat().st_size)
    monkeypatch.setattr(series, "ETT", replace(ETT, files=(known,)))
    assert len(load_ett().values) == 5
    path.write_bytes(path.read_bytes().replace(b"3.25", b"3.75"))
    os.utime(path, (1, 1))  # a clock may be too coarse to tell it from the file before
    with pytest.raises(DataError, match="its SHA-256 is not the official one"):
        load_ett()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"time": load_power().time[:9]}, "values: found shape"),
        ({"time": load_power().time[9::-1]}, "time: found steps from -3600"),
        ({"time": load_power().time[[0, 1, 2, 3, 4, 5, 6, 7, 8, 10]]}, "time: found steps from 3600"),
        ({"values": np.full((10, 7), np.inf, dtype=np.float32)}, "values: found infinity"),
    ],
)
def test_a_table_of_series_is_checked(change: dict[str, np.ndarray], words: str) -> None:
    power = load_power()
    good = SeriesTable("ten", power.names, power.time[:10], power.values[:10])
    with pytest.raises(InputError, match=words):
        replace(good, **change)


@pytest.mark.skipif(not OFFICIAL.is_file(), reason="needs ../shared/data/ett/ETTm1.csv.gz")
def test_the_official_file() -> None:
    text = gzip.decompress(OFFICIAL.read_bytes())
    entry = ETT.file("ETTm1.csv")
    assert hashlib.sha256(text).hexdigest() == entry.sha256 and len(text) == entry.size
    table = load_ett(OFFICIAL)
    assert table.values.shape == (69_680, 7)
    read = pd.read_csv(OFFICIAL, parse_dates=["date"])
    np.testing.assert_array_equal(table.values, read[list(ETT_COLUMNS)].to_numpy(dtype=np.float32))
    assert (table.time == read["date"].to_numpy(dtype="datetime64[s]")).all()
    mean, spread = standardisation(table, ETT_PARTS[0])
    part = read[list(ETT_COLUMNS)][: ETT_PARTS[0]]
    np.testing.assert_allclose(mean, part.mean(), rtol=1e-5)
    np.testing.assert_allclose(spread, part.std(ddof=0), rtol=1e-5)


@pytest.mark.skipif(not OFFICIAL.is_file(), reason="needs ../shared/data/ett/ETTm1.csv.gz")
def test_yesterday_forecasts_the_official_series_better_than_the_paper_s_table() -> None:
    problem = series_problem(load_ett(OFFICIAL), ETT_PARTS)
    yesterday = partial(repeated, n_series=7, horizon=96, period=96)
    errors = -evaluate(yesterday, problem, "test", range(7), torch.device("cpu"))["score"]
    lowest = 2.90  # Principled task grouping, Table 4: the total MAE of its best grouping, Optimal-4
    assert errors.sum() < lowest - 0.1


def test_loading_takes_less_than_twice_the_memory_of_the_series(tmp_path: Path) -> None:
    path = written(tmp_path, [HEADER, *map(row, range(10_000))], "ETTm1.csv.gz")
    load_ett(written(tmp_path, [HEADER, *map(row, range(2))], "other.csv.gz"))  # what is imported late is not counted
    table, most = peak(lambda: load_ett(path))
    assert most < 2 * (table.values.nbytes + table.time.nbytes)


@pytest.fixture(scope="module")
def derive() -> ModuleType:
    spec = importlib.util.spec_from_file_location("derive_power", FOLDER / "derive.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_card_checksums_and_counts_agree_with_the_file() -> None:
    card = (FOLDER / "README.md").read_text()
    packed = (FOLDER / "hours.parquet").read_bytes()
    digest = hashlib.sha256(packed).hexdigest()
    assert len(packed) < 4 * 2**20 and f"| {len(packed):,} | `{digest}` |" in card
    assert (FOLDER / "SHA256SUMS").read_text() == f"{digest}  hours.parquet\n"
    missing = np.isnan(load_power().values)
    assert (missing.any(axis=1) == missing.all(axis=1)).all()
    lost = missing[:, 0]
    starts = int((lost & ~np.roll(lost, 1)).sum())
    assert f"| hours | {len(lost):,} |" in card
    assert f"| hours with fewer than 30 readings (missing) | {lost.sum()} |" in card
    assert f"| runs of missing hours | {starts} |" in card


def test_an_altered_file_is_refused(tmp_path: Path) -> None:
    folder = shutil.copytree(FOLDER, tmp_path / "power")
    (folder / "hours.parquet").write_bytes((folder / "hours.parquet").read_bytes()[:-1])
    with pytest.raises(DataError, match=r"hours\.parquet.*SHA-256"):
        load_power(folder)


def minutes() -> bytes:
    """Four and a bit hours from 17:24 on: 18 h is whole, 19 h has 30 readings, 20 h has 29, 21 h is cut."""
    lines = ["Date,Time," + ",".join(("Global_active_power", "Global_reactive_power", "Voltage", "Global_intensity"))]
    lines[0] += ",Sub_metering_1,Sub_metering_2,Sub_metering_3"
    for minute in range(36 + 3 * 60 + 20):
        time = pd.Timestamp("2006-12-16 17:24") + pd.Timedelta(minutes=minute)
        lost = (time.hour == 19 and time.minute >= 30) or (time.hour == 20 and time.minute >= 29)
        values = ",".join(["?"] * 6 + [""]) if lost else ",".join([f"{time.minute}.5"] * 7)
        lines.append(f"{time:%d/%m/%Y},{time:%H:%M:%S},{values}")
    return "\n".join(lines).encode()


def test_rule_on_a_small_file(derive: ModuleType, tmp_path: Path) -> None:
    hours, counts = derive.derive(minutes())
    assert hours.index.hour.tolist() == [18, 19, 20]
    np.testing.assert_allclose(hours["voltage"], [30.0, 15.0, np.nan])
    assert counts["of these, without readings"] == 30 + 31
    assert counts["hours with fewer than 30 readings (missing)"] == 1
    sums = [derive.write(tmp_path, hours) for _ in range(2)]
    assert sums[0] == sums[1]
    table = load_power(tmp_path)
    assert table.names[0] == "active power" and np.isnan(table.values[2]).all()


def test_the_same_text_from_a_wheel_an_xz_file_or_as_it_is(derive: ModuleType, tmp_path: Path) -> None:
    text = minutes()
    (tmp_path / "plain.csv").write_bytes(text)
    (tmp_path / "packed.csv.xz").write_bytes(lzma.compress(text))
    with zipfile.ZipFile(tmp_path / "one.whl", "w") as archive:
        archive.writestr(derive.MEMBER, lzma.compress(text))
    for path in tmp_path.iterdir():
        assert derive.read(path) == text
