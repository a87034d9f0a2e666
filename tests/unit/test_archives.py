"""Archives that are in order: read without unpacking, and unpacked."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from taskgroup_core.problems.checked_zip import CheckedZip
from taskgroup_core.problems.unpack import unpack

FILES = {"faces/1.jpg": b"one" * 1000, "faces/2.jpg": b"two", "notes.txt": b"", "./deep/er/x": b"x"}


def write_zip(path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir("faces")
        for name, content in FILES.items():
            archive.writestr(name, content)
    return path


def write_tar(path: Path) -> Path:
    with tarfile.open(path, f"w:{path.suffix[1:] if path.suffix != '.tar' else ''}") as archive:
        folder = tarfile.TarInfo("faces")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, content in FILES.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def write(path: Path) -> Path:
    return write_zip(path) if path.suffix == ".zip" else write_tar(path)


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.tar.bz2", "a.tar.xz"])
def test_all_files_are_unpacked(tmp_path: Path, name: str) -> None:
    paths = unpack(write(tmp_path / name), tmp_path / "out")
    assert paths == [tmp_path / "out" / name for name in FILES]
    assert [path.read_bytes() for path in paths] == list(FILES.values())
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "out"])


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
