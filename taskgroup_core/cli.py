"""The command line: `taskgroup`, or `python -m taskgroup_core`."""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from typer.core import TyperGroup

import taskgroup_core
from taskgroup_core.errors import InputError, MissingExtra
from taskgroup_core.problems import download as downloads
from taskgroup_core.problems.catalogue import catalogue, find_dataset
from taskgroup_core.problems.inventory import check_dataset, dataset_folder, presence, total_mib
from taskgroup_core.problems.registry import DataSet, data_folder
from taskgroup_core.problems.transfer_file import Transfer
from taskgroup_core.runs import carry as wheels
from taskgroup_core.runs import recorder
from taskgroup_core.runs.checkpoint import OutOfTime

BAD_INPUT = 2
UNFINISHED = 75  # EX_TEMPFAIL of sysexits.h: no failure, try again
INTERRUPTED = 130


class _OneLineErrors(TyperGroup):
    """Bad input ends in one line on stderr, not in a traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise  # the reader of the output has gone: click ends quietly
        except (InputError, MissingExtra, OSError) as error:
            told = " ".join(str(error).splitlines())
            if isinstance(error, OSError):
                told += ". Make room or allow access there, or name another place."
            typer.echo(f"error: {told}", err=True)
            raise typer.Exit(BAD_INPUT) from error
        except KeyboardInterrupt as error:
            typer.echo("interrupted: what is finished is kept; run the same command again to go on", err=True)
            raise typer.Exit(INTERRUPTED) from error


app = typer.Typer(
    cls=_OneLineErrors,
    help="Which tasks should a neural network learn together?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command()
def record(
    name: Annotated[str | None, typer.Argument(help="A recording; --plan lists them.")] = None,
    plan: Annotated[bool, typer.Option("--plan", help="List all: missing or stale, cost.")] = False,
    out: Annotated[Path, typer.Option(help="Folder of the records.")] = recorder.RECORDED,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    minutes: Annotated[float, typer.Option(help="Begin no slice after that many minutes.")] = 9.0,
    restart: Annotated[bool, typer.Option("--restart", help="Drop finished slices and begin again.")] = False,
) -> None:
    """Make one paper-scale recording, in slices: run the same command again until it is finished."""
    if plan and name is not None:
        raise InputError("NAME", f"{name!r} beside --plan", "Leave one of the two out: --plan lists all recordings.")
    if plan:
        _print_plan(out)
        return
    if name is None:
        raise InputError("NAME", "none", "Name a recording; taskgroup record --plan lists them.")
    again = f"Finished slices are in {out / name}.partial: run the same command again to go on."
    try:
        recorder.record(name, out, device, minutes, restart, tell=_tell)
    except OutOfTime as error:
        typer.echo(f"{name}: {error}. {again}", err=True)
        raise typer.Exit(UNFINISHED) from error
    except KeyboardInterrupt as error:
        typer.echo(f"{name}: interrupted. {again}", err=True)
        raise typer.Exit(INTERRUPTED) from error


@app.command()
def execute(
    names: Annotated[list[str] | None, typer.Argument(help="Beginnings of chapter names; all where none.")] = None,
    scale: Annotated[str, typer.Option(help="smoke, embedded or paper.")] = "embedded",
    out: Annotated[Path, typer.Option(help="Folder of the executed copies.")] = Path("build/executed"),
    parameter: Annotated[
        list[str] | None, typer.Option("--parameter", "-p", metavar="KEY=VALUE", help="A notebook parameter.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Execute even where nothing changed.")] = False,
    workers: Annotated[int, typer.Option(help="Chapters at a time, which share the cores.")] = 1,
) -> None:
    """Execute chapters of the book at a scale; unchanged ones are reused."""
    from taskgroup_core.runs import notebooks
    from taskgroup_core.runs.notebook_files import find_chapters

    values = dict(_key_and_value(text) for text in parameter or [])
    try:
        notebooks.execute(find_chapters(names or []), scale, out, values, force, workers)
    except notebooks.ChapterFailed as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error


@app.command()
def carry(
    folder: Annotated[Path, typer.Argument(help="Where to put the wheels.")],
    python: Annotated[str, typer.Option(help="Version of Python there.")] = "3.12",
) -> None:
    """Download the wheels that a bare machine (torch, numpy, scipy, scikit-learn, pandas, ...) lacks."""
    for path in wheels.carry(folder, python):
        typer.echo(f"{path} ({path.stat().st_size / 2**20:.1f} MiB)")


data = typer.Typer(help="Data sets: which there are, where they lie, download and check.", no_args_is_help=True)
app.add_typer(data, name="data")


@data.command("list")
def list_data() -> None:
    """List the data sets whose files can be fetched or verified: files, size, licence, and whether they are here."""
    table: list[tuple[str, ...]] = [("name", "title", "files", "MiB", "licence", "state")]
    for one in catalogue().values():
        mib, whole = total_mib(one)
        size = f"{mib:.1f}" if whole else f"over {mib:.1f}" if mib else "unknown"
        table.append((one.name, one.title, str(len(one.files)), size, one.licence, presence(one)))
    _print_table(table)


@data.command()
def where(name: Annotated[str | None, typer.Argument(help="A data set.")] = None) -> None:
    """Print the folder of a data set, or that of all."""
    typer.echo(data_folder() if name is None else dataset_folder(find_dataset(name)))


@data.command()
def verify(name: Annotated[str | None, typer.Argument(help="A data set; all where none.")] = None) -> None:
    """Compare sizes and SHA-256 of the files that are here; exit code 1 if one is altered."""
    found = [row for one in _datasets(name) for row in check_dataset(one)]
    for path, state, what in found:
        if name is not None or state != "missing":
            typer.echo(f"{state}: {path}" + (f" ({what})" if what else ""))
    if not any(state != "missing" for _, state, _ in found):
        typer.echo("no file is here")
    if any(state == "altered" for _, state, _ in found):
        raise typer.Exit(1)


@data.command()
def fetch(
    name: Annotated[str, typer.Argument(help="A data set; taskgroup data list shows them.")],
    files: Annotated[list[str] | None, typer.Argument(help="Names or patterns of files; all where none.")] = None,
) -> None:
    """Download what is not here yet of a data set; a cut download goes on where it stopped."""
    downloads.fetch(find_dataset(name), files or [], transfer=Transfer(progress=True), tell=_tell)


def _datasets(name: str | None) -> list[DataSet]:
    return list(catalogue().values()) if name is None else [find_dataset(name)]


@app.command()
def version() -> None:
    """The versions of this package, of Python and of torch."""
    python = platform.python_version()
    typer.echo(f"taskgroup_core {taskgroup_core.__version__}, Python {python}, torch {torch.__version__}")


def _tell(sentence: str) -> None:
    typer.echo(sentence, err=True)


def _print_plan(folder: Path) -> None:
    table: list[tuple[str, ...]] = [("name", "status", "minutes on an H100", "GiB", "why")]
    for row in recorder.plan(folder):
        table.append((row.name, row.status, f"{row.minutes:g}", f"{row.memory_gib:g}", row.reason))
    _print_table(table)


def _print_table(table: list[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for cells in table:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip())


def _key_and_value(text: str) -> tuple[str, Any]:
    """KEY=VALUE taken apart; the value as JSON (3, 0.5, true, [1, 2]), plain text where it is none."""
    key, sign, value = text.partition("=")
    if not (key and sign):
        raise InputError("-p", repr(text), "Write KEY=VALUE, such as -p seed=1.")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value
