"""Every chapter is stored executed, at the smoke scale, in the book's frame: else nbval would compare nothing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from taskgroup_core.runs.notebook_files import NOTEBOOKS, declared_parameters, read_notebook
from taskgroup_core.runs.provenance import ROOT

CHAPTERS = sorted(NOTEBOOKS.glob("*.ipynb"))
FRAME = ["Overview", "Prerequisites", "Time and memory", "Summary", "What is next"]

each_chapter = pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)


def cells(path: Path, kind: str) -> list[dict]:
    return [cell for cell in read_notebook(path)["cells"] if cell["cell_type"] == kind]


def text(path: Path) -> str:
    return "\n\n".join(cell["source"] for cell in cells(path, "markdown"))


def test_the_contents_list_every_chapter():
    contents = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    files = [chapter["file"] for part in contents["parts"] for chapter in part["chapters"]]
    assert [file for file in files if file.startswith("notebooks/")] == [f"notebooks/{path.stem}" for path in CHAPTERS]
    assert len(CHAPTERS) >= 4


@each_chapter
def test_all_cells_were_run_in_order(path):
    counts = [cell["execution_count"] for cell in cells(path, "code")]
    assert counts == list(range(1, len(counts) + 1))


@each_chapter
def test_outputs_are_stored_and_hold_no_error(path):
    outputs = [output for cell in cells(path, "code") for output in cell["outputs"]]
    assert len(outputs) >= 3
    assert not [output for output in outputs if output["output_type"] == "error"]
    assert any("text" in output or "text/plain" in output.get("data", {}) for output in outputs)


@each_chapter
def test_the_parameters_are_the_smoke_scale(path):
    (cell,) = [cell for cell in cells(path, "code") if "parameters" in cell["metadata"].get("tags", [])]
    values: dict[str, object] = {}
    exec(cell["source"], values)
    assert (values["scale"], values["device"]) == ("smoke", "auto")
    assert isinstance(values["seed"], int)
    assert declared_parameters(path, read_notebook(path))[:1] == ["scale"]
    following = cells(path, "code")[1]["source"]
    assert "begin(globals()" in following


@each_chapter
def test_the_frame_is_complete(path):
    markdown = text(path)
    missing = [name for name in FRAME if not re.search(rf"(^#+ *|\*\*){name}", markdown, re.MULTILINE | re.IGNORECASE)]
    assert missing == []
    assert markdown.startswith("# ")


@each_chapter
def test_there_are_two_exercises_with_solutions(path):
    markdown = text(path)
    labels = re.findall(r"\{exercise(?:-start)?\}[^\n]*\n:label: *(\S+)", markdown)
    solved = re.findall(r"\{solution(?:-start)?\} *(\S+)", markdown)
    assert len(labels) >= 2
    assert set(labels) == set(solved)


@each_chapter
def test_no_output_asks_for_scripts_or_hides_on_a_dark_page(path):
    kinds = {kind for cell in cells(path, "code") for output in cell["outputs"] for kind in output.get("data", {})}
    assert kinds <= {"text/plain", "text/html", "image/png", "text/latex", "text/markdown"}


@each_chapter
def test_nothing_stored_tells_of_one_machine_or_one_moment(path):
    content = re.sub(r'"image/png": ".*"', "", path.read_text(encoding="utf-8"))  # whose letters spell anything
    assert re.findall(r"/(?:home|root|tmp|work|Users)/\w*|\d{4}-\d\d-\d\dT\d\d:", content) == []
    assert "papermill" not in read_notebook(path)["metadata"]
