"""Archives of which nothing must be read: the error names the archive and the member."""

from __future__ import annotations

import stat
import zipfile
from pathlib import Path

import pytest

from taskgroup_core.errors import DataError, InputError
from taskgroup_core.problems.checked_zip import CheckedZip

GOOD = ("good.txt", b"good")
BAD_NAMES = ["/etc/evil", "../evil", "a/../../evil", "C:/evil", "c:evil", "a\\..\\evil", "..", "//evil"]


def write_zip(path: Path, *members: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (GOOD, *members):
            archive.writestr(name, content)
    return path


def refuse(path: Path, words: str, **bounds: int) -> None:
    with pytest.raises(DataError, match=words) as caught, CheckedZip(path, **bounds) as archive:
        for name in archive.names:
            archive.read(name)
    assert str(path) in caught.value.argument
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_names_that_lead_out_of_the_folder(tmp_path: Path, name: str) -> None:
    refuse(write_zip(tmp_path / "a.zip", (name, b"evil")), "a name that leads out of the folder")


def test_a_name_that_is_empty(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", ("~", b"evil"))
    path.write_bytes(path.read_bytes().replace(b"~", b"\0"))
    refuse(path, "a name that leads out of the folder, or is none")


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", ["good.txt", "./good.txt", "good.txt/", "good.txt/below"])
def test_a_name_that_is_there_twice(tmp_path: Path, name: str) -> None:
    refuse(write_zip(tmp_path / "a.zip", (name, b"again")), r"a second member of that name|is a file")


def test_a_file_where_a_folder_is(tmp_path: Path) -> None:
    refuse(write_zip(tmp_path / "a.zip", ("a/b", b"1"), ("a", b"2")), "member 'a': found a second member")


def zip_member(mode: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("odd")
    info.create_system, info.external_attr = 3, mode << 16
    return info


@pytest.mark.parametrize("mode", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO, stat.S_IFBLK])
def test_links_and_devices_in_a_zip(tmp_path: Path, mode: int) -> None:
    refuse(write_zip(tmp_path / "a.zip", (zip_member(mode | 0o777), b"/etc/passwd")), "'odd': found a link or a device")


def test_more_than_the_bounds(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb", bytes(10_000_000))
    assert path.stat().st_size < 20_000
    refuse(path, "'bomb': found more than 1,000,000 bytes", max_bytes=1_000_000)
    refuse(write_zip(path, ("a", b""), ("b", b"")), "2 members", max_members=2)


def test_more_content_than_announced(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("liar", bytes(100_000))
    raw = path.read_bytes()
    assert raw.count((100_000).to_bytes(4, "little")) == 2  # the member's header and the list of members
    path.write_bytes(raw.replace((100_000).to_bytes(4, "little"), (10).to_bytes(4, "little")))
    refuse(path, "'liar': found a truncated, altered or unreadable archive")
    with CheckedZip(path) as archive, pytest.raises(DataError, match="liar"):
        archive.read("liar")


def test_an_encrypted_member(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", ("secret", b"content"))
    raw = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        raw[raw.rindex(mark) + offset] |= 1
    path.write_bytes(raw)
    refuse(path, "'secret': found an encrypted file")


@pytest.mark.parametrize("keep", [0, 0.3, 0.6])
def test_a_truncated_archive(tmp_path: Path, keep: float) -> None:
    path = write_zip(tmp_path / "a.zip", ("more", bytes(range(256)) * 400))
    raw = path.read_bytes()
    path.write_bytes(raw[: int(keep * len(raw))])
    refuse(path, "a truncated")


def test_altered_content(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", ("more", b"m" * 512))
    path.write_bytes(path.read_bytes().replace(b"mmmm", b"mmMm", 1))
    refuse(path, "'more': found a truncated, altered or unreadable archive")


def test_no_archive_and_no_member(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.zip: found no such file"):
        CheckedZip(tmp_path / "none.zip")
    (tmp_path / "text.zip").write_text("no archive")
    with pytest.raises(DataError, match="not a zip file"):
        CheckedZip(tmp_path / "text.zip")
    with pytest.raises(DataError, match="found a folder"):
        CheckedZip(tmp_path)
    with CheckedZip(write_zip(tmp_path / "a.zip")) as archive, pytest.raises(InputError, match="has no such member"):
        archive.read("other")
