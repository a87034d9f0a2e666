"""Sphinx extension: what pages say about the package and its runs is read from them when the book is built."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import typer
from docstrings import as_markdown, as_rst, sections
from sphinx.application import Sphinx
from sphinx.config import Config

import taskgroup_core
from taskgroup_core import cli
from taskgroup_core.runs import recorder, recordings

# scikit-learn gives these to every estimator; they are about passing metadata on, which nothing here does.
SKIPPED = "set_fit_request, set_predict_request, set_score_request, set_transform_request"


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the hooks."""
    app.connect("config-inited", _serve_vendored)
    app.connect("source-read", _insert)
    app.connect("autodoc-process-docstring", _format)
    # After sphinx_thebe's own hook (default priority 500): this book runs no code in the browser.
    app.connect("html-page-context", _drop_thebe, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _serve_vendored(app: Sphinx, config: Config) -> None:
    # Named here and not in _config.yml: of the folders named there, jupyter-book loads every script on every page.
    config.html_static_path.append("_vendored")


def _insert(app: Sphinx, docname: str, source: list[str]) -> None:
    tables: dict[str, Callable[[Path], str]] = {
        "api": _api,
        "chapters": _chapters,
        "commands": _commands,
        "methods": _methods,
        "recordings": _recordings,
    }
    for name, table in tables.items():
        mark = f"<!-- insert: {name} -->"
        if mark in source[0]:
            source[0] = source[0].replace(mark, table(Path(app.srcdir)))


def _format(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    lines[:] = as_rst("\n".join(lines))


def _drop_thebe(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: object) -> None:
    scripts = context.get("script_files", [])
    context["script_files"] = [
        script
        for script in scripts
        if "thebe" not in (getattr(script, "filename", None) or getattr(script, "attributes", {}).get("body") or "")
    ]


def _modules() -> Iterator[Any]:
    for found in pkgutil.walk_packages(taskgroup_core.__path__, "taskgroup_core."):
        if found.name not in ("taskgroup_core.__main__", "taskgroup_core.cli"):
            yield importlib.import_module(found.name)


def _api(srcdir: Path) -> str:
    parts = []
    for module in _modules():
        level = "##" if hasattr(module, "__path__") or module.__name__.count(".") == 1 else "###"
        options = f"   :members:\n   :ignore-module-all:\n   :exclude-members: {SKIPPED}"
        directive = f"```{{eval-rst}}\n.. automodule:: {module.__name__}\n{options}\n```"
        parts.append(f"{level} `{module.__name__.removeprefix('taskgroup_core.')}`\n\n{directive}\n")
    return "\n".join(parts)


def _commands(srcdir: Path) -> str:
    rows = [f"* - `{name}`\n  - {text}" for name, text in _named_commands("taskgroup", typer.main.get_command(cli.app))]
    return _list_table(["Command", "What it does"], rows)


def _named_commands(prefix: str, group: Any) -> Iterator[tuple[str, str]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _named_commands(f"{prefix} {name}", command)
        else:
            yield f"{prefix} {name}", command.help


def _methods(srcdir: Path) -> str:
    rows = []
    for module in _modules():
        for name, method in vars(module).items():
            own = getattr(method, "__module__", None) == module.__name__ and not name.startswith("_")
            if not own or not (inspect.isclass(method) or inspect.isfunction(method)):
                continue
            found = sections(method.__doc__ or "")
            if "References" in found:
                link = f"{{py:obj}}`{name} <{module.__name__}.{name}>`"
                source = as_markdown(found["References"], indent=4)
                departs = as_markdown(found.get("Deviations", []), indent=4) or "none"
                rows.append(f"* - {link}\n  - {source}\n  - {departs}")
    return _list_table(["Method", "Source", "Where it departs from its source"], rows)


def _recordings(srcdir: Path) -> str:
    titles = {recording.name: recording.title for recording in recordings.RECORDINGS}
    rows = [
        f"* - `{row.name}`\n  - {titles[row.name]}\n  - {row.status}\n  - {row.minutes:g}\n  - {row.memory_gib:g}"
        for row in recorder.plan(recorder.RECORDED)
    ]
    return _list_table(["Recording", "What it measures", "State", "Minutes on an H100", "GiB"], rows)


def _chapters(srcdir: Path) -> str:
    rows = []
    for path in sorted((srcdir / "notebooks").glob("*.ipynb")):
        ran = json.loads(path.read_text(encoding="utf-8"))["metadata"].get("taskgroup")
        shown = f"`embedded`, executed in {ran['seconds']:.0f} s" if ran else "`smoke`, as stored in the notebook"
        rows.append(f"* - {{doc}}`/notebooks/{path.stem}`\n  - {shown}")
    return _list_table(["Chapter", "What its page shows"], rows)


def _list_table(header: list[str], rows: list[str]) -> str:
    first = "* - " + "\n  - ".join(header)
    return "\n".join(["```{list-table}", ":header-rows: 1", "", first, *rows, "```"])
