"""Downloads from a server on this machine: whole, cut, resumed, remembered."""

from __future__ import annotations

import hashlib
import io
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import pytest

from taskgroup_core.errors import DataError, MissingExtra
from taskgroup_core.problems import transfer_file
from taskgroup_core.problems.catalogue import catalogue
from taskgroup_core.problems.download import fetch
from taskgroup_core.problems.inventory import check_file, record_path
from taskgroup_core.problems.registry import DataFile, DataSet, data_folder, locate
from taskgroup_core.problems.transfer_file import Transfer
from taskgroup_core.problems.wic import WIC, load_wic
from tests.serving import Served, serving

CONTENT = bytes(range(256)) * 4096  # 1 MiB: four blocks
DIGEST = hashlib.sha256(CONTENT).hexdigest()
QUICK = Transfer(attempts=3, pause=0.0, timeout=5.0)


@pytest.fixture
def served() -> Iterator[Served]:
    with serving(Served(CONTENT)) as one:
        yield one


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TASKGROUP_DATA", str(tmp_path / "data"))
    return tmp_path / "data" / "toy"


def toy(served: Served, sha256: str | None = DIGEST, size: int | None = len(CONTENT)) -> DataSet:
    return DataSet("toy", "a toy", "none", (DataFile("file.bin", served.address, sha256, size),))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_whole_file_arrives_and_is_found(served: Served, folder: Path) -> None:
    told: list[str] = []
    assert fetch(toy(served), transfer=QUICK, tell=told.append) == [folder / "file.bin"]
    assert locate(toy(served), "file.bin").read_bytes() == CONTENT
    assert names(folder) == ["file.bin"] and data_folder() == folder.parent
    assert told == ["file.bin: downloaded, its checksum is right"]


def test_what_is_here_is_not_asked_for_again(served: Served) -> None:
    told: list[str] = []
    fetch(toy(served), transfer=QUICK)
    fetch(toy(served), transfer=QUICK, tell=told.append)
    assert served.seen == [None] and told == ["file.bin: here already, its checksum is right"]


def test_a_cut_transfer_goes_on_where_it_stopped(served: Served, folder: Path) -> None:
    served.cuts = [300_000, 100_000]
    fetch(toy(served), transfer=QUICK)
    assert served.seen == [None, "bytes=300000-", "bytes=400000-"]
    assert (folder / "file.bin").read_bytes() == CONTENT and names(folder) == ["file.bin"]


def test_the_next_run_goes_on_too(served: Served, folder: Path) -> None:
    served.cuts = [300_000]
    with pytest.raises(ValueError, match="300,000 bytes that are here"):
        fetch(toy(served), transfer=Transfer(attempts=1))
    assert names(folder) == ["file.bin.part", "file.bin.part.version"]
    fetch(toy(served), transfer=QUICK)
    assert served.seen[-1] == "bytes=300000-" and names(folder) == ["file.bin"]


def test_a_server_that_ignores_ranges_is_read_from_the_beginning(served: Served, folder: Path) -> None:
    served.cuts, served.ranges = [300_000], False
    fetch(toy(served), transfer=QUICK)
    assert served.seen == [None, "bytes=300000-"] and (folder / "file.bin").read_bytes() == CONTENT


def test_a_file_that_changed_meanwhile_is_read_from_the_beginning(served: Served, folder: Path) -> None:
    served.cuts = [300_000]
    unknown = toy(served, None, None)
    with pytest.raises(ValueError, match="no complete transfer"):
        fetch(unknown, transfer=Transfer(attempts=1))
    served.content, served.tag = CONTENT[::-1], '"two"'
    fetch(unknown, transfer=QUICK)
    assert (folder / "file.bin").read_bytes() == CONTENT[::-1]


def test_without_version_and_checksum_a_part_is_not_trusted(served: Served, folder: Path) -> None:
    served.cuts, served.tag = [300_000], None
    fetch(toy(served, None, None), transfer=QUICK)
    assert served.seen == [None, None] and (folder / "file.bin").read_bytes() == CONTENT


@pytest.mark.parametrize("left", [b"\0" * 300_000, b"\0" * len(CONTENT), b"\0" * 2 * len(CONTENT)])
@pytest.mark.parametrize("size", [None, len(CONTENT)])
def test_a_part_that_is_not_its_beginning_is_thrown_away(
    served: Served, folder: Path, left: bytes, size: int | None
) -> None:
    folder.mkdir(parents=True)
    (folder / "file.bin.part").write_bytes(left)
    fetch(toy(served, size=size), transfer=QUICK)
    assert (folder / "file.bin").read_bytes() == CONTENT and names(folder) == ["file.bin"]


def test_a_server_without_lengths(served: Served, folder: Path) -> None:
    served.length = False
    served.cuts = [300_000]
    fetch(toy(served), transfer=QUICK)
    assert (folder / "file.bin").read_bytes() == CONTENT


def test_a_busy_server_is_asked_again(served: Served) -> None:
    served.statuses = [503, 429]
    fetch(toy(served), transfer=QUICK)
    assert served.seen == [None, None, None]


def test_a_slow_server_is_waited_for_and_a_stalled_one_is_left(served: Served, folder: Path) -> None:
    served.cuts, served.stall = [300_000], 0.6
    fetch(toy(served), transfer=Transfer(attempts=2, pause=0.0, timeout=0.3))
    assert served.seen == [None, "bytes=300000-"] and (folder / "file.bin").read_bytes() == CONTENT


