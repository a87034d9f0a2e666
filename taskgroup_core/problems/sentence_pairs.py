"""Pairs of sentences with a binary label and splits: what instructions ask about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from taskgroup_core.errors import InputError
from taskgroup_core.problems.problem import Split
from taskgroup_core.seeds import numpy_generator


@dataclass(frozen=True)
class SentencePairs:
    """P pairs of sentences.

    Parameters
    ----------
    name : for records and figures.
    fields : the P texts of each placeholder that instructions may use.
    sentences : which two of the fields are the sentences.
    label : int8 with shape (P,): 1 for entailment or the same sense, else 0.
    split : "train", "val" or "test" of each pair, with shape (P,).

    Raises
    ------
    InputError : lengths that differ, sentences that are no fields, labels other than 0 and 1, or an unknown split.
    """

    name: str
    fields: Mapping[str, tuple[str, ...]]
    sentences: tuple[str, str]
    label: NDArray[np.int8]
    split: NDArray[np.str_]

    def __post_init__(self) -> None:
        lengths = {len(self.label), len(self.split), *map(len, self.fields.values())}
        if len(lengths) != 1:
            raise InputError("fields", f"lengths {sorted(lengths)}", "Give one text, label and split a pair.")
        if not set(self.sentences) <= self.fields.keys():
            raise InputError("sentences", str(self.sentences), f"Name two of {', '.join(self.fields)}.")
        if not np.isin(self.label, (0, 1)).all():
            raise InputError("label", str(np.unique(self.label)), "Use 0 and 1.")
        if not np.isin(self.split, get_args(Split)).all():
            raise InputError("split", str(np.unique(self.split)), f"Use {', '.join(get_args(Split))}.")

    def __len__(self) -> int:
        return len(self.label)

    def pair(self, index: int) -> dict[str, str]:
        """The fields of one pair."""
        return {name: texts[index] for name, texts in self.fields.items()}

    def take(self, indices: NDArray[np.int64]) -> SentencePairs:
        """Some of the pairs, in the order of `indices`."""
        fields = {name: tuple(texts[index] for index in indices) for name, texts in self.fields.items()}
        return SentencePairs(self.name, fields, self.sentences, self.label[indices], self.split[indices])

    def sample(self, train: int, val: int, test: int, seed: int = 0) -> SentencePairs:
        """So many pairs of each split, half of them with either label, in their present order.

        Raises
        ------
        InputError : a number that is not even and positive, or more than there are.
        """
        generator = numpy_generator(seed, "sentence pairs")
        chosen: list[NDArray[np.int64]] = []
        for split, number in {"train": train, "val": val, "test": test}.items():
            for label in (0, 1):
                there = np.flatnonzero((self.split == split) & (self.label == label))
                if number < 2 or number % 2 or number // 2 > len(there):
                    remedy = f"Use an even number; {len(there)} pairs there have label {label}."
                    raise InputError(split, str(number), remedy)
                chosen.append(generator.choice(there, number // 2, replace=False))
        return self.take(np.sort(np.concatenate(chosen)))
