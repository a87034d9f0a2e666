"""Downloads that must fail: with one clear error, and with nothing under the file's name."""

from __future__ import annotations

import errno
import hashlib
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskgroup_core.errors import DataError, InputError
from taskgroup_core.problems.catalogue import check_names, find_dataset
from taskgroup_core.problems.download import fetch
from taskgroup_core.problems.inventory import check_dataset, check_file, record_path
from taskgroup_core.problems.registry import DataFile, DataSet, locate
from taskgroup_core.problems.transfer_file import Transfer
from tests.serving import Served, serving

CONTENT = b"0123456789" * 100_000
DIGEST = hashlib.sha256(CONTENT).hexdigest()
QUICK = Transfer(attempts=2, pause=0.0, timeout=5.0)


@pytest.fixture
def served() -> Iterator[Served]:
    with serving(Served(CONTENT)) as one:
        yield one


def toy(address: str | None, sha256: str | None = DIGEST, size: int | None = None, how: str = "") -> DataSet:
    return DataSet("toy", "a toy", "none", (DataFile("file.bin", address, sha256, size),), how)


def fail(dataset: DataSet, folder: Path, words: str) -> DataError:
    with pytest.raises(DataError, match=words) as caught:
        fetch(dataset, folder=folder, transfer=QUICK)
    assert not (folder / "file.bin").exists()
    assert [path.name for path in folder.glob("tmp*")] == []
    return caught.value


def test_wrong_content_is_refused(served: Served, tmp_path: Path) -> None:
    served.content = CONTENT[:-1] + b"!"
    fail(toy(served.address), tmp_path, "SHA-256 is not the official one")
    assert list(tmp_path.iterdir()) == []
    assert len(served.seen) == 1


def test_a_page_in_place_of_the_file(served: Served, tmp_path: Path) -> None:
    served.content = b"<html>Please log in</html>"
    fail(toy(served.address, size=len(CONTENT)), tmp_path, "a file of 26 bytes in place of 1,000,000")


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_file_that_the_server_refuses(served: Served, tmp_path: Path, status: int) -> None:
    served.statuses = [status] * 5
    fail(toy(served.address), tmp_path, f"the answer {status}")
    assert len(served.seen) == 1  # asking again would not help


def test_a_server_that_stays_busy(served: Served, tmp_path: Path) -> None:
    served.statuses = [503] * 5
    fail(toy(served.address), tmp_path, "no complete transfer in 2 attempts")
    assert len(served.seen) == 2


def test_a_connection_cut_every_time(served: Served, tmp_path: Path) -> None:
    served.cuts = [1000] * 5
    fail(toy(served.address), tmp_path, "cut after 2,000 of 1,000,000 bytes.*goes on after the 2,000 bytes")
    assert (tmp_path / "file.bin.part").read_bytes() == CONTENT[:2000]


def test_no_server_at_all(served: Served, tmp_path: Path) -> None:
    with serving(Served(b"")) as gone:
        pass
    fail(toy(gone.address), tmp_path, "no complete transfer.*refused")


@pytest.mark.parametrize("address", ["file:///etc/hostname", "ftp://127.0.0.1/x"])
def test_an_address_that_is_not_http(tmp_path: Path, address: str) -> None:
    fail(toy(address), tmp_path, "not http")


def test_a_file_that_is_here_but_altered_is_not_overwritten(served: Served, tmp_path: Path) -> None:
    (tmp_path / "file.bin").write_bytes(b"mine")
    with pytest.raises(DataError, match="Remove it, then run: taskgroup data fetch toy"):
        fetch(toy(served.address), folder=tmp_path, transfer=QUICK)
    assert (tmp_path / "file.bin").read_bytes() == b"mine" and served.seen == []


def test_what_cannot_be_downloaded_says_how_to_get_it_after_the_rest(served: Served, tmp_path: Path) -> None:
    files = (DataFile("by-hand.bin"), DataFile("file.bin", served.address, DIGEST))
    dataset = DataSet("toy", "a toy", "research only", files, "Ask its authors.")
    with pytest.raises(DataError, match=r"by-hand\.bin, which cannot be downloaded automatically.*Ask its authors"):
        fetch(dataset, folder=tmp_path, transfer=QUICK)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    with pytest.raises(DataError, match="Ask its authors"):
        locate(dataset, "by-hand.bin", tmp_path)
    with pytest.raises(DataError, match=r"taskgroup data fetch toy file\.bin"):
        locate(dataset, "file.bin", tmp_path / "elsewhere")


