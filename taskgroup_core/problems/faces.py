"""Attributes of faces as multitask learning: one binary task an attribute, on pictures that are kept as bytes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from taskgroup_core.errors import InputError
from taskgroup_core.examples import Examples
from taskgroup_core.models.residual import Residual
from taskgroup_core.problems.pictures import Bytes
from taskgroup_core.problems.problem import Problem
from taskgroup_core.seeds import numpy_generator
from taskgroup_core.tasks import Task

SPLITS = ("train", "val", "test")
FULL_SIZE = 64  # pixels: TAG's
SIZES = (8, 16, 32, FULL_SIZE)


def check_size(size: int) -> None:
    """Refuse a size that pictures of 64 x 64 cannot be shrunk to.

    Raises
    ------
    InputError : any other size than 8, 16, 32 or 64.
    """
    if size not in SIZES:
        raise InputError("size", repr(size), f"Use one of {', '.join(map(str, SIZES))} pixels.")


def check_attributes(attributes: Sequence[str], known: Sequence[str]) -> list[str]:
    """The names of attributes as a list.

    Raises
    ------
    InputError : a name that is not known.
    """
    unknown = [name for name in attributes if name not in known]
    if unknown:
        raise InputError("attributes", repr(unknown[0]), f"Use some of {', '.join(known)}.")
    return list(attributes)


def drawn_rows(split: NDArray[np.int8], counts: Sequence[int | None], seed: int) -> NDArray[np.int64]:
    """The rows of some examples of each split, in their order.

    Parameters
    ----------
    split : 0 train, 1 val, 2 test of each row, shape (N,); another number for rows that do not come into question.
    counts : how many of each split; None takes all.
    seed : decides which. A larger count of the same seed holds the examples of a smaller one.

    Raises
    ------
    InputError : a count that is not between 1 and what there is.
    """
    kept = []
    for part, (name, count) in enumerate(zip(SPLITS, counts, strict=True)):
        rows = np.flatnonzero(split == part)
        if count is not None:
            if isinstance(count, bool) or not 1 <= count <= len(rows):
                raise InputError(f"n_{name}", repr(count), f"Use 1 to {len(rows)}, or None for all.")
            rows = numpy_generator(seed, "pictures", name).permutation(rows)[:count]
        kept.append(rows)
    return np.sort(np.concatenate(kept))


def face_problem(
    name: str,
    attributes: Sequence[str],
    pictures: Bytes,
    labels: NDArray[np.float32],
    split: NDArray[np.int8],
    *,
    width: int,
    metric: str,
) -> Problem:
    """One binary task an attribute, for a `Residual` network.

    Parameters
    ----------
    name : of the problem.
    attributes : the n names.
    pictures : uint8 with shape (N, 3, size, size).
    labels : 0 or 1, NaN where missing, with shape (N, n).
    split : 0 train, 1 val, 2 test of each picture, shape (N,).
    width : of the network.
    metric : of every task.

    Raises
    ------
    InputError : see `Problem`.
    """

    def examples(part: int) -> Examples:
        row, task = np.nonzero(~np.isnan(labels) & (split == part)[:, None])
        return Examples(*map(torch.from_numpy, (row, task, labels[row, task])))

    return Problem(
        name,
        tuple(Task(attribute, metric=metric) for attribute in attributes),
        torch.from_numpy(pictures),
        examples(0),
        examples(1),
        examples(2),
        partial(Residual, len(attributes), pictures.shape[-1], width),
    )
