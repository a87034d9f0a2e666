"""Instruction lists in files: PromptSource's YAML, and the JSON of the code released with GRAD-TAG."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from taskgroup_core.errors import DataError, InputError, MissingExtra
from taskgroup_core.problems.registry import DataFile, DataSet, locate
from taskgroup_core.problems.templates import Instruction

Source = Literal["rte", "wic"]

_RAW = "https://raw.githubusercontent.com/bigscience-workshop/promptsource/main/promptsource/templates"
PROMPTSOURCE = {"rte": "promptsource_super_glue_rte.yaml", "wic": "promptsource_super_glue_wic.yaml"}
RELEASED = "grad-tag_task_templates.json"
PROMPTS = DataSet(
    "prompts",
    "instruction templates: PromptSource's for RTE and WiC, and those of the code released with GRAD-TAG",
    "PromptSource: Apache-2.0; the list released with GRAD-TAG: no licence stated",
    (
        DataFile(PROMPTSOURCE["rte"], f"{_RAW}/super_glue/rte/templates.yaml"),
        DataFile(PROMPTSOURCE["wic"], f"{_RAW}/super_glue/wic/templates.yaml"),
        DataFile(RELEASED),
    ),
    f"Take the list task -> templates from the code released with GRAD-TAG and save it as {RELEASED}.",
)
DATASETS = (PROMPTS,)

# Which of PromptSource's answer choices belongs to label 1 (entailment, the same sense): RTE's class 0, WiC's class 1.
_POSITIVE = {"rte": 0, "wic": 1}
# The released list leaves its answer choices out; these are the ones of PromptSource's templates.
_ANSWERS = {"rte": ("No", "Yes"), "wic": ("No", "Yes")}
_ANSWER = re.compile(r"(\{%if\w+!=-1%\})?\{\{answer_choices\[label\]\}\}(?(1)\{%endif%\})")


def promptsource_instructions(source: Source, folder: str | Path | None = None) -> tuple[Instruction, ...]:
    """PromptSource's ten templates for RTE or WiC, as SuperGLUE has them.

    Parameters
    ----------
    source : "rte" or "wic".
    folder : where the file is; see `locate`.

    Raises
    ------
    InputError : another source.
    DataError : a file that is missing or malformed, or a template that does more than fill in fields.
    MissingExtra : PyYAML, which comes with transformers, is absent.

    References
    ----------
    Bach et al., PromptSource, 2022; GRAD-TAG, section 5.1.2 (10 of its 100 instructions each).
    """
    path = locate(PROMPTS, PROMPTSOURCE[_known(source)], folder)
    templates = _yaml(path).get("templates")
    if not isinstance(templates, dict) or not templates:
        raise DataError(str(path), "no templates", "Give PromptSource's templates.yaml.")
    found = []
    for key, one in templates.items():
        where = f"{path}, template {key}"
        if not isinstance(one, dict) or not all(isinstance(one.get(k), str) for k in ("name", "jinja")):
            raise DataError(where, "no name or no jinja", "Give PromptSource's templates.yaml.")
        choices = [word.strip() for word in str(one.get("answer_choices")).split("|||")]
        if len(choices) != 2:
            raise DataError(where, f"{len(choices)} answer choices", "Use templates with two.")
        positive = _POSITIVE[source]
        found.append(_instruction(where, one["name"], one["jinja"], (choices[1 - positive], choices[positive])))
    return tuple(found)


def released_instructions(source: Source, folder: str | Path | None = None) -> tuple[Instruction, ...]:
    """The list of the code released with GRAD-TAG, each text once, named "released 0" and so on by its place there.

    Parameters
    ----------
    source : "rte" or "wic".
    folder : where the file is; see `locate`.

    Raises
    ------
    InputError : another source.
    DataError : a file that is missing or malformed, or a template that does more than fill in fields.

    Deviations
    ----------
    The answer words, which the list leaves out, are "No" and "Yes", as in PromptSource's templates.
    """
    path = locate(PROMPTS, RELEASED, folder)
    try:
        lists = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DataError(str(path), f"no JSON ({error})", "Give the list as it was released.") from error
    texts = lists.get(_known(source)) if isinstance(lists, dict) else None
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise DataError(str(path), f"no list of texts {source!r}", "Give the list as it was released.")
    places = {text: place for place, text in reversed(list(enumerate(texts)))}
    return tuple(
        _instruction(f"{path}, {source}[{place}]", f"released {place}", text, _ANSWERS[source])
        for text, place in sorted(places.items(), key=lambda item: item[1])
    )


def _known(source: Source) -> Source:
    if source not in PROMPTSOURCE:
        raise InputError("source", repr(source), f"Use one of {', '.join(PROMPTSOURCE)}.")
    return source


def _instruction(where: str, name: str, jinja: str, answers: tuple[str, str]) -> Instruction:
    """The prompt in front of the bars; what follows must be PromptSource's phrase for the answer."""
    prompt, bars, answer = jinja.partition("|||")
    if not bars or not _ANSWER.fullmatch(re.sub(r"\s+", "", answer)):
        remedy = "Use templates of the form: prompt ||| {{answer_choices[label]}}."
        raise DataError(where, f"the answer part {answer.strip()[:60]!r}", remedy)
    try:
        return Instruction(name, prompt.strip(), answers)
    except InputError as error:
        raise DataError(where, error.found, error.remedy) from error


def _yaml(path: Path) -> Mapping[str, Any]:
    try:
        yaml: Any = import_module("yaml")  # which ships no types
    except ImportError as error:
        raise MissingExtra("transformers", "text") from error  # which brings PyYAML along
    # Plain values only; PromptSource's own tags are read as mappings.
    loader: Any = type("Loader", (yaml.SafeLoader,), {})
    for tag in ("!Template", "!TemplateMetadata"):
        loader.add_constructor(tag, lambda reader, node: reader.construct_mapping(node, deep=True))
    try:
        read = yaml.load(path.read_text(encoding="utf-8"), loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        first = " ".join(str(error).split())[:120]
        raise DataError(str(path), f"no YAML of plain values ({first})", "Download it again.") from error
    return read if isinstance(read, dict) else {}
