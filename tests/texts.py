"""Tiny instructed texts and language models that many tests share: nothing is downloaded."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch

from taskgroup_core.problems.backbones import Backbone
from taskgroup_core.problems.instructions import adapter_problem, frozen_problem
from taskgroup_core.problems.problem import Problem
from taskgroup_core.problems.sentence_pairs import SentencePairs
from taskgroup_core.problems.templates import Instruction
from taskgroup_core.problems.text_encoders import HashedWords
from taskgroup_core.seeds import seeded

WORDS = ["red", "green", "blue", "black", "white", "grey"]
INSTRUCTIONS = (
    Instruction("plain", "{{premise}} then {{hypothesis}}", ("no", "yes")),
    Instruction("quoted", 'is {{"it"}} {{hypothesis}} after {{premise}}', ("no", "yes")),
    Instruction("reversed", "{{premise}} not {{hypothesis}}", ("yes", "no"), "reversed"),
)


def tiny_pairs(n: int = 60) -> SentencePairs:
    """Pairs of three colours each; label 1 where the first word is the same. Thirds: train, val, test."""
    generator = np.random.default_rng(5)
    label = np.tile([0, 1], n // 2).astype(np.int8)
    first = generator.integers(len(WORDS), size=(n, 3))
    second = generator.integers(len(WORDS), size=(n, 3))
    second[:, 0] = np.where(label == 1, first[:, 0], (first[:, 0] + 1) % len(WORDS))
    fields = {
        name: tuple(" ".join(WORDS[word] for word in row) for row in rows)
        for name, rows in (("premise", first), ("hypothesis", second))
    }
    return SentencePairs(
        "colours", fields, ("premise", "hypothesis"), label, np.repeat(["train", "val", "test"], n // 3)
    )


def tiny_tokenizer():
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import PreTrainedTokenizerFast

    words = ["<pad>", "<unk>", *WORDS, "then", "is", "it", "after", "not", "no", "yes"]
    tokenizer = Tokenizer(WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>")


@cache
def tiny_backbone(kind: str, dropout: float = 0.0) -> Backbone:
    """A random T5 or BERT of width 16."""
    import transformers as t

    tokenizer = tiny_tokenizer()
    with seeded(0, "tiny", kind):
        if kind == "t5":
            config = t.T5Config(
                vocab_size=len(tokenizer), d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2, dropout_rate=dropout,
                decoder_start_token_id=0, pad_token_id=0,
            )  # fmt: skip
            model = t.T5ForConditionalGeneration(config)
        else:
            config = t.BertConfig(
                vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
                intermediate_size=32, max_position_embeddings=24, pad_token_id=0,
                hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout,
            )  # fmt: skip
            model = t.BertModel(config)
    model.set_attn_implementation("eager")
    return Backbone(f"tiny {kind}", tokenizer, model.eval())


@cache
def adapted(kind: str) -> Problem:
    return adapter_problem(tiny_pairs(), INSTRUCTIONS, tiny_backbone(kind))


@cache
def frozen(head: str = "answers") -> Problem:
    return frozen_problem(tiny_pairs(), INSTRUCTIONS, HashedWords(32), head=head, components=4, width=6)


def trainable(network: torch.nn.Module) -> list[str]:
    return [name for name, value in network.named_parameters() if value.requires_grad]
