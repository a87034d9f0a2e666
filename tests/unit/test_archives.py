"""Archives that are in order are read without unpacking."""

from __future__ import annotations

import zipfile
from pathlib import Path

from taskgroup_core.problems.checked_zip import CheckedZip

FILES = {"faces/1.jpg": b"one" * 1000, "faces/2.jpg": b"two", "notes.txt": b"", "./deep/er/x": b"x"}


def write_zip(path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir("faces")
        for name, content in FILES.items():
            archive.writestr(name, content)
    return path


def test_members_are_read_without_unpacking(tmp_path: Path) -> None:
    with CheckedZip(write_zip(tmp_path / "a.zip")) as archive:
        assert archive.names == tuple(FILES)
        assert {name: archive.read(name) for name in archive.names} == FILES
        with archive.open("faces/1.jpg") as file:
            assert file.read(3) == b"one" and file.seekable()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip"]


def test_bounds_are_met_exactly(tmp_path: Path) -> None:
    size = sum(map(len, FILES.values()))
    path = write_zip(tmp_path / "a.zip")
    assert len(CheckedZip(path, max_bytes=size, max_members=len(FILES) + 1).names) == len(FILES)
