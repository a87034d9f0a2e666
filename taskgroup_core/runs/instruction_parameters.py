"""The setting of GRAD-TAG's experiments with instructions: a language model and lists that a reader must have."""

from __future__ import annotations

import math
from pathlib import Path

from taskgroup_core.errors import DataError
from taskgroup_core.problems.backbones import load_backbone
from taskgroup_core.problems.entailment_instructions import ENTAILMENT
from taskgroup_core.problems.instructions import adapter_problem
from taskgroup_core.problems.problem import Problem
from taskgroup_core.problems.prompt_files import Source, promptsource_instructions, released_instructions
from taskgroup_core.problems.rte import load_rte
from taskgroup_core.problems.templates import Instruction
from taskgroup_core.problems.wic import load_wic
from taskgroup_core.problems.word_sense_instructions import WORD_SENSE
from taskgroup_core.training.recipe import Recipe

N_INSTRUCTIONS = 100
T5_BASE = "google-t5/t5-base"


def paper_recipe(n_rows: int, batch_size: int = 8, steps: int = 5000) -> Recipe:
    """AdamW at 5e-5 for at least so many gradient steps: the fewest whole passes over the training inputs.

    Parameters
    ----------
    n_rows : training inputs of the subset: its instructions times the training pairs.
    batch_size : inputs a step; the paper does not give it.
    steps : gradient steps.

    References
    ----------
    GRAD-TAG, C.1.1.

    Deviations
    ----------
    A recipe counts passes, so up to one pass less one step is trained on top; weight decay, which the paper does not
    give, is 0.
    """
    epochs = math.ceil(steps / math.ceil(n_rows / batch_size))
    return Recipe(epochs=epochs, batch_size=batch_size, learning_rate=5e-5, optimiser="adamw")


def paper_instructions(source: Source, folder: str | Path | None = None) -> tuple[Instruction, ...]:
    """Up to 100 instructions: PromptSource's ten, the released list where a reader has it, and our own list.

    Parameters
    ----------
    source : "rte" or "wic".
    folder : of the instruction files, see `promptsource_instructions`.

    Raises
    ------
    DataError : PromptSource's file is missing, or a file is malformed.

    Deviations
    ----------
    Without the released list there are 42 instructions, 32 of them our own, in the place of 90 generated ones.
    """
    own = tuple(WORD_SENSE.values() if source == "wic" else ENTAILMENT.values())
    given = promptsource_instructions(source, folder)
    try:
        released = released_instructions(source, folder)
    except DataError as error:
        if error.found != "no such file":
            raise
        released = ()
    texts: dict[str, Instruction] = {}
    for one in (*given, *released, *own):
        texts.setdefault(one.text, one)
    return tuple(texts.values())[:N_INSTRUCTIONS]


def paper_problem(
    source: Source,
    model: str = T5_BASE,
    pairs_folder: str | Path | None = None,
    prompts_folder: str | Path | None = None,
    n_instructions: int = N_INSTRUCTIONS,
) -> Problem:
    """GRAD-TAG's problem on RTE or WiC: T5-Base with adapters of rank 4, one task an instruction, scored by accuracy.

    Parameters
    ----------
    source : "rte" or "wic".
    model : see `load_backbone`.
    pairs_folder, prompts_folder : where the files are; see `load_rte`, `load_wic` and `paper_instructions`.
    n_instructions : the first so many.

    Raises
    ------
    DataError : a model or a file that is not on this machine; the message says how to get it.
    MissingExtra : transformers or peft is absent.
    """
    backbone = load_backbone(model)
    pairs = load_wic(pairs_folder) if source == "wic" else load_rte(pairs_folder)
    chosen = paper_instructions(source, prompts_folder)[:n_instructions]
    return adapter_problem(pairs, chosen, backbone, rank=4)
