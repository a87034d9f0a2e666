"""Fixtures that several folders of tests share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

PARAMETERS = 'scale = "smoke"\nseed = 0\ndevice = "auto"'

MakeNotebook = Callable[..., Path]


@pytest.fixture
def make_notebook(tmp_path: Path) -> MakeNotebook:
    """Write a notebook with a parameters cell and the given code cells into tmp_path/notebooks."""

    def make(*cells: str, name: str = "01_chapter", parameters: str | None = PARAMETERS) -> Path:
        notebook = new_notebook(cells=[new_code_cell(source) for source in cells])
        if parameters is not None:
            notebook.cells.insert(0, new_code_cell(parameters, metadata={"tags": ["parameters"]}))
        folder = tmp_path / "notebooks"
        folder.mkdir(exist_ok=True)
        nbformat.write(notebook, folder / f"{name}.ipynb")
        return folder / f"{name}.ipynb"

    return make
