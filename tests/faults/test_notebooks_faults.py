"""Chapters and the book, badly asked for: one clear error each, and nothing half-written."""

from __future__ import annotations

import errno
import os
import pickle
import shutil

import pytest

from taskgroup_core.errors import DataError, InputError, MissingExtra
from taskgroup_core.runs import book, notebook_files, notebooks
from taskgroup_core.runs.chapter import begin
from taskgroup_core.runs.notebook_files import ChapterFailed, find_chapters, store_outputs
from taskgroup_core.runs.notebooks import execute

STANDARD = {"scale": "smoke", "seed": 0, "device": "cpu"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sead": 1}, "parameter 'sead': found a name that the notebook does not declare. Did you mean 'seed'?"),
        ({"Seed": 1}, "Did you mean 'seed'?"),
        ({"zzz": [1]}, "Use scale, seed, device."),
        ({"scale": "embeded"}, "scale: found 'embeded'. Use one of smoke, embedded, paper."),
        ({"scale": 1}, "scale: found 1"),
        ({"seed": -1}, "seed: found -1"),
        ({"seed": 0.5}, "seed: found 0.5"),
        ({"seed": True}, "seed: found True"),
        ({"device": "gpu"}, "device: found 'gpu'"),
    ],
)
def test_begin_refuses(changes, message):
    with pytest.raises(InputError) as caught:
        begin({**STANDARD, **changes})
    assert message in str(caught.value)


def test_begin_refuses_a_declared_parameter_that_is_not_there():
    with pytest.raises(InputError, match="sizes: found no such parameter"):
        begin(dict(STANDARD), declared=["sizes"])


@pytest.mark.parametrize("name", ["", "a/b", "../a"])
def test_a_figure_has_a_plain_name(name):
    with pytest.raises(InputError, match="plain file name"):
        begin(dict(STANDARD)).save(None, name)


def test_a_misspelt_parameter_stops_before_any_chapter_runs(make_notebook, tmp_path):
    good, bad = make_notebook(parameters='scale = "smoke"\nsizes = 1'), make_notebook(name="02_other")
    with pytest.raises(InputError, match="a name that the notebook does not declare"):
        execute([good, bad], "smoke", tmp_path / "out", {"sizes": 2})
    with pytest.raises(InputError, match="Did you mean 'seed'"):
        execute([bad], "smoke", tmp_path / "out", {"sed": 1})
    assert not (tmp_path / "out").exists()


def test_a_scale_among_the_parameters(make_notebook, tmp_path):
    with pytest.raises(InputError, match="parameters: found scale='paper' among them"):
        execute([make_notebook()], "smoke", tmp_path / "out", {"scale": "paper"})


def test_an_unknown_scale(make_notebook, tmp_path):
    with pytest.raises(InputError, match="Use one of smoke, embedded, paper"):
        execute([make_notebook()], "tiny", tmp_path / "out")


def test_a_failing_cell_is_named_and_leaves_the_earlier_copy(make_notebook, tmp_path):
    path = make_notebook("print('fine')")
    (done,) = execute([path], "smoke", tmp_path / "out")
    before = done.path.read_bytes()
    make_notebook("print('fine')", "raise ValueError('seven')")
    with pytest.raises(ChapterFailed) as caught:
        execute([path], "smoke", tmp_path / "out")
    assert str(caught.value).startswith("01_chapter, cell ")
    assert "ValueError: seven" in str(caught.value)
    assert done.path.read_bytes() == before
    assert sorted(file.name for file in done.path.parent.iterdir()) == ["01_chapter.ipynb", "figures"]


def test_a_failure_among_chapters_side_by_side_is_named_too(make_notebook, tmp_path):
    paths = [make_notebook("1 / 0", name="01_bad"), make_notebook("print('fine')", name="02_good")]
    with pytest.raises(ChapterFailed, match=r"01_bad, cell .*ZeroDivisionError"):
        execute(paths, "smoke", tmp_path / "out", workers=2)
    with pytest.raises(InputError, match="workers: found 0"):
        execute(paths, "smoke", tmp_path / "out", workers=0)


@pytest.mark.parametrize("error", [InputError("a", "b", "C."), DataError("a", "b", "C."), MissingExtra("a", "b")])
def test_an_error_survives_the_way_out_of_a_process(error):
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


def test_a_failing_cell_leaves_the_stored_outputs(make_notebook):
    path = make_notebook("1 / 0")
    before = path.read_bytes()
    with pytest.raises(ChapterFailed, match="ZeroDivisionError"):
        store_outputs(path)
    assert path.read_bytes() == before


def test_a_full_disk_leaves_the_stored_outputs(make_notebook, monkeypatch):
    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = make_notebook("print(scale)")
    before = path.read_bytes()
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: .*01_chapter\.ipynb"):
        store_outputs(path)
    assert path.read_bytes() == before


