"""Docstrings of the package taken apart into sections, and written as reStructuredText or Markdown."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable

_ITEM = re.compile(r"^(?P<name>[\w*][\w.*, ]*) : (?P<text>.*)$")
_NUMBER = re.compile(r"^(\d+\.|-) ")
_CODE = re.compile(r"(`+)(.+?)\1")
_SPECIAL = re.compile(r"([\\*_|`<>\[\]])")


def sections(docstring: str) -> dict[str, list[str]]:
    """The lines of each section by its heading, in order; what stands before the first heading is under ""."""
    lines = inspect.cleandoc(docstring).splitlines()
    found: dict[str, list[str]] = {"": []}
    heading = ""
    for index, line in enumerate(lines):
        following = lines[index + 1] if index + 1 < len(lines) else ""
        if line and following and set(following) == {"-"}:
            heading = line.strip()
            found[heading] = []
        elif not (line and set(line) == {"-"}):
            found[heading].append(line)
    return found


def as_rst(docstring: str) -> list[str]:
    """The docstring as reStructuredText: sections as bold headings, their items as lists, code as it stands."""
    text: list[str] = []
    for heading, lines in sections(docstring).items():
        if heading:
            text += [f"**{heading}**", ""]
        for block in _blocks(lines):
            text += [*_block_as_rst(block), ""]
    return text


def as_markdown(lines: list[str], indent: int) -> str:
    """Lines of a docstring as Markdown, all but the first indented by that many columns, for a table's cell."""
    blocks = [_marked(block) for block in _blocks(lines)]
    return f"\n\n{' ' * indent}".join(mark + _escaped(text, lambda code: f"`{code}`") for mark, text in blocks)


def _blocks(lines: list[str]) -> list[list[str]]:
    """Paragraphs, and items (`name : text`, `- text` or `1. text`, with the indented lines below) one by one."""
    blocks: list[list[str]] = [[]]
    for line in lines:
        starts = _ITEM.match(line) or _NUMBER.match(line)
        if (not line.strip()) or starts:
            blocks.append([])
        if line.strip():
            blocks[-1].append(line)
    return [block for block in blocks if block]


def _block_as_rst(block: list[str]) -> list[str]:
    if block[0].lstrip().startswith(">>>"):
        return [line.strip() for line in block]
    if all(line.startswith("    ") for line in block):
        return ["::", "", *block]
    mark, text = _marked(block)
    item = _ITEM.match(text)
    if item:
        return [f"* ``{item['name']}``: {_rst(item['text'])}"]
    return [mark + _rst(text)]


def _marked(block: list[str]) -> tuple[str, str]:
    """A block as its list mark ("" for a paragraph) and its text on one line."""
    text = " ".join(line.strip() for line in block)
    mark = _NUMBER.match(text)
    return (mark[0], text[mark.end() :]) if mark else ("", text)


def _rst(text: str) -> str:
    # The zero-width escape keeps a letter right behind the code from being read as part of the markup.
    return _escaped(text, lambda code: f"``{code}``\\ ").replace("\\  ", " ").rstrip("\\ ")


def _escaped(text: str, code: Callable[[str], str]) -> str:
    parts, end = [], 0
    for match in _CODE.finditer(text):
        parts += [_SPECIAL.sub(r"\\\1", text[end : match.start()]), code(match[2])]
        end = match.end()
    return "".join([*parts, _SPECIAL.sub(r"\\\1", text[end:])])
