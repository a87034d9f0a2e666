"""Drawn people with nine attributes, in two styles: the pictures that come with the project."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from taskgroup_core.errors import InputError
from taskgroup_core.problems.faces import (
    FULL_SIZE,
    SPLITS,
    check_attributes,
    check_size,
    drawn_rows,
    face_problem,
)
from taskgroup_core.problems.pictures import BLOCK, Bytes, shrunk
from taskgroup_core.problems.problem import Problem
from taskgroup_core.problems.registry import embedded, shipped

ATTRIBUTES = ("woman", "man", "light_skin", "dark_skin", "role", "active", "sport", "water", "facing_right")
STYLES = ("twemoji", "noto")
DATASETS = (
    shipped(
        "faces",
        "drawings of people in two styles with nine overlapping attributes",
        "Twemoji CC BY 4.0, Noto Emoji Apache-2.0, metadata MIT",
        "people.parquet",
    ),
)
_BYTES_OF = np.array([step << 3 | step >> 2 for step in range(32)], dtype=np.uint8)  # 0 to 31 becomes 0 to 255


@dataclass(frozen=True)
class DrawnFaces:
    """Pictures and what is known of them.

    Parameters
    ----------
    pictures : uint8 with shape (N, 3, 64, 64).
    table : one row a picture: `style`, `name`, `code`, `concept`, `tone`, `split`, and the nine `ATTRIBUTES` as
        nullable booleans.
    """

    pictures: Bytes
    table: pd.DataFrame


def load_drawn_faces(folder: str | Path | None = None) -> DrawnFaces:
    """All 3,132 pictures; see data/faces/README.md.

    Parameters
    ----------
    folder : where the frozen file is; see `embedded`.

    Raises
    ------
    DataError : a file that is missing, or whose SHA-256 is not the recorded one.
    """
    table = pq.read_table(embedded("faces", folder) / "people.parquet")
    column = table["picture"].combine_chunks()
    steps = np.frombuffer(column.buffers()[1], dtype=np.uint8).reshape(len(column), FULL_SIZE, FULL_SIZE, 3)
    pictures = np.empty((len(column), 3, FULL_SIZE, FULL_SIZE), dtype=np.uint8)
    for start in range(0, len(column), BLOCK):
        pictures[start : start + BLOCK] = _BYTES_OF[steps[start : start + BLOCK]].transpose(0, 3, 1, 2)
    known = table.drop_columns(["picture"]).to_pandas()
    return DrawnFaces(pictures, known.astype(dict.fromkeys(ATTRIBUTES, "boolean")))


def drawn_faces_problem(
    attributes: Sequence[str] = ATTRIBUTES,
    *,
    styles: Sequence[str] = STYLES,
    n_train: int | None = None,
    n_val: int | None = None,
    n_test: int | None = None,
    size: int = 32,
    width: int = 16,
    metric: str = "f1",
    folder: str | Path | None = None,
    seed: int = 0,
) -> Problem:
    """One binary task an attribute, on drawings of people; the splits are those of the data card.

    Parameters
    ----------
    attributes : names, some of `ATTRIBUTES`.
    styles : which drawings, some of `STYLES`.
    n_train, n_val, n_test : pictures of each split, drawn at random; None takes all.
    size : height and width of the pictures: 64, or 32, 16 or 8 by the mean over square blocks.
    width : channels of the `Residual` network.
    metric : of every task.
    folder : see `load_drawn_faces`.
    seed : decides which pictures are drawn.

    Raises
    ------
    InputError : an unknown attribute or style, a size or a number out of range, or so few pictures that a split lacks
        one class of a task.
    DataError : see `load_drawn_faces`.
    """
    check_size(size)
    chosen = check_attributes(attributes, ATTRIBUTES)
    if not styles or not set(styles) <= set(STYLES):
        raise InputError("styles", repr(styles), f"Use some of {', '.join(STYLES)}.")
    faces = load_drawn_faces(folder)
    part = faces.table["split"].map(SPLITS.index).to_numpy(dtype=np.int8)
    part = np.where(faces.table["style"].isin(styles), part, -1).astype(np.int8)
    rows = drawn_rows(part, (n_train, n_val, n_test), seed)
    labels = faces.table[chosen].to_numpy(dtype=np.float32, na_value=np.nan)
    pictures = shrunk(faces.pictures, size)[rows]
    return face_problem("drawn faces", chosen, pictures, labels[rows], part[rows], width=width, metric=metric)
