"""Execution of the book's chapters at a scale; what was executed is reused only while nothing it rests on changed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any

from tqdm import tqdm

from taskgroup_core.device import resolve_device
from taskgroup_core.errors import DataError, InputError, MissingExtra
from taskgroup_core.runs.chapter import FIGURES, Chapter, begin, check_names, check_scale
from taskgroup_core.runs.hashes import code_hash, file_hash
from taskgroup_core.runs.notebook_files import DIED, QUIET, ChapterFailed, declared_parameters, read_notebook
from taskgroup_core.runs.provenance import PACKAGE, ROOT, versions

__all__ = ["Chapter", "ChapterFailed", "Executed", "begin", "execute"]

DATA = ROOT / "data"
# What the libraries below torch and numpy read when a kernel starts.
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Executed:
    """One chapter's executed copy.

    Parameters
    ----------
    path : the executed notebook.
    seconds : wall time of its execution.
    reused : whether an earlier execution was taken.
    """

    path: Path
    seconds: float
    reused: bool


def execute(
    notebooks: Iterable[Path],
    scale: str,
    out: Path,
    parameters: Mapping[str, Any] | None = None,
    force: bool = False,
    workers: int = 1,
    package: Path = PACKAGE,
    data: Path = DATA,
) -> list[Executed]:
    """Execute copies of notebooks through papermill, and tell of each on a line of its own.

    An execution is reused while its key is the same: a hash of the notebook's cells, of the package's code, of the
    data, of the parameters, of the versions that matter and of the kind of device. A copy appears under its name only
    once all its cells have run.

    Parameters
    ----------
    notebooks : the notebooks, each with a cell tagged "parameters".
    scale : "smoke", "embedded" or "paper".
    out : copies go to OUT/SCALE/NAME.ipynb, saved figures to OUT/SCALE/figures/NAME/.
    parameters : papermill parameters besides the scale, given to every notebook.
    force : execute even where an execution could be reused.
    workers : chapters that are executed at a time, each in a process of its own with its share of the cores. Threads
        that wait for one another gain little in networks of this size: two chapters with a thread each are done much
        sooner than one after the other with two.
    package, data : folders whose code and whose files (Markdown apart) are part of the key.

    Raises
    ------
    InputError : unknown scale, a scale among the parameters, a parameter that a notebook does not declare, or fewer
        than one worker.
    DataError : a notebook that is missing, is no notebook, or has no parameters cell; a folder where a copy belongs.
    ChapterFailed : a cell raised an error, or a kernel died.
    MissingExtra : papermill is absent.
    """
    if workers < 1:
        raise InputError("workers", str(workers), "Use a whole number, 1 or more.")
    if parameters and "scale" in parameters:
        found = f"scale={parameters['scale']!r} among them"
        raise InputError("parameters", found, "Give it as the argument `scale` (--scale).")
    values = {**(parameters or {}), "scale": check_scale(scale)}
    cells = {}
    for path in notebooks:
        notebook = read_notebook(path)
        check_names(list(values), declared_parameters(path, notebook))
        cells[path] = [[cell["cell_type"], cell["source"]] for cell in notebook["cells"]]
    files = sorted(file for file in data.rglob("*") if file.is_file() and _counts(file))
    common = {
        "package": code_hash(package),
        "data": {file.relative_to(data).as_posix(): file_hash(file) for file in files},
        "parameters": values,
        "versions": versions(),
        "device": resolve_device(str(values.get("device", "auto"))).type,
    }
    keys = {path: _key({**common, "cells": text}) for path, text in cells.items()}
    one = partial(_execute_one, values=values, folder=Path(out).resolve() / scale, force=force)
    done = _in_processes(one, keys, workers) if workers > 1 else [one(path, key) for path, key in keys.items()]
    print(f"chapters executed: {sum(not one.reused for one in done)}, reused: {sum(one.reused for one in done)}")
    return done


def _counts(file: Path) -> bool:
    """Texts do not, nor the slices of a recording that is not finished: no chapter reads them."""
    return file.suffix not in (".md", ".pyc") and file.parent.suffix != ".partial"


def _in_processes(one: partial[Executed], keys: Mapping[Path, str], workers: int) -> list[Executed]:
    """Chapters in the order of `keys`, `workers` at a time; the first failure keeps those that wait from starting."""
    # A fork of a process whose threads have computed already may hang; a spawned one starts clean.
    with ProcessPoolExecutor(workers, get_context("spawn"), _share_cores, (workers,)) as pool:
        done = pool.map(one, keys.keys(), keys.values())
        return list(tqdm(done, desc="chapters", total=len(keys), unit="chapter"))


def _share_cores(workers: int) -> None:
    for name in THREADS:
        os.environ[name] = str(max(1, (os.cpu_count() or 1) // workers))


def _execute_one(path: Path, key: str, values: Mapping[str, Any], folder: Path, force: bool) -> Executed:
    target = folder / path.name
    earlier_key, earlier = _earlier(target)
    if earlier_key == key and not force:
        print(f"{path.stem}: reused, nothing changed (its execution took {earlier:.0f} s)", flush=True)
        return Executed(target, earlier, reused=True)
    expected = f"last time {earlier:.0f} s" if earlier_key else "for the first time"
    folder.mkdir(parents=True, exist_ok=True)
    print(f"{path.stem}: executing at scale {values['scale']}, {expected}", flush=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        draft, figures = Path(scratch) / path.name, Path(scratch) / "figures"
        figures.mkdir()
        started = time.monotonic()
        _papermill(path, draft, values, figures)
        seconds = round(time.monotonic() - started, 1)
        notebook = read_notebook(draft)
        notebook["metadata"]["taskgroup"] = {"key": key, "seconds": seconds}
        draft.write_text(json.dumps(notebook), encoding="utf-8")
        kept = folder / "figures" / path.stem
        shutil.rmtree(kept, ignore_errors=True)
        kept.parent.mkdir(exist_ok=True)
        figures.rename(kept)
        draft.rename(target)
    print(f"{path.stem}: executed in {seconds:.0f} s", flush=True)
    return Executed(target, seconds, reused=False)


def _earlier(copy: Path) -> tuple[str, float]:
    """Key and seconds of the execution that left a copy; ("", 0.0) without one that can be read."""
    if copy.is_dir():
        raise DataError(str(copy), "a folder", "Remove it: the executed chapter goes there.")
    try:
        told = read_notebook(copy)["metadata"]["taskgroup"]
        return str(told["key"]), float(told["seconds"])
    except (DataError, KeyError, TypeError, ValueError):
        return "", 0.0


def _papermill(path: Path, draft: Path, values: Mapping[str, Any], figures: Path) -> None:
    try:
        import papermill
        from nbclient.exceptions import DeadKernelError
    except ImportError as error:
        raise MissingExtra("papermill", "notebooks") from error
    outside = os.environ.get(FIGURES)
    os.environ[FIGURES] = str(figures)  # the kernel inherits it
    try:
        papermill.execute_notebook(
            path,
            draft,
            dict(values),
            kernel_name="python3",
            language="python",
            progress_bar=parent_process() is None,  # side by side, one bar counts the chapters
            cwd=path.resolve().parent,
            extra_arguments=QUIET,
        )
    except papermill.PapermillExecutionError as error:
        where = f"{path.stem}, cell {error.cell_index + 1} (execution count {error.exec_count})"
        raise ChapterFailed(f"{where}: {error.ename}: {error.evalue}\n{error.source}") from error
    except DeadKernelError as error:
        raise ChapterFailed(f"{path.stem}: {DIED}") from error
    finally:
        os.environ.pop(FIGURES)
        if outside is not None:
            os.environ[FIGURES] = outside


def _key(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
