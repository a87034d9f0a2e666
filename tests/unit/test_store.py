"""Run records on disk: what is read is what was written, and a crash never costs the old record."""

from __future__ import annotations

import json
import os
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from taskgroup_core.runs import store
from taskgroup_core.runs.record import RunRecord
from taskgroup_core.runs.store import load, pack_arrays, save


def make_record(value: float = 1.0) -> RunRecord:
    return RunRecord(
        name="toy",
        parameters={"value": value},
        results={"third": value / 3, "text": "á"},
        arrays={
            "file": np.full((2, 3), value),
            "file.npy": np.full(2, -value),
            "d=50 M=1, π": np.arange(2),
            "empty": np.zeros((0, 4)),
            "scalar": np.float32(value),
            "nan": np.array([np.nan, np.inf]),
            "names": np.array(["a", "bc"]),
            "member": np.eye(2, dtype=bool),
        },
        provenance={"created": "today", "wall_seconds": 0.1},
    )


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    record = make_record()
    path = save(record, tmp_path / "new")
    assert sorted(file.name for file in path.parent.iterdir()) == ["toy.json", "toy.npz"]
    again = load(path.parent, "toy")
    assert again.id == record.id == json.loads(path.read_text())["id"]
    assert again.provenance == record.provenance
    for name, array in record.arrays.items():
        assert again.arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(again.arrays[name], array)


def test_numpy_alone_can_read_the_arrays(tmp_path: Path) -> None:
    save(make_record(), tmp_path)
    with np.load(tmp_path / "toy.npz", allow_pickle=False) as archive:
        assert archive["file"].tolist() == [[1.0] * 3] * 2


def test_the_same_record_gives_the_same_bytes(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        save(make_record(), tmp_path / folder)
    for name in ("toy.json", "toy.npz"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_record_without_arrays(tmp_path: Path) -> None:
    save(RunRecord("bare", {}, {}, {}, {}), tmp_path)
    assert load(tmp_path, "bare").arrays == {}


class Crash(BaseException):
    """The process ends here."""


class CrashAt:
    """`os.replace`, until the step at which the process ends."""

    def __init__(self, step: int) -> None:
        self.remaining = step

    def __call__(self, source: str, target: str) -> None:
        if self.remaining == 0:
            raise Crash
        self.remaining -= 1
        os.rename(source, target)


def save_and_crash(record: RunRecord, folder: Path, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch, pytest.raises(Crash):
        patch.setattr(store.os, "replace", CrashAt(step))
        save(record, folder)


def visible(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


@pytest.mark.parametrize("second", range(3))
@pytest.mark.parametrize("first", range(3))
def test_crashes_at_any_moment_leave_a_whole_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: int, second: int
) -> None:
    one, two, three = (make_record(value) for value in (1.0, 2.0, 3.0))
    save(one, tmp_path)
    save_and_crash(two, tmp_path, first, monkeypatch)
    after_first = load(tmp_path, "toy").id
    assert after_first == (two if first == 2 else one).id
    # After a crash at the last step the next save first ends the interrupted one: one step more.
    save_and_crash(three, tmp_path, second, monkeypatch)
    committed = second == 2 and first != 2
    assert load(tmp_path, "toy").id == (three.id if committed else after_first)
    save(one, tmp_path)
    assert load(tmp_path, "toy").id == one.id
    assert visible(tmp_path) == ["toy.json", "toy.npz"]


def test_a_save_has_three_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # So that the test above crashes at each of them.
    steps = CrashAt(3)
    monkeypatch.setattr(store.os, "replace", steps)
    save(make_record(), tmp_path)
    assert steps.remaining == 0


def test_a_crash_of_the_first_save_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_and_crash(make_record(), tmp_path, 0, monkeypatch)
    assert visible(tmp_path) == []


def save_often(folder: Path, first: int) -> None:
    for value in range(first, first + 100):
        save(RunRecord("toy", {"value": value}, {}, {"x": np.full(2000, value)}, {}), folder)


def test_processes_that_save_and_load_at_once(tmp_path: Path) -> None:
    context = get_context("spawn")
    writers = [context.Process(target=save_often, args=(tmp_path, first)) for first in (1000, 2000)]
    save_often(tmp_path, 0)
    for writer in writers:
        writer.start()
    seen = set()
    while any(writer.is_alive() for writer in writers):
        record = load(tmp_path, "toy")
        assert set(record.arrays["x"]) == {record.parameters["value"]}
        seen.add(record.parameters["value"] // 1000)
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0] and {1, 2} <= seen
    assert load(tmp_path, "toy").parameters["value"] in (1099, 2099)
    assert visible(tmp_path) == ["toy.json", "toy.npz"]


def test_packing_depends_on_the_arrays_alone() -> None:
    assert pack_arrays({"x": np.ones(3)}) == pack_arrays({"x": np.ones(3)}) != pack_arrays({"x": np.zeros(3)})
