"""Recordings: the plan tells missing from stale, and a run that is stopped goes on to the same record."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from taskgroup_core.errors import DataError, InputError
from taskgroup_core.problems import registry
from taskgroup_core.runs import recorder, recordings
from taskgroup_core.runs.checkpoint import OutOfTime
from taskgroup_core.runs.hashes import modules_behind
from taskgroup_core.runs.provenance import PACKAGE, ROOT
from taskgroup_core.runs.recorder import basis, plan, record
from taskgroup_core.runs.recordings import RECORDINGS, Recording
from taskgroup_core.runs.store import load
from tests import tiny_recording
from tests.tiny_recording import SLICES, tiny


@pytest.fixture(autouse=True)
def _only_tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, tiny())
    tiny_recording.COMPUTED.clear()


def use(monkeypatch: pytest.MonkeyPatch, *some: Recording) -> None:
    monkeypatch.setattr(recordings, "RECORDINGS", some)


def only_row(folder: Path) -> tuple[str, str]:
    (row,) = plan(folder)
    return row.status, row.reason


def test_a_recording_is_made_whole_and_small(tmp_path: Path) -> None:
    said: list[str] = []
    path = record("tiny", tmp_path, "cpu", tell=said.append)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["tiny.json", "tiny.npz"]
    stored = load(tmp_path, "tiny")
    assert path == tmp_path / "tiny.json" and stored.name == "tiny"
    assert stored.arrays["draws"].shape == (SLICES, 50)
    assert stored.results["mean"] == pytest.approx(stored.arrays["draws"].mean())
    (session,) = stored.provenance["sessions"]
    assert stored.provenance["wall_seconds"] == session["wall_seconds"] > 0
    assert "0.01 minutes, 0.1 GiB and 3.0e+02 FLOPs" in said[0] and "recorded in" in said[1]


def test_what_is_recorded_is_not_recorded_again(tmp_path: Path) -> None:
    path = record("tiny", tmp_path, "cpu", tell=lambda _: None)
    before = path.read_bytes()
    said: list[str] = []
    assert record("tiny", tmp_path, "cpu", tell=said.append) == path
    assert "nothing to do" in said[0] and path.read_bytes() == before
    assert len(tiny_recording.COMPUTED) == SLICES
    record("tiny", tmp_path, "cpu", restart=True, tell=lambda _: None)
    assert len(tiny_recording.COMPUTED) == 2 * SLICES


def test_out_of_time_then_resumed_gives_the_record_of_one_long_run(tmp_path: Path) -> None:
    whole = load(record("tiny", tmp_path / "whole", "cpu").parent, "tiny")
    with pytest.raises(OutOfTime):
        record("tiny", tmp_path / "sliced", "cpu", minutes=0)
    assert only_row(tmp_path / "sliced") == ("missing", "begun, not finished")
    sliced = load(record("tiny", tmp_path / "sliced", "cpu").parent, "tiny")
    assert sliced.id == whole.id
    times = [session["wall_seconds"] for session in sliced.provenance["sessions"]]
    assert len(times) == 2 and sliced.provenance["wall_seconds"] == sum(times)


@contextmanager
def recording_process(out: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that records, and has finished its second slice."""
    command = [sys.executable, "-m", "tests.tiny_recording", "record", "tiny", "--out", str(out), "--device", "cpu"]
    environment = {**os.environ, "TINY_PAUSE": "0.5"}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 120
        while not (out / "tiny.partial" / "slice-1.npz").exists():
            assert process.poll() is None and time.monotonic() < deadline, "ended before its second slice"
            time.sleep(0.02)
        yield process


def test_what_another_process_records_is_refused(tmp_path: Path) -> None:
    with recording_process(tmp_path) as process:
        for restart in (False, True):
            with pytest.raises(InputError, match="another process is recording"):
                record("tiny", tmp_path, "cpu", restart=restart)
        process.communicate(timeout=60)
    assert process.returncode == 0 and not tiny_recording.COMPUTED
    assert only_row(tmp_path)[0] == "present"


