"""Run records on disk: NAME.json with a checksum, NAME.npz beside it; what is altered or cut short is never loaded."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tempfile
import zipfile
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from taskgroup_core.errors import DataError
from taskgroup_core.runs.locks import locked
from taskgroup_core.runs.record import Arrays, RunRecord, check_name, json_hash

FORMAT = 1
_RESTORE = "Restore the record's two files from where they came, or record the run again."


def save(record: RunRecord, folder: Path | str) -> Path:
    """Write a record as `<name>.json` and `<name>.npz`, and return the path of the JSON file.

    At every moment, a crash included, the folder holds one whole record: the old one, or the new one. The new arrays
    first go to `<name>.npz.new`; the JSON file, which knows their checksum, is the commit; then they take the place
    of the old. `load` takes whichever of the two archives belongs to the JSON file. A process that saves holds the
    folder's lock, so that others wait which save or load there.

    Parameters
    ----------
    record : the record.
    folder : made where it is not there.

    Raises
    ------
    OSError : the files cannot be written (a full disk, say); the old record is left.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    archive = target / f"{record.name}.npz"
    pending = target / f"{record.name}.npz.new"
    description = target / f"{record.name}.json"
    packed = pack_arrays(record.arrays)
    document = {
        "format": FORMAT,
        "id": record.id,
        "name": record.name,
        "parameters": record.parameters,
        "results": record.results,
        "arrays": {
            "sha256": hashlib.sha256(packed).hexdigest(),
            "contents": {name: [str(array.dtype), *array.shape] for name, array in record.arrays.items()},
        },
        "provenance": record.provenance,
    }
    document["sha256"] = json_hash(document)
    text = (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()
    with locked(target):
        _finish_interrupted(description, archive, pending)
        write_atomically(pending, packed)
        try:
            write_atomically(description, text)
        except OSError:
            pending.unlink()
            raise
        os.replace(pending, archive)
    return description


def load(folder: Path | str, name: str) -> RunRecord:
    """Read a record back.

    Parameters
    ----------
    folder : where `save` put it.
    name : the record's name.

    Raises
    ------
    DataError : a file that is missing, truncated, altered, or written by a newer version.
    InputError : a name that cannot be a record's.
    """
    check_name(name, "name")
    description = Path(folder) / f"{name}.json"
    # Without a folder there is nothing to lock, and the error is that of a record that is not there.
    with locked(description.parent, shared=True) if description.parent.is_dir() else nullcontext():
        document = _read_document(description)
        packed = _matching_archive(description, document["arrays"]["sha256"])
    fields = {field: document[field] for field in ("name", "parameters", "results", "provenance")}
    return RunRecord(arrays=unpack_arrays(packed, description.with_suffix(".npz")), **fields)


def pack_arrays(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """The arrays as the bytes of an .npz archive: the same arrays give the same bytes on any day."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in arrays.items():
            # A ZipInfo of our own has a fixed date; np.savez would refuse arrays named like its own arguments.
            entry = zipfile.ZipInfo(f"{name}.npy")
            entry.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(entry, "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
    return buffer.getvalue()


def unpack_arrays(packed: bytes, source: Path) -> Arrays:
    """The arrays of an .npz archive; `source` names it in errors.

    Raises
    ------
    DataError : no archive, or one that is truncated, altered or holds objects.
    """
    try:
        with np.load(io.BytesIO(packed), allow_pickle=False) as archive:
            # By the name of the member: numpy takes "a.npy" for the member of the array "a".
            return {name: archive[f"{name}.npy"] for name in archive.files}
    except Exception as error:  # of a dozen types, that zipfile, zlib and numpy raise on damaged bytes
        raise DataError(str(source), f"no readable archive of arrays ({error})", _RESTORE) from error


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or, after a crash, as it was before.

    Raises
    ------
    OSError : it cannot be written; the error names `path`.
    """
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes files that nobody else may read.
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException as error:
        Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError):  # a full disk is told of without a name, others with the temporary one
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def _finish_interrupted(description: Path, archive: Path, pending: Path) -> None:
    """Let the pending archive of an interrupted `save` take its place, if the JSON file was already its own."""
    if not pending.exists() or not description.exists():
        return
    try:
        expected = _read_document(description)["arrays"]["sha256"]
    except DataError:
        return
    if hashlib.sha256(pending.read_bytes()).hexdigest() == expected:
        os.replace(pending, archive)


def _read_document(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(str(path), "no such record", "Name a recorded run, or record it first.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(str(path), f"no readable JSON ({error})", _RESTORE) from error
    if not isinstance(document, dict) or not isinstance(document.get("format"), int):
        raise DataError(str(path), "no run record", "Name a file that a run wrote.")
    if document["format"] > FORMAT:
        raise DataError(str(path), f"format {document['format']}", f"This version reads {FORMAT}: update the package.")
    checksum = document.pop("sha256", None)
    try:
        intact = checksum == json_hash(document)
    except (ValueError, RecursionError):  # a NaN, or lists too deep, as no run writes them
        intact = False
    if not intact:
        raise DataError(str(path), "content that is not what the run wrote (its checksum differs)", _RESTORE)
    return document


def _matching_archive(description: Path, expected: str) -> bytes:
    archive = description.with_suffix(".npz")
    candidates = (archive, archive.with_name(f"{archive.name}.new"))
    present = [path.read_bytes() for path in candidates if path.is_file()]
    for content in present:
        if hashlib.sha256(content).hexdigest() == expected:
            return content
    found = "other content than the run wrote (its checksum differs)" if present else "no such file"
    raise DataError(str(archive), found, _RESTORE)
