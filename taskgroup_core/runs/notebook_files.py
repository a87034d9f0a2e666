"""Notebooks as files: found, read, asked for their parameters, their stored outputs renewed."""

from __future__ import annotations

import ast
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from taskgroup_core.errors import DataError, InputError, MissingExtra
from taskgroup_core.runs.provenance import ROOT
from taskgroup_core.runs.store import write_atomically

if TYPE_CHECKING:
    from nbformat import NotebookNode

NOTEBOOKS = ROOT / "notebooks"
# Without this every kernel warns that it talks over local TCP, and some report the interruption by which an idle kernel
# is told to end. What fails in a cell comes back as its output.
QUIET = ["--log-level=CRITICAL"]
DIED = "its kernel died, as one does that is out of memory"


class ChapterFailed(RuntimeError):
    """A cell of a chapter that raised an error, or a kernel that died; the message names the chapter and the error."""


def find_chapters(names: Sequence[str] = (), folder: Path = NOTEBOOKS) -> list[Path]:
    """The notebooks of a folder whose names begin with one of `names` (all where empty), in order.

    Raises
    ------
    InputError : a name that no notebook begins with, or a folder without notebooks.
    """
    chapters = sorted(folder.glob("*.ipynb"))
    for name in names or [""]:
        if not any(path.stem.startswith(name) for path in chapters):
            known = ", ".join(path.stem for path in chapters) or "none there"
            raise InputError("chapter", repr(name), f"Chapters: {known}.")
    return [path for path in chapters if any(path.stem.startswith(name) for name in names or [""])]


def read_notebook(path: Path) -> NotebookNode:
    """Read a notebook.

    Raises
    ------
    DataError : the file is missing, cannot be read or is no notebook.
    MissingExtra : nbformat is absent.
    """
    try:
        import nbformat
    except ImportError as error:
        raise MissingExtra("nbformat", "notebooks") from error
    try:
        notebook: NotebookNode = nbformat.read(path, as_version=4)
    except FileNotFoundError as error:
        raise DataError(str(path), "no such file", "Name a notebook that exists.") from error
    except (OSError, ValueError, nbformat.ValidationError, AttributeError, KeyError) as error:
        raise DataError(str(path), "something that is no notebook", "Restore the file.") from error
    return notebook


def declared_parameters(path: Path, notebook: NotebookNode) -> list[str]:
    """Names that the notebook's parameters cell assigns, in order.

    Raises
    ------
    DataError : not exactly one code cell has the tag "parameters", or that cell is no Python.
    """
    cells = [cell for cell in notebook["cells"] if "parameters" in cell["metadata"].get("tags", [])]
    if len(cells) != 1 or cells[0]["cell_type"] != "code":
        raise DataError(str(path), f"{len(cells)} parameters cells", 'Tag one code cell "parameters".')
    try:
        statements = ast.parse(cells[0]["source"]).body
    except SyntaxError as error:
        raise DataError(str(path), f"a parameters cell that is no Python ({error})", "Mend the cell.") from error
    return [name.id for statement in statements for name in _targets(statement)]


def store_outputs(path: Path) -> float:
    """Run a notebook with its own defaults and store the outputs in place, without timestamps, for nbval to compare.

    Returns
    -------
    Wall time in seconds.

    Raises
    ------
    ChapterFailed : a cell raised an error, or the kernel died; the file is left as it was.
    MissingExtra : nbclient is absent.
    """
    notebook = read_notebook(path)
    try:
        import nbformat
        from nbclient import NotebookClient
        from nbclient.exceptions import CellExecutionError, DeadKernelError
    except ImportError as error:
        raise MissingExtra("nbclient", "notebooks") from error
    where = {"metadata": {"path": str(path.resolve().parent)}}
    client = NotebookClient(
        notebook, timeout=None, kernel_name="python3", record_timing=False, resources=where, extra_arguments=QUIET
    )
    started = time.monotonic()
    try:
        client.execute()
    except CellExecutionError as error:
        raise ChapterFailed(f"{path.stem}: {error}") from error
    except DeadKernelError as error:
        raise ChapterFailed(f"{path.stem}: {DIED}") from error
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook["metadata"] = {"kernelspec": kernel, "language_info": {"name": "python"}}
    write_atomically(path, (nbformat.writes(notebook) + "\n").encode())
    return time.monotonic() - started


def _targets(statement: ast.stmt) -> list[ast.Name]:
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    return [target for target in targets if isinstance(target, ast.Name)]


def main(names: Sequence[str]) -> int:
    """Store the outputs of chapters anew; the command line of this module.

    Returns
    -------
    Exit status: 0, or 1 after an error, which is told on the standard error output.
    """
    try:
        for chapter in find_chapters(names):
            print(f"{chapter.stem}: outputs stored in {store_outputs(chapter):.0f} s", flush=True)
    except (InputError, MissingExtra, ChapterFailed, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
