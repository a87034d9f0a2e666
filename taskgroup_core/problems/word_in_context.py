"""Word-in-context pairs from WordNet's example sentences: the data that come with the project."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from taskgroup_core.problems.registry import embedded, shipped
from taskgroup_core.problems.sentence_pairs import SentencePairs

DATASETS = (
    shipped(
        "word_in_context",
        "pairs of WordNet's example sentences that share a word, in one sense or two",
        "WordNet's own: use, change and distribute with its notice",
        "pairs.parquet",
    ),
)


def load_word_in_context(folder: str | Path | None = None) -> SentencePairs:
    """Pairs with fields "word", "sentence1" and "sentence2"; label 1 is one sense. See data/word_in_context/README.md.

    Parameters
    ----------
    folder : where the frozen file is; see `embedded`.

    Raises
    ------
    DataError : a file that is missing, or whose SHA-256 is not the recorded one.
    """
    table = pd.read_parquet(embedded("word_in_context", folder) / "pairs.parquet")
    fields = {name: tuple(map(str, table[name])) for name in ("word", "sentence1", "sentence2")}
    label, split = table["label"].to_numpy(dtype=np.int8), np.array(table["split"].tolist())
    return SentencePairs("word in context", fields, ("sentence1", "sentence2"), label, split)
