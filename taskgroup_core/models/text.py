"""Networks for instructed texts: answers read off words, on frozen features or on a language model with adapters."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from taskgroup_core.errors import InputError, MissingExtra


class WordDifferences(nn.Module):
    """From logits of words, with shape (B, V), to one column a task: the word of label 1 minus the word of label 0.

    With the logits of a softmax over all words, a column is the log-odds of a task's two answers.

    Parameters
    ----------
    answers : for each of the n tasks, the indices of its words for label 0 and label 1.
    """

    negative: Tensor
    positive: Tensor

    def __init__(self, answers: Sequence[tuple[int, int]]) -> None:
        super().__init__()
        for name, indices in zip(("negative", "positive"), zip(*answers, strict=True), strict=True):
            self.register_buffer(name, torch.tensor(indices))

    def forward(self, words: Tensor) -> Tensor:
        """Logits with shape (B, n)."""
        return words[:, self.positive] - words[:, self.negative]


class _TokenNetwork(nn.Module, ABC):
    """A language model on token ids; what it needs to run under `vmap` and in bounded memory.

    Parameters
    ----------
    model : of transformers, with "eager" attention: fused attention has no forward mode.
    padding : the id that fills up short texts; no attention is paid to it.
    rows_at_once : texts in one pass where no gradient is kept, as in evaluation; rows do not influence each other.
    """

    def __init__(self, model: nn.Module, padding: int, rows_at_once: int) -> None:
        super().__init__()
        self.model, self.padding, self.rows_at_once = model, padding, rows_at_once

    @abstractmethod
    def _outputs(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Outputs with shape (B, n) of tokens (B, L); the mask, with shape (B, 1, 1, L), is added to scores."""

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits with shape (B, n) of token ids, int64 with shape (B, L)."""
        if torch.is_grad_enabled():
            return self._some(tokens)
        return torch.cat([self._some(part) for part in tokens.split(self.rows_at_once)])

    def _some(self, tokens: Tensor) -> Tensor:
        # transformers takes a mask of four axes as it is; of one with two axes it asks whether all of it is true, which
        # vmap cannot answer.
        hidden = (tokens == self.padding).to(next(self.model.parameters()).dtype)
        mask = (hidden * torch.finfo(hidden.dtype).min)[:, None, None]
        return self._outputs(tokens, mask)


class Seq2SeqAnswers(_TokenNetwork):
    """An encoder-decoder, such as T5, scored by the first token it would answer with.

    Parameters
    ----------
    model, padding, rows_at_once : the language model, see above; its output layer covers the whole vocabulary.
    answers : for each of the n tasks, the tokens that its answers for label 0 and label 1 begin with.
    """

    def __init__(self, model: Any, padding: int, answers: Sequence[tuple[int, int]], rows_at_once: int = 32) -> None:
        super().__init__(model, padding, rows_at_once)
        self.start = int(model.config.decoder_start_token_id)
        self.answers = WordDifferences(answers)

    def _outputs(self, tokens: Tensor, mask: Tensor) -> Tensor:
        model: Any = self.model
        encoded = model.get_encoder()(input_ids=tokens, attention_mask=mask).last_hidden_state
        decoded = model(
            encoder_outputs=(encoded,),
            attention_mask=mask,
            decoder_input_ids=torch.full_like(tokens[:, :1], self.start),
            decoder_attention_mask=torch.zeros_like(mask[..., :1]),
            use_cache=False,
        )
        outputs: Tensor = self.answers(decoded.logits[:, 0])
        return outputs


class EncoderAnswers(_TokenNetwork):
    """An encoder, such as BERT or MiniLM, with a linear head on the mean of its last hidden states: one row a task.

    Parameters
    ----------
    model, padding, rows_at_once : the language model, see above.
    n_outputs : number of tasks, n.
    """

    def __init__(self, model: Any, padding: int, n_outputs: int, rows_at_once: int = 32) -> None:
        super().__init__(model, padding, rows_at_once)
        self.head = nn.Linear(model.config.hidden_size, n_outputs)

    def _outputs(self, tokens: Tensor, mask: Tensor) -> Tensor:
        hidden = self.model(input_ids=tokens, attention_mask=mask).last_hidden_state
        outputs: Tensor = self.head(mean_over(hidden, tokens != self.padding))
        return outputs


def mean_over(hidden: Tensor, chosen: Tensor) -> Tensor:
    """Mean over the chosen positions, with shape (B, d), of hidden states (B, L, d); zero where none is chosen."""
    weight = chosen.to(hidden.dtype)[..., None]
    mean: Tensor = (hidden * weight).sum(dim=1) / weight.sum(dim=1).clamp_min(1)
    return mean


def with_adapters(model: Any, rank: int, alpha: int = 8, dropout: float = 0.0) -> nn.Module:
    """A copy of a language model in which only low-rank adapters (LoRA) of its attention are trainable.

    A weight W is replaced by W + (alpha / rank) B A with B = 0 at first, so that the copy computes what the model does.

    Parameters
    ----------
    model : of transformers; left unchanged.
    rank : rows of A.
    alpha : scale; 8 is peft's default.
    dropout : probability of dropping an input of A in training.

    Raises
    ------
    InputError : a rank below 1, or a model for which peft does not know the layers to adapt.
    MissingExtra : peft is absent.

    References
    ----------
    Hu et al., LoRA, 2022; GRAD-TAG, C.1.1: rank 4.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
        from peft.utils import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING as TARGETS
    except ImportError as error:
        raise MissingExtra("peft", "text") from error
    if isinstance(rank, bool) or not isinstance(rank, int) or rank < 1:
        raise InputError("rank", repr(rank), "Use a whole number, 1 or more.")
    kind = model.config.model_type
    if kind not in TARGETS:
        raise InputError("model", f"the type {kind!r}", "Use one whose layers to adapt peft knows, such as T5 or BERT.")
    chosen = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=list(TARGETS[kind]))
    adapted: nn.Module = inject_adapter_in_model(chosen, copy.deepcopy(model))
    for name, parameter in adapted.named_parameters():
        parameter.requires_grad_("lora_" in name)
    return adapted
