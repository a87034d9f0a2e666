"""Chapters: what `begin` hands out, when an execution is reused, what is stored."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import nbformat
import pytest

from taskgroup_core.runs import notebooks
from taskgroup_core.runs.chapter import FIGURES, Chapter, begin
from taskgroup_core.runs.notebook_files import declared_parameters, find_chapters, read_notebook, store_outputs
from taskgroup_core.runs.notebooks import Executed, execute
from taskgroup_core.runs.record import RunRecord

STANDARD = {"scale": "embedded", "seed": 3, "device": "cpu"}


@pytest.fixture
def project(tmp_path: Path) -> dict[str, Path]:
    """A package and a data folder that executions rest on."""
    package, data = tmp_path / "package", tmp_path / "data"
    package.mkdir()
    data.mkdir()
    (package / "method.py").write_text("answer = 1\n")
    (data / "table.csv").write_text("1,2\n")
    (data / "README.md").write_text("what it is\n")
    return {"package": package, "data": data}


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Executions by papermill, replaced by a copy: these tests are about when one happens."""
    done = []

    def copy(path: Path, draft: Path, values: dict[str, object], figures: Path) -> None:
        done.append(path)
        draft.write_bytes(path.read_bytes())

    monkeypatch.setattr(notebooks, "_papermill", copy)
    return done


def test_begin_hands_out_the_checked_parameters():
    chapter = begin({**STANDARD, "sizes": [1, 2]}, declared=["scale", "seed", "device", "sizes"])
    assert (chapter.scale, chapter.seed, str(chapter.device)) == ("embedded", 3, "cpu")
    assert chapter.choose(smoke="a", embedded="b", paper="c") == "b"


def test_begin_overlooks_what_no_parameters_cell_holds():
    begin({**STANDARD, "In": [""], "Out": {}, "_private": 1, "os": os, "exit": exit, "__name__": "__main__"})


def test_begin_may_be_called_again_when_later_cells_have_run():
    namespace = dict(STANDARD)
    begin(namespace)
    namespace["result"] = 5
    assert begin(namespace).seed == 3


def test_figures_are_opaque_and_white():
    begin(dict(STANDARD))
    assert matplotlib.rcParams["figure.facecolor"] == matplotlib.rcParams["savefig.facecolor"] == "white"
    assert not matplotlib.rcParams["savefig.transparent"]


def test_a_figure_is_saved_only_where_a_folder_is_named(tmp_path, monkeypatch):
    chapter = begin(dict(STANDARD))
    figure, axes = plt.subplots()
    axes.plot([0, 1])
    monkeypatch.delenv(FIGURES, raising=False)
    chapter.save(figure, "line")
    monkeypatch.setenv(FIGURES, str(tmp_path / "figures"))
    chapter.save(figure, "line")
    files = sorted((tmp_path / "figures").iterdir())
    hashes = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    assert [file.name for file in files] == ["line.pdf", "line.png"]
    chapter.save(figure, "line")
    assert [hashlib.sha256(file.read_bytes()).hexdigest() for file in files] == hashes
    plt.close(figure)


def test_a_saved_figure_names_the_records_it_shows():
    chapter = begin(dict(STANDARD))
    records = [RunRecord(name, {}, {}, {}, {}) for name in ("first", "second")]
    for some, word in ((records, "run records"), (records[:1], "run record")):
        figure, _ = plt.subplots()
        chapter.save(figure, "line", *some)
        assert figure.get_supxlabel() == f"{word} {', '.join(record.id for record in some)}"
        plt.close(figure)
    figure, _ = plt.subplots()
    chapter.save(figure, "line")
    assert figure.get_supxlabel() == ""
    plt.close(figure)


def test_papermill_runs_a_chapter_at_its_scale(make_notebook, project, tmp_path, capfd):
    path = make_notebook(
        f"import os\nfrom pathlib import Path\n(Path(os.environ[{FIGURES!r}]) / 'one.png').write_text(scale)",
        "print(scale, seed)",
    )
    before = path.read_bytes()
    (done,) = execute([path], "embedded", tmp_path / "out", {"seed": 7}, **project)
    assert done.path == tmp_path / "out" / "embedded" / path.name
    assert "embedded 7" in str(read_notebook(done.path)["cells"][-1]["outputs"])
    assert (tmp_path / "out" / "embedded" / "figures" / "01_chapter" / "one.png").read_text() == "embedded"
    assert path.read_bytes() == before
    assert FIGURES not in os.environ
    (again,) = execute([path], "embedded", tmp_path / "out", {"seed": 7}, **project)
    assert again == Executed(done.path, done.seconds, reused=True)
    told = capfd.readouterr().out
    assert "01_chapter: executed in" in told
    assert "chapters executed: 0, reused: 1" in told