def test_a_folder_that_is_a_file(served: Served, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(DataError, match="TASKGROUP_DATA"):
        fetch(toy(served.address), folder=tmp_path / "taken" / "toy", transfer=QUICK)


def test_a_full_disk(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Transfer, "_stream", full)
    fail(toy(served.address), tmp_path, "No space left on device. Make room there")


def test_a_folder_where_the_file_or_its_part_goes(served: Served, tmp_path: Path) -> None:
    (tmp_path / "a" / "file.bin.part").mkdir(parents=True)
    fail(toy(served.address), tmp_path / "a", r"file\.bin\.part: found a folder")
    (tmp_path / "b" / "file.bin").mkdir(parents=True)
    with pytest.raises(DataError, match=r"file\.bin: found a folder in place of a file"):
        fetch(toy(served.address), folder=tmp_path / "b", transfer=QUICK)
    assert list((tmp_path / "b" / "file.bin").iterdir()) == []


def test_a_disk_that_is_full_when_a_checksum_is_kept(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(path: Path, *_: object, **__: object) -> None:
        path.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    unknown = toy(served.address, sha256=None)
    (tmp_path / "file.bin").write_bytes(CONTENT)
    with monkeypatch.context() as patched, pytest.raises(DataError, match="No space left on device"):
        patched.setattr(Path, "write_text", cut)
        fetch(unknown, folder=tmp_path, transfer=QUICK)
    assert not record_path(tmp_path / "file.bin").exists()
    for damaged in ("", "abc", DIGEST):
        record_path(tmp_path / "file.bin").write_text(damaged)
        assert check_file(unknown.files[0], tmp_path / "file.bin")[0] == "unchecked"
    fetch(unknown, folder=tmp_path, transfer=QUICK)
    assert check_file(unknown.files[0], tmp_path / "file.bin")[0] == "right"


def test_bad_names(served: Served, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"FILES: found 'x\*'. The files of toy are file\.bin"):
        fetch(toy(served.address), ["x*"], folder=tmp_path)
    with pytest.raises(InputError, match="comes with the project"):
        fetch(find_dataset("debian"))
    with pytest.raises(InputError, match="Did you mean 'debian'"):
        find_dataset("debina")
    with pytest.raises(InputError, match=r"name: found 'none'. Use one of file\.bin"):
        toy(None, how="Ask.").file("none")


def test_entries_that_contradict_each_other() -> None:
    one = toy("http://127.0.0.1/")
    with pytest.raises(InputError, match="two data sets named 'toy'"):
        check_names([one, one])
    with pytest.raises(InputError, match="two files of 'toy'"):
        check_names([DataSet("toy", "", "", one.files * 2)])
    with pytest.raises(InputError, match="no address and no `how` in 'toy'"):
        check_names([toy(None)])


def test_an_embedded_folder_without_checksums(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKGROUP_DATA", str(tmp_path))
    (tmp_path / "debian").mkdir()
    with pytest.raises(DataError, match="SHA256SUMS: found no such file"):
        check_dataset(find_dataset("debian"))


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ((), "found 0 members named file.bin"),
        (("a/file.bin", "b/file.bin"), "found 2 members named file.bin"),
        (("../file.bin",), "a name that leads out of the folder"),
        (("a/file.bin",), "a/file.bin.*found its SHA-256 is not the official one"),
        (None, "a truncated, altered or unreadable archive"),
    ],
)
def test_an_archive_without_the_file(
    served: Served, tmp_path: Path, members: tuple[str, ...] | None, words: str
) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in members or ("a/file.bin",):
            archive.writestr(name if members != () else "other", b"content")
    served.content = packed.getvalue() if members is not None else packed.getvalue()[:-30]
    file = DataFile("file.bin", f"{served.address}/a.zip", DIGEST, archived=True)
    error = fail(DataSet("toy", "a toy", "none", (file,)), tmp_path, words)
    assert error.remedy.startswith("Remove a.zip, then run the same command again")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "a.zip.sha256"]