@pytest.mark.parametrize(("end", "status"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_a_killed_process_keeps_its_slices(tmp_path: Path, end: signal.Signals, status: int) -> None:
    whole = load(record("tiny", tmp_path / "whole", "cpu").parent, "tiny")
    tiny_recording.COMPUTED.clear()
    out = tmp_path / "killed"
    with recording_process(out) as process:
        process.send_signal(end)
        _, said = process.communicate(timeout=60)
    assert process.returncode == status
    if end == signal.SIGINT:
        assert "run the same command again" in said and "Traceback" not in said
    resumed = load(record("tiny", out, "cpu").parent, "tiny")
    assert resumed.id == whole.id
    assert 0 < len(tiny_recording.COMPUTED) <= SLICES - 2


def test_plan_tells_missing_present_and_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "data.csv"
    data.write_text("1\n")
    out = tmp_path / "out"
    use(monkeypatch, tiny(data=(data,)))
    assert only_row(out) == ("missing", "not recorded yet")
    record("tiny", out, "cpu")
    status, reason = only_row(out)
    assert status == "present" and load(out, "tiny").id in reason
    use(monkeypatch, tiny(data=(data,), seed=1))
    assert only_row(out) == ("stale", "other parameters than recorded")
    use(monkeypatch, tiny(data=(data,), entry="subsets"))
    assert only_row(out) == ("stale", "other code than recorded")
    use(monkeypatch, tiny(data=(data,)))
    data.write_text("2\n")
    assert only_row(out) == ("stale", "other data than recorded")
    data.unlink()
    assert only_row(out)[0] == "stale" and "data.csv" in only_row(out)[1]
    data.write_text("1\n")
    assert only_row(out)[0] == "present"
    (out / "tiny.npz").write_bytes(b"cut")
    assert only_row(out)[0] == "stale" and "tiny.npz" in only_row(out)[1]


def test_a_stale_record_is_recorded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record("tiny", tmp_path, "cpu")
    use(monkeypatch, tiny(seed=1))
    record("tiny", tmp_path, "cpu")
    assert load(tmp_path, "tiny").parameters["seed"] == 1 and only_row(tmp_path)[0] == "present"


def test_slices_of_a_changed_run_are_refused_until_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OutOfTime):
        record("tiny", tmp_path, "cpu", minutes=0)
    use(monkeypatch, tiny(seed=1))
    with pytest.raises(InputError, match="--restart"):
        record("tiny", tmp_path, "cpu")
    record("tiny", tmp_path, "cpu", restart=True)
    assert load(tmp_path, "tiny").parameters["seed"] == 1


def test_only_the_code_behind_a_recording_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def write(name: str, text: str) -> None:
        path = tmp_path / "taskgroup_core" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    write("__init__.py", "")
    write("seeds.py", "from taskgroup_core import tasks\n")
    write("tasks.py", "x = 1\n")
    write("apart.py", "y = 1\n")
    monkeypatch.setattr(recorder, "PACKAGE", tmp_path / "taskgroup_core")
    before = basis(tiny())
    write("apart.py", "y = 2\n")
    write("tasks.py", '"""Doc."""\n\nx = 1  # one\n')
    assert basis(tiny()) == before
    write("tasks.py", "x = 2\n")
    assert basis(tiny())["code"] != before["code"]


def test_the_registry_is_sound() -> None:
    names = [recording.name for recording in RECORDINGS]
    assert len(set(names)) == len(names) > 0
    for recording in RECORDINGS:
        json.dumps(recording.parameters)
        assert recording.minutes > 0 and recording.memory_gib > 0 and recording.flops > 0
        behind = [modules_behind(PACKAGE, entry) for entry in recording.entries]
        assert behind and all(behind)
        for path in recording.data:
            assert (ROOT / path).is_file(), f"{recording.name} reads {path}, which is not there"


def test_official_files_are_checked_before_and_known_without_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "snap/com-dblp.top5000.cmty.txt.gz"
    use(monkeypatch, replace(tiny(), official=(name,)))
    monkeypatch.setenv("TASKGROUP_DATA", str(tmp_path / "data"))
    assert only_row(tmp_path) == ("missing", "not recorded yet")
    with pytest.raises(DataError, match="taskgroup data fetch snap com-dblp"):
        record("tiny", tmp_path, "cpu")
    file = tmp_path / "data" / name
    file.parent.mkdir(parents=True)
    file.write_bytes(b"something else")
    with pytest.raises(DataError, match="not the official file"):
        record("tiny", tmp_path, "cpu")
    assert not tiny_recording.COMPUTED
    monkeypatch.setattr(recorder, "file_sha256", lambda _: recorder._official(name)[1].sha256)
    monkeypatch.setattr(registry, "_remembered", lambda *_: "")
    stored = load(record("tiny", tmp_path, "cpu").parent, "tiny")
    assert stored.provenance["basis"]["data"][name].startswith("6b23675b")
    file.unlink()
    assert only_row(tmp_path)[0] == "present"


def test_a_run_that_fails_keeps_its_slices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaking(*arguments: object) -> None:
        tiny_recording.run(*arguments)  # type: ignore[arg-type]
        raise RuntimeError("no space")

    use(monkeypatch, replace(tiny(), run=breaking))  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="no space"):
        record("tiny", tmp_path, "cpu")
    use(monkeypatch, tiny())
    record("tiny", tmp_path, "cpu")
    assert len(tiny_recording.COMPUTED) == SLICES
