"""The command line: what it prints, its exit codes, and no traceback on bad input."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

import taskgroup_core
from taskgroup_core.cli import app
from taskgroup_core.errors import InputError, MissingExtra
from taskgroup_core.runs import carry, notebook_files, notebooks, recordings
from taskgroup_core.runs.provenance import ROOT
from taskgroup_core.runs.store import load
from tests.tiny_recording import tiny

runner = CliRunner()


@pytest.fixture(autouse=True)
def _only_tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recordings, "RECORDINGS", (tiny(),))


def test_plan_lists_status_and_cost(tmp_path: Path) -> None:
    result = runner.invoke(app, ["record", "--plan", "--out", str(tmp_path)])
    head, row = result.stdout.splitlines()
    assert result.exit_code == 0
    assert head.split() == ["name", "status", "minutes", "on", "an", "H100", "GiB", "why"]
    assert row.split() == ["tiny", "missing", "0.01", "0.1", "not", "recorded", "yet"]
    assert list(tmp_path.iterdir()) == []


def test_record_in_slices(tmp_path: Path) -> None:
    command = ["record", "tiny", "--out", str(tmp_path), "--device", "cpu"]
    first = runner.invoke(app, [*command, "--minutes", "0"])
    assert first.exit_code == 75
    assert "about 0.01 minutes" in first.stderr and "run the same command again to go on" in first.stderr
    second = runner.invoke(app, command)
    assert second.exit_code == 0 and "recorded in" in second.stderr
    assert load(tmp_path, "tiny").results["never_measured"] is None
    assert "present" in runner.invoke(app, ["record", "--plan", "--out", str(tmp_path)]).stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["record"], "--plan"),
        (["record", "tyni"], "Recordings: tiny"),
        (["record", "tyni", "--plan"], "NAME: found 'tyni' beside --plan"),
        (["record", "tiny", "--out", "file"], "Not a directory: 'file/tiny.partial'"),
        (["execute", "21", "-p", "scale=paper"], "found scale='paper' among them"),
        (["execute", "21", "--scale", "smoke", "--out", "file"], "Not a directory"),
        (["carry", "file"], "File exists: 'file'"),
        (["carry", "wheels", "--python", "abc"], "python: found 'abc'"),
        (["carry", "wheels", "--python", "3"], "python: found '3'"),
        (["record", "tiny", "--device", "tpu"], "device"),
        (["record", "tiny", "--minutes", "-1"], "minutes"),
        (["execute", "no-such-chapter"], "no-such-chapter"),
        (["execute", "-p", "seed"], "KEY=VALUE"),
        (["execute", "-p", "=3"], "KEY=VALUE"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str], words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")
    result = runner.invoke(app, arguments)
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1 and result.stderr.startswith("error: ") and words in result.stderr
    assert result.stdout == ""
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_full_disk_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    result = runner.invoke(app, ["record", "tiny", "--out", str(tmp_path), "--device", "cpu"])
    assert result.exit_code == 2
    assert "No space left on device: '" in result.stderr and result.stderr.endswith("or name another place.\n")


def test_an_interrupted_execution_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(notebooks, "execute", interrupted)
    result = runner.invoke(app, ["execute", "21"])
    assert result.exit_code == 130
    assert result.stderr == "interrupted: what is finished is kept; run the same command again to go on\n"


def test_unknown_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notebook_files, "find_chapters", list)
    result = runner.invoke(app, ["execute", "--scale", "smal"])
    assert result.exit_code == 2 and "smal" in result.stderr and result.stderr.count("\n") == 1


def test_an_unknown_option_is_an_error() -> None:
    assert runner.invoke(app, ["record", "--fast"]).exit_code == 2


def test_execute_hands_over_what_was_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(notebook_files, "find_chapters", lambda names: [Path(f"{name}.ipynb") for name in names])
    monkeypatch.setattr(notebooks, "execute", lambda *arguments: asked.append(arguments))
    options = ["-p", "seed=3", "-p", "sizes=[1, 2]", "-p", "device=cpu", "-p", "note=a=b", "--force", "--workers", "2"]
    result = runner.invoke(app, ["execute", "01", "04", "--scale", "smoke", "--out", str(tmp_path), *options])
    assert result.exit_code == 0
    values = {"seed": 3, "sizes": [1, 2], "device": "cpu", "note": "a=b"}
    assert asked == [([Path("01.ipynb"), Path("04.ipynb")], "smoke", tmp_path, values, True, 2)]


@pytest.mark.parametrize(
    ("error", "code"),
    [(MissingExtra("papermill", "notebooks"), 2), (notebooks.ChapterFailed("04: cell 3 failed"), 1)],
)
def test_execute_reports_in_one_line(monkeypatch: pytest.MonkeyPatch, error: Exception, code: int) -> None:
    def failing(*arguments: object) -> None:
        raise error

    monkeypatch.setattr(notebook_files, "find_chapters", list)
    monkeypatch.setattr(notebooks, "execute", failing)
    result = runner.invoke(app, ["execute"])
    assert result.exit_code == code and result.stderr == f"error: {error}\n"


def test_version() -> None:
    result = runner.invoke(app, ["version"])
    assert taskgroup_core.__version__ in result.stdout and torch.__version__ in result.stdout


def test_python_m_runs_the_command_line() -> None:
    command = [sys.executable, "-m", "taskgroup_core", "record", "tyni"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("error: ") and "Traceback" not in done.stderr


def test_carry_takes_what_a_bare_machine_lacks() -> None:
    pins = carry.needs(carry.CARRIED, "3.12", frozenset(carry.PRESENT))
    assert {"xarray", "tqdm", "typer"} <= set(pins)
    assert not {"torch", "numpy", "pandas", "colorama"} & set(pins)
    everything = carry.needs((*carry.CARRIED, "pandas"), "3.12")
    assert {"numpy", "pandas", "python-dateutil"} <= set(everything) and pins.items() <= everything.items()


def test_carry_downloads_for_the_other_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    commands: list[list[str]] = []

    def pip(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        folder = Path(command[command.index("--dest") + 1])
        (folder / "xarray-1-py3-none-any.whl").write_bytes(b"wheel")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(carry.subprocess, "run", pip)
    result = runner.invoke(app, ["carry", str(tmp_path / "wheels"), "--python", "3.13"])
    assert result.exit_code == 0 and "xarray-1-py3-none-any.whl" in result.stdout
    (command,) = commands
    assert command[command.index("--python-version") + 1] == "3.13" and "--only-binary=:all:" in command
    assert any(part.startswith("xarray==") for part in command)


def test_carry_without_a_package_or_a_registry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no no-such-package here"):
        carry.needs(("no-such-package",), "3.12")

    def pip(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 1, "", "trying\nERROR: No matching distribution\n")

    monkeypatch.setattr(carry.subprocess, "run", pip)
    result = runner.invoke(app, ["carry", str(tmp_path)])
    assert result.exit_code == 2 and "No matching distribution" in result.stderr
