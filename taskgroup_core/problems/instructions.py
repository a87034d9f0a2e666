"""Instruction tuning as multitask learning: one task an instruction, one input a pair and instruction (GRAD-TAG)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from taskgroup_core.errors import InputError
from taskgroup_core.examples import Examples
from taskgroup_core.models.text import EncoderAnswers, Seq2SeqAnswers, WordDifferences, with_adapters
from taskgroup_core.problems.backbones import Backbone
from taskgroup_core.problems.pair_features import pair_features
from taskgroup_core.problems.problem import Problem
from taskgroup_core.problems.sentence_pairs import SentencePairs
from taskgroup_core.problems.templates import Instruction, Rendered, render
from taskgroup_core.problems.text_encoders import TextEncoder
from taskgroup_core.tasks import Task

Metric = Literal["accuracy", "f1"]
Head = Literal["answers", "tasks"]


def instructed(pairs: SentencePairs, instructions: Sequence[Instruction]) -> Iterator[list[Rendered]]:
    """The P texts of each instruction, one instruction at a time, so that few texts are held.

    Raises
    ------
    InputError : no instruction or no pair, an instruction that leaves out a sentence, or see `render`.
    """
    if not instructions or not len(pairs):
        raise InputError("instructions, pairs", "none", "Give at least one of each.")
    for instruction in instructions:
        missing = sorted(set(pairs.sentences) - instruction.fields)
        if missing:
            found = f"{instruction.name!r} without {{{{{missing[0]}}}}}"
            raise InputError("instructions", found, "Use instructions that show both sentences.")
        yield [render(instruction, pairs.pair(index)) for index in range(len(pairs))]


def frozen_problem(
    pairs: SentencePairs,
    instructions: Sequence[Instruction],
    encoder: TextEncoder,
    *,
    head: Head = "answers",
    components: int = 8,
    width: int = 16,
    dropout: float = 0.0,
    metric: Metric = "accuracy",
) -> Problem:
    """Instructed texts as features from a frozen encoder, with a small trainable network on top.

    A stand-in for fine-tuning a language model: the encoder is run once and never trained, so that every training
    takes seconds. Input t P + i is pair i under instruction t; it has a label for task t only.

    Parameters
    ----------
    pairs : P pairs with their splits; every instruction asks about all of them.
    instructions : the n tasks.
    encoder : see `load_encoder`. Inputs are float32 with shape (n P, 1 + 2 k), see `pair_features`.
    components : k.
    head : "answers" puts out one logit for each different answer word, and a task reads the difference of its two
        words, as a language model that answers in words: all parameters are shared (`shared=lambda name: True` for
        estimators that ask). "tasks" gives each task an output of its own.
    width, dropout : of the one hidden layer.
    metric : the score of every task.

    Raises
    ------
    InputError : see `instructed` and `pair_features`, an unknown head, or a dropout or width out of range.

    References
    ----------
    GRAD-TAG, section 5.1.2.

    Deviations
    ----------
    GRAD-TAG fine-tunes T5-Base with LoRA: see `adapter_problem`.
    """
    if head not in ("answers", "tasks"):
        raise InputError("head", repr(head), 'Use "answers" or "tasks".')
    if not 0 <= dropout < 1:
        raise InputError("dropout", str(dropout), "Use a number from 0 to below 1.")
    if isinstance(width, bool) or not isinstance(width, int) or width < 1:
        raise InputError("width", repr(width), "Use a whole number, 1 or more.")
    vectors = torch.cat([encoder.encode(texts, pairs.sentences) for texts in instructed(pairs, instructions)])
    trained = torch.from_numpy(pairs.split == "train").repeat(len(instructions))
    inputs = pair_features(vectors, trained, components)
    words = sorted({word for one in instructions for word in one.answers})
    answers = [(words.index(one.answers[0]), words.index(one.answers[1])) for one in instructions]
    n_outputs = len(words) if head == "answers" else len(instructions)
    build = partial(_network, inputs.shape[1], width, dropout, n_outputs, answers if head == "answers" else None)
    return _problem(f"{pairs.name}, {encoder.name}", pairs, instructions, inputs, build, metric)


def adapter_problem(
    pairs: SentencePairs,
    instructions: Sequence[Instruction],
    backbone: Backbone,
    *,
    rank: int = 4,
    alpha: int = 8,
    dropout: float = 0.0,
    metric: Metric = "accuracy",
) -> Problem:
    """Instructed texts as tokens, for a language model of which low-rank adapters are trained.

    An encoder-decoder answers in words: a task's output is the log-odds of the first tokens of its two answers, and
    all trainable parameters are shared (`shared=lambda name: True` for estimators that ask). An encoder gets a linear
    head, trained along, with one row a task. Input t P + i is pair i under instruction t, int64 with the length of the
    longest text, filled up with the tokenizer's padding.

    Parameters
    ----------
    pairs, instructions, metric : as of `frozen_problem`.
    backbone : see `load_backbone`.
    rank, alpha, dropout : of the adapters, see `with_adapters`.

    Raises
    ------
    InputError : see `instructed` and `with_adapters`; a text longer than the model reads, or two answers of a task
        that begin with the same token.
    MissingExtra : peft is absent.

    References
    ----------
    GRAD-TAG, section 5.1.2 and C.1.1: T5-Base, LoRA of rank 4.

    Deviations
    ----------
    The paper does not say how answers are scored, nor alpha; peft's default is taken.
    """
    tokens = [backbone.tokens([one.text for one in texts]) for texts in instructed(pairs, instructions)]
    longest = max(len(text) for texts in tokens for text in texts)
    padding = int(backbone.tokenizer.pad_token_id)
    inputs = torch.full((len(instructions) * len(pairs), longest), padding, dtype=torch.int64)
    for row, text in zip(inputs, (text for texts in tokens for text in texts), strict=True):
        row[: len(text)] = torch.tensor(text)
    answers = [_first_tokens(backbone, one) for one in instructions] if backbone.generates else None
    with_adapters(backbone.model, rank, alpha, dropout)  # what cannot be built is refused here and not at the first use
    build = partial(_adapted, backbone, rank, alpha, dropout, padding, len(instructions), answers)
    return _problem(f"{pairs.name}, {backbone.name}", pairs, instructions, inputs, build, metric)


def _problem(
    name: str,
    pairs: SentencePairs,
    instructions: Sequence[Instruction],
    inputs: Tensor,
    build: partial[nn.Module],
    metric: Metric,
) -> Problem:
    label, task = torch.from_numpy(pairs.label).float(), torch.arange(len(instructions))

    def examples(split: str) -> Examples:
        there = torch.from_numpy((pairs.split == split).nonzero()[0])
        rows = (task[:, None] * len(pairs) + there).flatten()
        return Examples(rows, task.repeat_interleave(len(there)), label[there].repeat(len(task)))

    tasks = tuple(Task(one.name, metric=metric) for one in instructions)
    return Problem(name, tasks, inputs, examples("train"), examples("val"), examples("test"), build)


def _network(
    n_features: int, width: int, dropout: float, n_outputs: int, answers: Sequence[tuple[int, int]] | None
) -> nn.Module:
    layers = [nn.Linear(n_features, width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, n_outputs)]
    return nn.Sequential(*layers, *([] if answers is None else [WordDifferences(answers)]))


def _first_tokens(backbone: Backbone, instruction: Instruction) -> tuple[int, int]:
    negative, positive = (text[0] for text in backbone.tokens(list(instruction.answers), marks=False))
    if negative == positive:
        found = f"{instruction.answers} of {instruction.name!r}, which begin with one token"
        raise InputError("instructions", found, "Use answers that differ from the first token on.")
    return negative, positive


def _adapted(
    backbone: Backbone,
    rank: int,
    alpha: int,
    dropout: float,
    padding: int,
    n_tasks: int,
    answers: Sequence[tuple[int, int]] | None,
) -> nn.Module:
    model = with_adapters(backbone.model, rank, alpha, dropout)
    if answers is None:
        return EncoderAnswers(model, padding, n_tasks)
    return Seq2SeqAnswers(model, padding, answers)
