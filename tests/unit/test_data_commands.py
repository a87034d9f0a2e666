"""`taskgroup data`: what it prints, its exit codes, and one line on bad input."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import pytest
from typer.testing import CliRunner

from taskgroup_core import problems
from taskgroup_core.cli import app
from taskgroup_core.problems import catalogue, debian, download
from taskgroup_core.problems.inventory import check_dataset
from taskgroup_core.problems.registry import DataFile, DataSet, is_embedded
from taskgroup_core.runs.provenance import ROOT
from tests.serving import Served, serving

runner = CliRunner()
CONTENT = b"0123456789" * 200_000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TASKGROUP_DATA", str(tmp_path))
    return tmp_path


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    with serving(Served(CONTENT)) as one:
        known = DataFile("known.bin", one.address, DIGEST, len(CONTENT))
        toys = (
            DataSet("toy", "two files", "CC0", (known, DataFile("new.bin", one.address))),
            DataSet("locked", "on request", "research only", (DataFile("x.bin"),), "Ask its authors."),
            *debian.DATASETS,
        )
        monkeypatch.setattr(catalogue, "catalogue", lambda: catalogue.check_names(toys))
        monkeypatch.setattr("taskgroup_core.cli.catalogue", catalogue.catalogue)
        yield one


def row(name: str) -> list[str]:
    lines = runner.invoke(app, ["data", "list"]).stdout.splitlines()
    return next(line for line in lines if line.startswith(name)).split()


def test_the_catalogue_holds_every_module_that_has_data_sets() -> None:
    modules = [import_module(f"taskgroup_core.problems.{one.name}") for one in iter_modules(problems.__path__)]
    having = [module for module in modules if hasattr(module, "DATASETS")]
    names = [dataset.name for module in having for dataset in module.DATASETS]
    assert sorted(names) == list(catalogue.catalogue()) and {"blogcatalog", "debian", "snap"} <= set(names)


def test_the_catalogue_holds_every_data_set_that_comes_with_the_project() -> None:
    folders = {path.parent.name for path in (ROOT / "data").glob("*/SHA256SUMS")}
    entries = {name: one for name, one in catalogue.catalogue().items() if is_embedded(name)}
    assert set(entries) == folders and len(folders) == 7
    for one in entries.values():
        checked = check_dataset(one)
        assert {path.name for path, _, _ in checked} == {file.name for file in one.files}
        assert {state for _, state, _ in checked} == {"right"}


def test_list_says_what_is_here(served: Served, folder: Path) -> None:
    head = runner.invoke(app, ["data", "list"]).stdout.splitlines()[0]
    assert head.split() == ["name", "title", "files", "MiB", "licence", "state"]
    assert row("toy") == ["toy", "two", "files", "2", "over", "1.9", "CC0", "missing"]
    assert row("locked")[-1] == "missing" and "unknown" in row("locked")
    assert row("debian")[-1] == "embedded" and "0.3" in row("debian")
    (folder / "toy").mkdir()
    (folder / "toy" / "known.bin").write_bytes(CONTENT)
    assert row("toy")[-4:] == ["partial", "(1", "of", "2)"]
    (folder / "toy" / "new.bin").write_bytes(CONTENT)
    assert row("toy")[-3:] == ["3.8", "CC0", "here"]


def test_where(served: Served, folder: Path) -> None:
    assert runner.invoke(app, ["data", "where"]).stdout == f"{folder}\n"
    assert runner.invoke(app, ["data", "where", "toy"]).stdout == f"{folder / 'toy'}\n"
    shipped = Path(runner.invoke(app, ["data", "where", "debian"]).stdout.strip())
    assert (shipped / "SHA256SUMS").is_file() and shipped.name == "debian"


def test_fetch_then_verify(served: Served, folder: Path) -> None:
    fetched = runner.invoke(app, ["data", "fetch", "toy"])
    assert fetched.exit_code == 0, fetched.stderr
    assert "known.bin: downloaded, its checksum is right" in fetched.stderr
    assert "new.bin: downloaded. no checksum was known" in fetched.stderr and fetched.stdout == ""
    verified = runner.invoke(app, ["data", "verify", "toy"])
    assert verified.exit_code == 0
    assert verified.stdout.splitlines() == [f"right: {folder}/toy/known.bin", f"right: {folder}/toy/new.bin"]
    everything = runner.invoke(app, ["data", "verify"]).stdout
    assert "debian/edges.parquet" in everything and "x.bin" not in everything


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("known.bin", CONTENT[:-1], "1,999,999 bytes in place of 2,000,000"),
        ("known.bin", CONTENT[:-1] + b"!", "not the official one"),
        ("new.bin", CONTENT[:-1], "not that of its first download"),
    ],
)
def test_verify_finds_what_is_altered(served: Served, folder: Path, name: str, content: bytes, words: str) -> None:
    runner.invoke(app, ["data", "fetch", "toy"])
    (folder / "toy" / name).write_bytes(content)
    for arguments in (["toy"], []):
        done = runner.invoke(app, ["data", "verify", *arguments])
        assert done.exit_code == 1 and words in done.stdout and done.stdout.count("altered") == 1


def test_verify_without_files_and_without_checksums(served: Served, folder: Path) -> None:
    missing = runner.invoke(app, ["data", "verify", "locked"])
    assert missing.exit_code == 0 and "missing" in missing.stdout and "no file is here" in missing.stdout
    (folder / "locked").mkdir()
    (folder / "locked" / "x.bin").write_bytes(b"x")
    unchecked = runner.invoke(app, ["data", "verify", "locked"])
    assert unchecked.exit_code == 0 and "no checksum is known" in unchecked.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fetch", "tyo"], "Did you mean 'toy'?"),
        (["fetch", "toy", "*.zip"], "FILES: found '*.zip'"),
        (["fetch", "locked"], "Ask its authors."),
        (["fetch", "debian"], "comes with the project"),
        (["where", "nowhere"], "Use one of debian, locked, toy"),
        (["verify", "nothing"], "taskgroup data list shows all"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(served: Served, arguments: list[str], words: str) -> None:
    result = runner.invoke(app, ["data", *arguments])
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1 and result.stderr.startswith("error: ") and words in result.stderr


def test_a_failed_download_is_one_line(served: Served) -> None:
    served.statuses = [404]
    result = runner.invoke(app, ["data", "fetch", "toy", "known.bin"])
    assert result.exit_code == 2 and "404" in result.stderr and result.stderr.count("\n") == 1


def test_an_interrupted_download_says_how_to_go_on(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(download, "fetch", interrupted)
    result = runner.invoke(app, ["data", "fetch", "toy"])
    assert result.exit_code == 130 and "to go on" in result.stderr
