"""The stages of a study: each one is read where it is finished, computed where not, and counted on a text bar."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

from taskgroup_core.runs.checkpoint import Checkpoint, cached
from taskgroup_core.runs.record import Arrays

Stage = Callable[[str, Callable[[], Arrays]], Arrays]


@contextmanager
def stages(checkpoint: Checkpoint | None, total: int, progress: bool = True) -> Iterator[Stage]:
    """A function (name, compute) -> arrays for the stages of one study, see `cached`.

    Parameters
    ----------
    checkpoint : where finished stages are kept; None computes without storing.
    total : how many stages there are.
    progress : show a text bar.
    """
    with tqdm(total=total, disable=not progress, unit="stage", mininterval=5) as bar:

        def stage(name: str, compute: Callable[[], Arrays]) -> Arrays:
            bar.set_description(name)
            arrays = cached(checkpoint, re.sub(r"[^\w.-]", "-", name), compute)
            bar.update()
            return arrays

        yield stage
