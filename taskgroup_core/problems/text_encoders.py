"""Frozen encoders: instructed texts as vectors, of the whole text and of each of its two sentences."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from taskgroup_core.device import resolve_device
from taskgroup_core.errors import InputError
from taskgroup_core.models.text import mean_over
from taskgroup_core.problems.backbones import Backbone, load_backbone
from taskgroup_core.problems.templates import Rendered, Span

HASHED = "hashed words"
_WORD = re.compile(r"\w+")


class TextEncoder(Protocol):
    """Turns texts into vectors."""

    name: str

    def encode(self, texts: Sequence[Rendered], sentences: tuple[str, str]) -> Tensor:
        """Vectors with shape (N, 3, d): of the whole text, and of what stands where each of two fields went."""


class HashedWords:
    """Counts of words, each with a random sign and place: no weights, no order of words, no meaning.

    Parameters
    ----------
    dimension : d.

    References
    ----------
    Weinberger et al., Feature hashing for large scale multitask learning, 2009.
    """

    def __init__(self, dimension: int = 128) -> None:
        if isinstance(dimension, bool) or not isinstance(dimension, int) or dimension < 1:
            raise InputError("dimension", repr(dimension), "Use a whole number, 1 or more.")
        self.name, self.dimension = HASHED, dimension

    def encode(self, texts: Sequence[Rendered], sentences: tuple[str, str]) -> Tensor:
        """See `TextEncoder`."""
        vectors = torch.zeros(len(texts), 3, self.dimension, dtype=torch.float32)
        for row, one in zip(vectors, texts, strict=True):
            pieces = [one.text, *(" ".join(one.text[start:end] for start, end in one.spans[s]) for s in sentences)]
            for vector, piece in zip(row, pieces, strict=True):
                for word in _WORD.findall(piece.lower()):
                    code = zlib.crc32(word.encode())
                    vector[code // 2 % self.dimension] += 1 - 2 * (code % 2)
        return vectors


class FrozenEncoder:
    """The last hidden states of a pretrained encoder, averaged over the tokens of the text and of each sentence.

    Parameters
    ----------
    backbone : see `load_backbone`; of an encoder-decoder the encoder is used. Its tokenizer must know where tokens
        come from ("fast" ones do).
    device : where to compute.
    rows_at_once : texts in one pass.
    """

    def __init__(self, backbone: Backbone, device: str | torch.device = "auto", rows_at_once: int = 32) -> None:
        self.name, self.backbone, self.rows_at_once = backbone.name, backbone, rows_at_once
        self.device = resolve_device(device)

    def encode(self, texts: Sequence[Rendered], sentences: tuple[str, str]) -> Tensor:
        """See `TextEncoder`; float32 on the CPU. Texts of like lengths share a pass, so little is spent on padding.

        Raises
        ------
        InputError : no text, or one longer than the model can read.
        """
        if not texts:
            raise InputError("texts", "none", "Give at least one text.")
        tokens = self.backbone.tokens([one.text for one in texts])
        model = self.backbone.model.to(self.device)
        encoder = model.get_encoder() if self.backbone.generates else model
        order = sorted(range(len(texts)), key=lambda row: len(tokens[row]))
        parts: list[Tensor] = []
        for start in range(0, len(order), self.rows_at_once):
            rows = order[start : start + self.rows_at_once]
            batch = self.backbone.tokenizer(
                [texts[row].text for row in rows], padding=True, return_offsets_mapping=True, return_tensors="pt"
            )
            there, places = batch["attention_mask"], batch["offset_mapping"]
            chosen = [there.bool()] + [
                torch.stack([_inside(place, texts[row].spans[s]) for place, row in zip(places, rows, strict=True)])
                for s in sentences
            ]
            with torch.no_grad():
                passed = encoder(
                    input_ids=batch["input_ids"].to(self.device), attention_mask=there.to(self.device)
                ).last_hidden_state
            parts.append(torch.stack([mean_over(passed.float(), some.to(self.device)) for some in chosen], dim=1).cpu())
        model.to("cpu")
        return torch.cat(parts)[torch.tensor(order).argsort()]


def _inside(places: Tensor, spans: Sequence[Span]) -> Tensor:
    """Which tokens, given by their ranges of characters (L, 2), overlap one of the spans."""
    begin, end = places[:, :1], places[:, 1:]
    first, last = torch.tensor(spans).T
    overlap: Tensor = ((begin < last) & (end > first) & (end > begin)).any(dim=1)
    return overlap


def load_encoder(name: str = "minilm", device: str | torch.device = "auto") -> TextEncoder:
    """A frozen encoder by name: "hashed words", or any name that `load_backbone` knows.

    Raises
    ------
    MissingExtra, DataError : see `load_backbone`.
    """
    return HashedWords() if name == HASHED else FrozenEncoder(load_backbone(name), device)
