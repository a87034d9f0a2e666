"""The book rendered: pages, chapters and MathJax staged in one folder, and jupyter-book run on it."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from taskgroup_core.errors import DataError, InputError, MissingExtra
from taskgroup_core.runs.hashes import file_hash
from taskgroup_core.runs.notebook_files import find_chapters
from taskgroup_core.runs.provenance import ROOT

# The package that carries MathJax 3.2.2, and the hash of the one file the book loads: a page asks for nothing else.
MATHJAX_PACKAGE = "sphinx-mathjax-offline"
MATHJAX_FILE = "tex-svg.js"
MATHJAX_SHA256 = "d4295dc33744836935c1399feece5159577b34c5c8ffb9f1c6324cd82e03a882"


class BookFailed(RuntimeError):
    """The book could not be rendered without a warning."""


def stage(site: Path, executed: Path, root: Path = ROOT) -> dict[str, str]:
    """Put what jupyter-book reads into a folder of its own, so that the sources stay as they are.

    Parameters
    ----------
    site : the folder: a new one, an empty one, or that of an earlier site, which is removed.
    executed : folder of executed chapters (see `taskgroup_core.runs.notebooks.execute`).
    root : the checkout with _config.yml, _toc.yml, book/, notebooks/ and data/.

    Returns
    -------
    Chapter name -> the scale whose outputs its page shows: "embedded" where that was executed, else "smoke", which is
    stored in the notebook.

    Raises
    ------
    InputError : the folder holds something else than a site.
    DataError : MathJax is not the pinned file.
    MissingExtra : the package that carries it is absent.
    """
    mathjax, vendored = _mathjax(), site / "_vendored" / "mathjax"
    if not vendored.is_dir() and (site.is_file() or (site.is_dir() and any(site.iterdir()))):
        raise InputError("site", f"{site}, which holds no site", "Name a new folder, or an empty one.")
    shutil.rmtree(site, ignore_errors=True)
    # First of all, since it is what a site is known by. Not into _static: jupyter-book loads all scripts there on every
    # page, so pages with formulas would load it twice.
    vendored.mkdir(parents=True)
    shutil.copy(mathjax, vendored)
    shutil.copytree(root / "book", site / "book", ignore=shutil.ignore_patterns("_static", "__pycache__"))
    shutil.copytree(root / "book" / "_static", site / "_static")
    for name in ("_config.yml", "_toc.yml"):
        shutil.copy(root / name, site)
    for card in (root / "data").rglob("*.md"):  # pages include the data cards
        (site / card.relative_to(root)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(card, site / card.relative_to(root))
    (site / "notebooks").mkdir()
    shown = {}
    for stored in find_chapters(folder=root / "notebooks"):
        copy = executed / "embedded" / stored.name
        shown[stored.stem] = "embedded" if copy.exists() else "smoke"
        shutil.copy(copy if copy.exists() else stored, site / "notebooks")
    return shown


def render(site: Path) -> Path:
    """Build the staged book from nothing, every warning an error, and return its first page.

    Raises
    ------
    BookFailed : jupyter-book warned or failed.
    MissingExtra : jupyter-book is absent.
    """
    program = Path(sys.executable).with_name("jupyter-book")
    if not program.exists():
        raise MissingExtra("jupyter-book", "book")
    command = [str(program), "build", "--all", "-n", "-W", "--keep-going", "--quiet", str(site)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BookFailed(f"jupyter-book ended with status {done.returncode}\n{done.stdout}\n{done.stderr}")
    return site / "_build" / "html" / "index.html"


def _mathjax() -> Path:
    try:
        package = distribution(MATHJAX_PACKAGE)
    except PackageNotFoundError as error:
        raise MissingExtra(MATHJAX_PACKAGE, "book") from error
    for file in package.files or []:
        if file.name == MATHJAX_FILE:
            path = Path(str(package.locate_file(file)))
            if file_hash(path) != MATHJAX_SHA256:
                raise DataError(str(path), "another file than the pinned MathJax", "Install constraints.txt again.")
            return path
    raise DataError(MATHJAX_PACKAGE, f"no {MATHJAX_FILE} in it", "Install constraints.txt again.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Render the book; the command line of this module.

    Returns
    -------
    Exit status: 0, or 1 after an error, which is told on the standard error output.
    """
    parser = argparse.ArgumentParser(prog="python -m taskgroup_core.runs.book", description=__doc__)
    executed, site = ROOT / "build" / "executed", ROOT / "build" / "site"
    parser.add_argument("--executed", type=Path, default=executed, help="folder of the executed chapters")
    parser.add_argument(
        "--site", type=Path, default=site, help="folder of the book: new, empty, or an earlier site, which is DELETED"
    )
    given = parser.parse_args(arguments)
    try:
        for name, scale in stage(given.site.resolve(), given.executed.resolve()).items():
            print(f"{name}: rendering its {scale} outputs", flush=True)
        page = render(given.site.resolve())
    except (InputError, MissingExtra, BookFailed) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"the book: open {page}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
