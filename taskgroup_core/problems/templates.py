"""Instructions: templates with placeholders and answer words, rendered by substitution and nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from taskgroup_core.errors import InputError

Span = tuple[int, int]

_TAG = re.compile(r"""\{\{\s*(?:(?P<field>\w+)|"(?P<double>[^"{}]*)"|'(?P<single>[^'{}]*)')\s*\}\}""")
_CODE = re.compile(r"\{\{|\}\}|\{%|%\}|\{#|#\}")


@dataclass(frozen=True)
class Instruction:
    """One way to ask about a pair of sentences: a task of instruction tuning.

    Parameters
    ----------
    name : unique within a problem.
    text : with placeholders such as {{premise}}; {{"a literal"}} stands for what it quotes.
    answers : the words that answer it, for label 0 and for label 1.
    note : what is peculiar about it, such as "reversed" where label 1 is answered by the word that denies.

    Raises
    ------
    InputError : a text with other tags, which are never executed, or without a placeholder; answers that are empty or
        equal.
    """

    name: str
    text: str
    answers: tuple[str, str]
    note: str = ""

    def __post_init__(self) -> None:
        rest = _TAG.sub("", self.text)
        code = _CODE.search(rest)
        if code:
            found = f"{rest[code.start() :][:40]!r} in {self.name!r}"
            raise InputError("text", found, 'Use {{name}} and {{"literal"}} only: no expression is evaluated.')
        if not self.fields:
            raise InputError("text", f"no placeholder in {self.name!r}", "Name a field of the pairs, as {{premise}}.")
        if not all(word.strip() for word in self.answers) or len(set(self.answers)) < 2:
            raise InputError("answers", f"{self.answers} in {self.name!r}", "Give two different words.")

    @property
    def fields(self) -> frozenset[str]:
        """The names of its placeholders."""
        return frozenset(match["field"] for match in _TAG.finditer(self.text) if match["field"])


@dataclass(frozen=True)
class Rendered:
    """A template filled in, and where each field went: half-open ranges of characters, in the order of the text."""

    text: str
    spans: Mapping[str, tuple[Span, ...]]


def render(instruction: Instruction, fields: Mapping[str, str]) -> Rendered:
    """Fill in a template; what is filled in is text and never looked at again, whatever braces it holds.

    Parameters
    ----------
    instruction : its text is used.
    fields : name -> text; names that the instruction does not use are ignored.

    Raises
    ------
    InputError : a placeholder that is not among the fields.
    """
    unknown = sorted(instruction.fields - fields.keys())
    if unknown:
        found = f"{{{{{unknown[0]}}}}} in {instruction.name!r}"
        raise InputError("instruction", found, f"The pairs have {', '.join(sorted(fields))}.")
    parts: list[str] = []
    spans: dict[str, tuple[Span, ...]] = {}
    length = end = 0
    for match in _TAG.finditer(instruction.text):
        name = match["field"]
        put = fields[name] if name else match["double"] or match["single"] or ""
        before = instruction.text[end : match.start()]
        start = length + len(before)
        length, end = start + len(put), match.end()
        parts += [before, put]
        if name:
            spans[name] = (*spans.get(name, ()), (start, length))
    return Rendered("".join([*parts, instruction.text[end:]]), spans)
