"""Where a chapter keeps the finished slices of its long run, so that an interrupted one goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from taskgroup_core.errors import DataError, InputError
from taskgroup_core.runs.chapter import Chapter
from taskgroup_core.runs.checkpoint import Checkpoint
from taskgroup_core.runs.hashes import code_hash
from taskgroup_core.runs.provenance import PACKAGE, ROOT, data_hashes, versions
from taskgroup_core.runs.record import json_hash, to_json

SLICES = ROOT / "build" / "slices"


def chapter_slices(
    chapter: Chapter, name: str, parameters: Mapping[str, Any], data: Sequence[Path | str], folder: Path = SLICES
) -> Checkpoint | None:
    """The checkpoint of a chapter's run; None at scale smoke, which takes seconds.

    Slices that rest on other code, data, parameters, versions or another kind of device are dropped.

    Parameters
    ----------
    chapter : its scale, seed and device are part of what the slices rest on.
    name : of the run, unique among the chapters.
    parameters : of the run, as JSON values.
    data : files that the run reads.
    folder : of all chapters' slices.
    """
    if chapter.scale == "smoke":
        return None
    rests_on = {
        "code": code_hash(PACKAGE),
        "data": data_hashes(data),
        "parameters": to_json(parameters, "parameters"),
        "versions": versions(),
        "chapter": [chapter.scale, chapter.seed, chapter.device.type],
    }
    place, key = folder / f"{name}-{chapter.scale}", json_hash(rests_on)
    try:
        return Checkpoint(place, key)
    except (InputError, DataError):
        return Checkpoint(place, key, restart=True)