def test_a_kernel_that_dies(make_notebook, tmp_path):
    path = make_notebook("import os\nos._exit(1)")
    with pytest.raises(ChapterFailed, match="01_chapter: its kernel died"):
        execute([path], "smoke", tmp_path / "out")
    with pytest.raises(ChapterFailed, match="01_chapter: its kernel died"):
        store_outputs(path)


@pytest.mark.parametrize("damage", ["truncated", "bytes that are no text", "without seconds"])
def test_a_copy_that_cannot_be_read_is_executed_again(damage, make_notebook, monkeypatch, tmp_path):
    monkeypatch.setattr(notebooks, "_papermill", lambda path, draft, *_: draft.write_bytes(path.read_bytes()))
    path = make_notebook("1 + 1")
    (done,) = execute([path], "smoke", tmp_path / "out")
    content = done.path.read_bytes()
    changed = {"truncated": content[:200], "without seconds": content.replace(b'"seconds"', b'"minutes"')}
    done.path.write_bytes(changed.get(damage, b"\xff\xfe"))
    (again,) = execute([path], "smoke", tmp_path / "out")
    assert not again.reused
    (third,) = execute([path], "smoke", tmp_path / "out")
    assert third.reused


def test_a_folder_where_the_copy_belongs(make_notebook, tmp_path):
    (tmp_path / "out" / "smoke" / "01_chapter.ipynb").mkdir(parents=True)
    with pytest.raises(DataError, match=r"01_chapter\.ipynb: found a folder\. Remove it"):
        execute([make_notebook()], "smoke", tmp_path / "out")


def test_storing_outputs_tells_errors_without_a_traceback(monkeypatch, make_notebook, capsys):
    folder = make_notebook("1 / 0").parent
    monkeypatch.setattr(notebook_files, "find_chapters", lambda names: find_chapters(names, folder))
    assert notebook_files.main(["99"]) == 1
    assert capsys.readouterr().err == "error: chapter: found '99'. Chapters: 01_chapter.\n"
    assert notebook_files.main(["01"]) == 1
    assert capsys.readouterr().err.startswith("error: 01_chapter: ")


@pytest.mark.parametrize("parameters", [None, "scale = ("])
def test_a_notebook_without_a_readable_parameters_cell(parameters, make_notebook, tmp_path):
    with pytest.raises(DataError, match="parameters cell"):
        execute([make_notebook(parameters=parameters)], "smoke", tmp_path / "out")


@pytest.mark.parametrize("content", ["", "{}", '{"cells": [', "[]"])
def test_a_file_that_is_no_notebook(content, tmp_path):
    path = tmp_path / "broken.ipynb"
    path.write_text(content)
    with pytest.raises(DataError, match="no notebook"):
        execute([path], "smoke", tmp_path / "out")
    path.write_bytes(b"\xff\xfe")
    for other in (path, tmp_path):
        with pytest.raises(DataError, match="no notebook"):
            execute([other], "smoke", tmp_path / "out")


def test_a_missing_notebook(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        execute([tmp_path / "none.ipynb"], "smoke", tmp_path / "out")


def test_an_unknown_chapter(make_notebook, tmp_path):
    folder = make_notebook().parent
    with pytest.raises(InputError, match="Chapters: 01_chapter"):
        find_chapters(["05"], folder)
    with pytest.raises(InputError, match="none there"):
        find_chapters(folder=tmp_path)


def test_a_folder_that_is_no_site_is_never_deleted(tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("precious")
    for site in (tmp_path, tmp_path / "mine.txt"):
        assert book.main(["--site", str(site), "--executed", str(tmp_path / "executed")]) == 1
        assert f"error: site: found {site}, which holds no site" in capsys.readouterr().err
    assert (tmp_path / "mine.txt").read_text() == "precious"


def test_an_earlier_site_is_replaced_also_one_that_was_cut_short(monkeypatch, tmp_path):
    def cut(*arguments, **options):
        raise KeyboardInterrupt

    site = tmp_path / "site"
    site.mkdir()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(shutil, "copytree", cut)
        book.stage(site, tmp_path / "executed")
    for _ in range(2):
        book.stage(site, tmp_path / "executed")
        assert (site / "_toc.yml").is_file() and not (site / "old.html").exists()
        (site / "old.html").write_text("old")


def test_another_mathjax_than_the_pinned_one(monkeypatch, tmp_path):
    monkeypatch.setattr(book, "MATHJAX_SHA256", "0" * 64)
    with pytest.raises(DataError, match="another file than the pinned MathJax"):
        book.stage(tmp_path / "site", tmp_path / "executed")
    monkeypatch.setattr(book, "MATHJAX_PACKAGE", "a-package-that-nobody-has")
    with pytest.raises(MissingExtra, match=r"taskgroup_core\[book\]"):
        book.stage(tmp_path / "site", tmp_path / "executed")