def test_chapters_are_executed_side_by_side_with_their_share_of_the_cores(make_notebook, project, tmp_path):
    shows = "import os\nprint(scale, [os.environ[name] for name in ('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS')])"
    paths = [make_notebook(shows, name=f"0{number}_chapter") for number in (1, 2, 3)]
    done = execute(paths, "smoke", tmp_path / "out", workers=2, **project)
    assert [one.path.name for one in done] == [path.name for path in paths]
    share = str(max(1, os.cpu_count() // 2))
    for one in done:
        assert f"smoke ['{share}', '{share}']" in str(read_notebook(one.path)["cells"][-1]["outputs"])
    assert all(one.reused for one in execute(paths, "smoke", tmp_path / "out", workers=1, **project))


@pytest.mark.parametrize(
    "change",
    ["package", "new module", "data", "new data", "cell", "parameter", "force"],
)
def test_a_change_of_what_a_chapter_rests_on_executes_it_again(change, make_notebook, project, runs, tmp_path):
    path = make_notebook("1 + 1")
    execute([path], "smoke", tmp_path / "out", **project)
    parameters, force = {}, change == "force"
    if change == "package":
        (project["package"] / "method.py").write_text("answer = 2\n")
    elif change == "new module":
        (project["package"] / "other.py").write_text("answer = 2\n")
    elif change == "data":
        (project["data"] / "table.csv").write_text("1,3\n")
    elif change == "new data":
        (project["data"] / "other.csv").write_text("1,3\n")
    elif change == "cell":
        path = make_notebook("1 + 2")
    elif change == "parameter":
        parameters = {"seed": 1}
    (done,) = execute([path], "smoke", tmp_path / "out", parameters, force, **project)
    assert not done.reused
    assert len(runs) == 2


@pytest.mark.parametrize(
    "change", ["nothing", "stored outputs", "comment", "text about the data", "unfinished recording"]
)
def test_other_changes_leave_an_execution_good(change, make_notebook, project, runs, tmp_path):
    path = make_notebook("1 + 1")
    execute([path], "smoke", tmp_path / "out", **project)
    if change == "stored outputs":
        notebook = json.loads(path.read_text())
        notebook["cells"][1]["execution_count"] = 5
        path.write_text(json.dumps(notebook))
    elif change == "comment":
        (project["package"] / "method.py").write_text("# why\nanswer = 1\n")
    elif change == "text about the data":
        (project["data"] / "README.md").write_text("told better\n")
    elif change == "unfinished recording":
        (project["data"] / "run.partial").mkdir()
        (project["data"] / "run.partial" / "slice.npz").write_bytes(b"1")
    (done,) = execute([path], "smoke", tmp_path / "out", **project)
    assert done.reused
    assert len(runs) == 1


def test_scales_have_executions_of_their_own(make_notebook, project, runs, tmp_path):
    path = make_notebook("1 + 1")
    for scale in ("smoke", "embedded", "smoke", "embedded"):
        execute([path], scale, tmp_path / "out", **project)
    assert len(runs) == 2


def test_stored_outputs_carry_no_times_and_are_stable(make_notebook):
    path = make_notebook("print(scale)")
    store_outputs(path)
    first = path.read_text()
    store_outputs(path)
    assert path.read_text() == first
    notebook = nbformat.reads(first, as_version=4)
    assert notebook.cells[1].outputs[0].text == "smoke\n"
    assert notebook.cells[1].execution_count == 2
    assert "execution" not in notebook.cells[1].metadata
    assert "version" not in notebook.metadata.language_info


def test_chapters_are_found_by_the_beginning_of_their_names(make_notebook):
    two, one = make_notebook(name="02_b"), make_notebook(name="01_a")
    assert find_chapters(folder=one.parent) == [one, two]
    assert find_chapters(["02"], one.parent) == [two]


def test_declared_parameters_are_what_the_cell_assigns(make_notebook):
    path = make_notebook(parameters='scale = "smoke"  # size\nseed: int = 0\na = b = len([x for x in "ab"])')
    assert declared_parameters(path, read_notebook(path)) == ["scale", "seed", "a", "b"]


def test_a_chapter_cannot_be_changed():
    chapter = begin(dict(STANDARD))
    assert isinstance(chapter, Chapter)
    with pytest.raises(AttributeError):
        chapter.seed = 5