def test_an_interrupt_leaves_the_part_for_the_next_time(
    served: Served, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted(transfer_file.tqdm):
        def update(self, *_: object) -> None:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(transfer_file, "tqdm", Interrupted)
        fetch(toy(served), transfer=QUICK)
    assert names(folder) == ["file.bin.part", "file.bin.part.version"]
    kept = (folder / "file.bin.part").stat().st_size
    assert 0 < kept < len(CONTENT)
    fetch(toy(served), transfer=QUICK)
    assert served.seen == [None, f"bytes={kept}-"] and (folder / "file.bin").read_bytes() == CONTENT


def test_an_unknown_checksum_is_remembered_and_compared_later(served: Served, folder: Path) -> None:
    told: list[str] = []
    unknown = toy(served, None, None)
    fetch(unknown, transfer=QUICK, tell=told.append)
    assert "no checksum was known" in told[0] and DIGEST[:12] in told[0]
    assert record_path(folder / "file.bin").read_text() == f"{DIGEST}  file.bin\n"
    assert check_file(unknown.files[0], folder / "file.bin") == ("right", "")
    (folder / "file.bin").write_bytes(CONTENT[:-1] + b"!")
    assert check_file(unknown.files[0], folder / "file.bin")[0] == "altered"


def test_a_file_put_there_by_hand_is_remembered_too(served: Served, folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "file.bin").write_bytes(CONTENT)
    unknown = toy(served, None, None)
    assert check_file(unknown.files[0], folder / "file.bin")[0] == "unchecked"
    fetch(unknown, transfer=QUICK)
    assert check_file(unknown.files[0], folder / "file.bin")[0] == "right" and served.seen == []


def test_patterns_choose_among_several_files(served: Served, folder: Path) -> None:
    files = tuple(DataFile(f"sub/{name}.bin", served.address, DIGEST) for name in ("a", "b", "c"))
    dataset = DataSet("toy", "a toy", "none", files)
    assert fetch(dataset, ["*/a.*", "sub/c.bin"], transfer=QUICK) == [folder / "sub/a.bin", folder / "sub/c.bin"]
    assert names(folder / "sub") == ["a.bin", "c.bin"]


def test_progress_is_text_on_stderr(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    fetch(toy(served), transfer=Transfer(progress=True))
    shown = capsys.readouterr()
    assert "file.bin" in shown.err and "1.00M" in shown.err and shown.out == ""


def test_pooch_is_an_extra(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(MissingExtra, match=r"taskgroup_core\[data\]"):
        fetch(toy(served), transfer=QUICK)


WIC_ROWS = {"data": "bank\tN\t0-1\tbank holiday\tthe bank\n", "gold": "F\n"}


def write_wic() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("README.txt", "word in context")
        for split in ("train", "dev", "test"):
            for kind, text in WIC_ROWS.items():
                archive.writestr(f"{split}/{split}.{kind}.txt", text)
                archive.writestr(f"__MACOSX/{split}/._{split}.{kind}.txt", "not this one")
    return packed.getvalue()


def test_a_data_set_in_an_archive_ends_as_files_that_its_loader_reads(served: Served, folder: Path) -> None:
    served.content = write_wic()
    address = served.address + "/WiC_dataset.zip?version=1"
    dataset = replace(WIC, files=tuple(replace(file, address=address) for file in WIC.files))
    place, told = folder.parent / "wic", []
    assert fetch(dataset, transfer=QUICK, tell=told.append) == [place / file.name for file in WIC.files]
    assert served.seen == [None]  # one transfer for six files
    assert told[0].startswith("train.data.txt: taken out of WiC_dataset.zip. no checksum was known")
    pairs = load_wic()
    assert len(pairs) == 3 and pairs.pair(0) == {"word": "bank", "sentence1": "bank holiday", "sentence2": "the bank"}
    assert not [name for name in names(place) if name.endswith(".part")]
    (place / "dev.gold.txt").write_text("T\n")
    with pytest.raises(DataError, match="not that of its first download"):
        fetch(dataset, transfer=QUICK)


def test_the_checksum_of_a_file_in_an_archive_is_its_own(served: Served, folder: Path) -> None:
    served.content = write_wic()
    digest = hashlib.sha256(WIC_ROWS["gold"].encode()).hexdigest()
    file = DataFile("dev.gold.txt", served.address + "/a.zip", digest, 2, archived=True)
    told: list[str] = []
    fetch(DataSet("toy", "a toy", "none", (file,)), transfer=QUICK, tell=told.append)
    assert told == ["dev.gold.txt: taken out of a.zip, its checksum is right"]
    assert (folder / "dev.gold.txt").read_text() == WIC_ROWS["gold"]


def test_every_file_of_the_registry_is_what_its_loader_reads() -> None:
    """An address that is an archive, in an entry that is not one, would leave its reader with a file to unpack."""
    for dataset in catalogue().values():
        for file in dataset.files:
            suffix = PurePosixPath(urlsplit(file.address or "").path).suffix
            assert file.archived == (suffix in (".zip", ".tar", ".tgz")), file
            assert file.archived or not file.address or suffix == PurePosixPath(file.name).suffix
