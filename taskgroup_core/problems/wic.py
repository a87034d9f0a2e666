"""WiC, the Word-in-Context data set: does a word mean the same in two sentences?"""

from __future__ import annotations

from itertools import zip_longest
from pathlib import Path

import numpy as np

from taskgroup_core.errors import DataError
from taskgroup_core.problems.problem import Split
from taskgroup_core.problems.registry import DataFile, DataSet, locate
from taskgroup_core.problems.sentence_pairs import SentencePairs
from taskgroup_core.problems.text_files import opened_text
from taskgroup_core.problems.text_rows import numbers

_SPLITS: dict[Split, str] = {"train": "train", "val": "dev", "test": "test"}
WIC = DataSet(
    "wic",
    "WiC 1.0, the Word-in-Context data set",
    "CC BY-NC 4.0, as far as known",
    tuple(
        DataFile(f"{name}.{kind}.txt", "https://pilehvar.github.io/wic/package/WiC_dataset.zip", archived=True)
        for name in _SPLITS.values()
        for kind in ("data", "gold")
    ),
)
DATASETS = (WIC,)

_ROW = "Each row holds a word, N or V, two positions as 3-1, and two sentences, separated by tabs."


def load_wic(folder: str | Path | None = None) -> SentencePairs:
    """WiC's pairs with fields "word", "sentence1" and "sentence2", in the official splits; label 1 is one meaning.

    Parameters
    ----------
    folder : with train.data.txt, train.gold.txt and so on; see `locate`.

    Raises
    ------
    DataError : a file that is missing, a malformed row (with its line), or files of different lengths.

    References
    ----------
    Pilehvar and Camacho-Collados, WiC, 2019; GRAD-TAG, section 5.1.2.

    Deviations
    ----------
    Sentences are used as they are: tokens with spaces between them. GRAD-TAG reports on the development split, which
    is our validation split.
    """
    columns: tuple[list[str], ...] = ([], [], [])
    labels: list[int] = []
    splits: list[str] = []
    for split, name in _SPLITS.items():
        before = len(labels)
        _read(locate(WIC, f"{name}.data.txt", folder), locate(WIC, f"{name}.gold.txt", folder), columns, labels)
        splits += [split] * (len(labels) - before)
    fields = dict(zip(("word", "sentence1", "sentence2"), map(tuple, columns), strict=True))
    return SentencePairs("WiC", fields, ("sentence1", "sentence2"), np.array(labels, dtype=np.int8), np.array(splits))


def _read(data: Path, gold: Path, columns: tuple[list[str], ...], labels: list[int]) -> None:
    number = 0
    with opened_text(data, "utf-8", newline="\n") as rows, opened_text(gold, "utf-8", newline="\n") as answers:
        for number, (row, answer) in enumerate(zip_longest(rows, answers), start=1):
            if row is None or answer is None:
                short, long = (data, gold) if row is None else (gold, data)
                raise DataError(str(short), f"{number - 1} rows, fewer than {long.name}", "Use files of one release.")
            cells = row.rstrip("\n").split("\t")
            if len(cells) != 5 or cells[1] not in ("N", "V") or not _inside(cells[2], cells[3], cells[4]):
                raise DataError(f"{data}, line {number}", repr(row[:60]), _ROW)
            if answer.strip() not in ("T", "F"):
                raise DataError(f"{gold}, line {number}", repr(answer[:60]), "Each row holds T or F.")
            for column, cell in zip(columns, (cells[0], cells[3], cells[4]), strict=True):
                column.append(cell)
            labels.append(int(answer.strip() == "T"))
    if not number:
        raise DataError(str(data), "no pair", "Download it again.")


def _inside(positions: str, *sentences: str) -> bool:
    """Whether positions such as 3-1 are tokens of the two sentences."""
    found = numbers(positions.replace("-", "\t")) or []
    return len(found) == 2 and all(one < len(text.split(" ")) for one, text in zip(found, sentences, strict=True))
