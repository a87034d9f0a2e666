"""Making recordings: which are missing or stale, and how one is made in slices."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from taskgroup_core.device import describe_device, resolve_device
from taskgroup_core.errors import DataError, InputError
from taskgroup_core.problems.catalogue import find_dataset
from taskgroup_core.problems.registry import DataFile, DataSet, file_sha256, locate
from taskgroup_core.runs import recordings
from taskgroup_core.runs.checkpoint import Checkpoint, Deadline
from taskgroup_core.runs.hashes import code_hash, modules_behind
from taskgroup_core.runs.locks import locked
from taskgroup_core.runs.provenance import PACKAGE, ROOT, data_hashes, measured
from taskgroup_core.runs.record import json_hash, to_json
from taskgroup_core.runs.recordings import Recording
from taskgroup_core.runs.store import load, save

RECORDED = ROOT / "data" / "recorded"

# These modules keep numbers and do not make any (the first holds the version): a record stays good when they change.
_KEEPERS = {PACKAGE / "__init__.py", PACKAGE / "errors.py"} | {
    PACKAGE / "runs" / f"{name}.py" for name in ("checkpoint", "hashes", "locks", "provenance", "record", "store")
}


@dataclass(frozen=True)
class PlanRow:
    """Where one recording stands; minutes and memory are the recording's own."""

    name: str
    status: Literal["present", "missing", "stale"]
    reason: str
    minutes: float
    memory_gib: float


def basis(recording: Recording) -> dict[str, Any]:
    """What a record of it rests on: the hashes of the code behind it, of its data and of its parameters.

    Code counts as it runs (no comments, no docstrings), and only the modules that its entries import, less those that
    merely store records: a text that is mended, or a method that is added, leaves every other record good.

    Raises
    ------
    DataError : a data file that is not there.
    InputError : an entry that is no module of the package.
    """
    modules = {file for entry in recording.entries for file in modules_behind(PACKAGE, entry)} - _KEEPERS
    return {
        "code": code_hash(PACKAGE, modules),
        "data": data_hashes(recording.data) | {name: _official(name)[1].sha256 for name in recording.official},
        "parameters": json_hash(to_json(recording.parameters, "parameters")),
    }


def _official(name: str) -> tuple[DataSet, DataFile]:
    """The registry's entries of "DATA SET/FILE"."""
    dataset, _, file = name.partition("/")
    found = find_dataset(dataset)
    return found, found.file(file)


def _check_official(name: str) -> None:
    dataset, file = _official(name)
    path = locate(dataset, file.name)
    if file_sha256(path) != file.sha256:
        raise DataError(str(path), "not the official file: another checksum", "Remove it and fetch it again.")


def plan(folder: Path | str = RECORDED) -> list[PlanRow]:
    """Where every recording stands, and its cost.

    Parameters
    ----------
    folder : where the records lie.
    """
    return [_row(recording, Path(folder)) for recording in recordings.RECORDINGS]


def record(
    name: str,
    out: Path | str = RECORDED,
    device: str = "auto",
    minutes: float = 9.0,
    restart: bool = False,
    tell: Callable[[str], None] = print,
) -> Path:
    """Make one recording, or go on with it, and return the path of the record's JSON file.

    Finished slices lie in `<out>/<name>.partial/` until the record is stored; then that folder is deleted. What an
    interrupted slice did is lost, all finished slices stay, and starting it again gives the record that one long run
    would have given. The record's provenance lists the processes that took part, and adds up their times.

    Parameters
    ----------
    name : of a recording.
    out : folder of the record.
    device : "auto", "cpu" or "cuda".
    minutes : no slice is begun after that many.
    restart : drop finished slices, and record again what is recorded.
    tell : gets the sentences a person should read.

    Raises
    ------
    OutOfTime : unfinished after `minutes`.
    InputError : unknown name or device, finished slices of a run with other code, data or parameters, or another
        process that records this.
    DataError : a data file that is not there, one that is not the official one, or a damaged slice.
    """
    recording, folder = recordings.find(name), Path(out)
    deadline = Deadline(minutes)
    where = resolve_device(device)
    row = _row(recording, folder)
    if row.status == "present" and not restart:
        tell(f"{name}: {row.reason}; nothing to do (--restart records it again)")
        return folder / f"{name}.json"
    rests_on = basis(recording)
    for file in recording.official:
        _check_official(file)
    partial = folder / f"{name}.partial"
    partial.mkdir(parents=True, exist_ok=True)
    with _alone(name, partial):
        # Slices from a CPU and from a GPU differ in their last digits, so they never make one record together.
        checkpoint = Checkpoint(partial, json_hash([rests_on, where.type]), restart)
        tell(
            f"{name}: about {recording.minutes:g} minutes, {recording.memory_gib:g} GiB and {recording.flops:.1e} "
            f"FLOPs on an H100; here {describe_device(where)}, at most {minutes:g} minutes now, "
            f"{len(checkpoint.names)} slices finished before"
        )
        try:
            with measured(where) as cost:
                result = recording.run(recording.parameters, where, checkpoint, deadline)
        finally:
            checkpoint.add_session(device=describe_device(where), **vars(cost))
        sessions = checkpoint.sessions
        total = sum(session["wall_seconds"] for session in sessions)
        origin = {**result.provenance, "basis": rests_on, "sessions": sessions, "wall_seconds": total}
        path = save(replace(result, name=name, provenance=origin), folder)
        shutil.rmtree(partial)
    size = sum(path.with_suffix(suffix).stat().st_size for suffix in (".json", ".npz"))
    tell(f"{name}: recorded in {total:.0f} s, {size / 2**20:.1f} MiB: {path}")
    return path


@contextmanager
def _alone(name: str, partial: Path) -> Iterator[None]:
    try:
        with locked(partial, wait=False):
            yield
    except BlockingIOError as error:
        found = f"{name!r}, which another process is recording in {partial}"
        raise InputError("name", found, "Wait until it has ended, or record into another folder.") from error


def _row(recording: Recording, folder: Path) -> PlanRow:
    status, reason = _state(recording, folder)
    return PlanRow(recording.name, status, reason, recording.minutes, recording.memory_gib)


def _state(recording: Recording, folder: Path) -> tuple[Literal["present", "missing", "stale"], str]:
    if not (folder / f"{recording.name}.json").exists():
        begun = (folder / f"{recording.name}.partial").is_dir()
        return "missing", "begun, not finished" if begun else "not recorded yet"
    try:
        stored = load(folder, recording.name)
        now = basis(recording)
    except DataError as error:
        return "stale", str(error)
    then = stored.provenance.get("basis") or {}
    changed = [part for part in now if then.get(part) != now[part]]
    if changed:
        return "stale", f"other {' and '.join(changed)} than recorded"
    return "present", f"record {stored.id} of {stored.provenance.get('created', 'unknown date')}"
