"""Recognizing Textual Entailment in the format of GLUE: does the first text imply the second?"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from taskgroup_core.errors import DataError, InputError
from taskgroup_core.problems.registry import DataFile, DataSet, locate
from taskgroup_core.problems.sentence_pairs import SentencePairs
from taskgroup_core.problems.text_files import opened_text
from taskgroup_core.seeds import numpy_generator

RTE = DataSet(
    "rte",
    "RTE, as GLUE distributes it",
    "no licence stated; made of the PASCAL challenges RTE-1, 2, 3 and 5, for research",
    tuple(
        DataFile(name, "https://dl.fbaipublicfiles.com/glue/data/RTE.zip", archived=True)
        for name in ("train.tsv", "dev.tsv")
    ),
)
DATASETS = (RTE,)

_COLUMNS = ["index", "sentence1", "sentence2", "label"]
_LABELS = {"entailment": 1, "not_entailment": 0}


def load_rte(folder: str | Path | None = None, *, validation: float = 0.1, seed: int = 0) -> SentencePairs:
    """RTE's pairs with fields "premise" and "hypothesis"; label 1 is entailment.

    The official test split has no labels, so the official development split is our test split, and a share of the
    training split is our validation split, as many of either label as its share gives. Pairs are drawn singly, so that
    some of the validation pairs share their premise with a training pair, as some of the official development split do.

    Parameters
    ----------
    folder : with train.tsv and dev.tsv; see `locate`.
    validation : share of the training pairs, in (0, 1).
    seed : decides which.

    Raises
    ------
    InputError : a share outside (0, 1).
    DataError : a file that is missing or without a pair, or a malformed row, with its line.

    References
    ----------
    Wang et al., GLUE, 2019; GRAD-TAG, section 5.1.2.

    Deviations
    ----------
    GRAD-TAG reports on the development split and does not say on what it chose groups: here never on that.
    """
    if not 0 < validation < 1:
        raise InputError("validation", str(validation), "Use a share between 0 and 1.")
    premises: list[str] = []
    hypotheses: list[str] = []
    labels: list[int] = []
    ends = []
    for name in ("train.tsv", "dev.tsv"):
        _read(locate(RTE, name, folder), premises, hypotheses, labels)
        ends.append(len(labels))
    label = np.array(labels, dtype=np.int8)
    split = np.repeat(np.array(["train", "test"]), np.diff([0, *ends]))
    generator = numpy_generator(seed, "rte", "validation")
    for value in (0, 1):
        there = np.flatnonzero(label[: ends[0]] == value)
        split[generator.choice(there, round(validation * len(there)), replace=False)] = "val"
    fields = {"premise": tuple(premises), "hypothesis": tuple(hypotheses)}
    return SentencePairs("RTE", fields, ("premise", "hypothesis"), label, split)


def _read(path: Path, premises: list[str], hypotheses: list[str], labels: list[int]) -> None:
    before = len(labels)
    with opened_text(path, "utf-8", newline="\n") as file:
        for number, line in enumerate(file, start=1):
            cells = line.rstrip("\n").split("\t")  # quotation marks stand for themselves in GLUE's files
            if number == 1:
                if cells != _COLUMNS:
                    raise DataError(f"{path}, line 1", repr(line[:60]), f"The first row names {', '.join(_COLUMNS)}.")
                continue
            if len(cells) != 4 or not (cells[1] and cells[2]) or cells[3] not in _LABELS:
                remedy = f"Each row holds a number, two texts and {' or '.join(_LABELS)}, separated by tabs."
                raise DataError(f"{path}, line {number}", repr(line[:60]), remedy)
            premises.append(cells[1])
            hypotheses.append(cells[2])
            labels.append(_LABELS[cells[3]])
    if len(labels) == before:
        raise DataError(str(path), "no pair", "Download it again.")
