"""Slices of long runs: kept, resumed bit for bit, never mixed with another run's."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from taskgroup_core.errors import InputError
from taskgroup_core.runs.checkpoint import Checkpoint, Deadline, OutOfTime, cached


def test_a_slice_is_there_for_the_next_process(tmp_path: Path) -> None:
    first = Checkpoint(tmp_path / "run", "key")
    assert first.get("a") is None
    first.put("a", x=np.arange(3), name=np.array(["t"]))
    second = Checkpoint(tmp_path / "run", "key")
    assert second.names == ["a"]
    found = second.get("a")
    assert found is not None and found["x"].tolist() == [0, 1, 2] and found["name"].tolist() == ["t"]
    assert second.get("b") is None


def test_computed_and_read_slices_are_alike_bit_for_bit(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path, "key")
    values = {"x": np.float32([1 / 3, np.nan, -0.0]), "n": np.int64(3), "t": np.asfortranarray(np.eye(3)[:, ::-1])}
    computed = cached(checkpoint, "a", lambda: values)
    read = cached(checkpoint, "a", lambda: pytest.fail("computed twice"))
    alone = cached(None, "a", lambda: values)
    for arrays in (read, alone):
        for name, array in computed.items():
            assert arrays[name].tobytes() == array.tobytes()
            assert (arrays[name].dtype, arrays[name].shape) == (array.dtype, array.shape)
            assert arrays[name].flags.c_contiguous and not arrays[name].flags.writeable


def test_a_slice_that_fails_leaves_the_finished_ones(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path, "key")
    cached(checkpoint, "a", lambda: {"x": np.ones(2)})

    def interrupted() -> dict[str, np.ndarray]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached(checkpoint, "b", interrupted)
    assert Checkpoint(tmp_path, "key").names == ["a"]


def test_another_run_is_refused_and_restart_drops_its_slices(tmp_path: Path) -> None:
    Checkpoint(tmp_path, "old").put("a", x=np.ones(2))
    with pytest.raises(InputError, match=r"other code, data or parameters.*--restart"):
        Checkpoint(tmp_path, "new")
    assert Checkpoint(tmp_path, "old").names == ["a"]
    assert Checkpoint(tmp_path, "new", restart=True).names == []


def test_a_run_never_reads_what_another_that_goes_on_stores_in_its_folder(tmp_path: Path) -> None:
    first = Checkpoint(tmp_path, "seed 0")
    second = Checkpoint(tmp_path, "seed 1", restart=True)
    for checkpoint, value in ((first, 0), (second, 1), (first, 0)):
        assert cached(checkpoint, "a", lambda value=value: {"x": np.array(value)})["x"] == value
    first.add_session(wall_seconds=1.0)
    assert Checkpoint(tmp_path, "seed 1", restart=True).get("a") is None


def test_files_that_are_no_checkpoint_are_never_deleted(tmp_path: Path) -> None:
    mine = tmp_path / "mine.npz"
    mine.write_text("precious")
    for restart in (False, True):
        with pytest.raises(InputError, match="no checkpoint"):
            Checkpoint(tmp_path, "key", restart)
    assert mine.read_text() == "precious"


def test_sessions_outlive_their_process(tmp_path: Path) -> None:
    Checkpoint(tmp_path, "key").add_session(wall_seconds=1.5)
    again = Checkpoint(tmp_path, "key")
    again.add_session(wall_seconds=2.0)
    assert [session["wall_seconds"] for session in Checkpoint(tmp_path, "key").sessions] == [1.5, 2.0]


def test_deadline() -> None:
    Deadline().check()
    Deadline(1).check()
    with pytest.raises(OutOfTime, match="0 minutes"):
        Deadline(0).check()
    for minutes in (-1, math.nan):
        with pytest.raises(InputError, match="minutes"):
            Deadline(minutes)


def test_a_finished_slice_is_read_after_the_deadline(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path, "key")
    cached(checkpoint, "a", lambda: {"x": np.ones(2)}, Deadline(1))
    assert cached(checkpoint, "a", lambda: {"x": np.ones(2)}, Deadline(0))["x"].sum() == 2
    with pytest.raises(OutOfTime):
        cached(checkpoint, "b", lambda: {"x": np.ones(2)}, Deadline(0))
