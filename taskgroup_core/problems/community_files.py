"""Lists of communities in files: SNAP's text, one community a row, and cdlib's JSON."""

from __future__ import annotations

import json
import re
from itertools import islice
from pathlib import Path

import numpy as np

from taskgroup_core.errors import DataError
from taskgroup_core.problems.communities import Nodes
from taskgroup_core.problems.text_files import opened_text
from taskgroup_core.problems.text_rows import malformed, numbers

LONGEST = 1 << 26  # characters of a JSON file: all of DBLP's communities take a twelfth of that
PIECE = 1 << 18
LARGEST = 2**63 - 1
_OPENING = re.compile(r'"communities"\s*:\s*\[\s*')
_SEPARATOR = re.compile(r"\s*(?:,\s*(?=\[)|(?=\]))")
_DECODER = json.JSONDecoder()


def is_json(path: Path) -> bool:
    """Whether a file's name says that it is JSON, compressed or not."""
    return ".json" in path.suffixes[-2:]


def place_of(path: Path, index: int) -> str:
    """Where in its file community `index`, counted from 0, stands: for messages."""
    return f"{path}, communities[{index}]" if is_json(path) else f"{path}, line {index + 1}"


def read_communities(path: Path) -> list[Nodes]:
    """The members of each community as the file names them, sorted, each once.

    Parameters
    ----------
    path : SNAP's `*.cmty.txt`, one community a row, node ids separated by tabs; or cdlib's `*.json`, an object whose
        entry "communities" is a list of lists of node ids. Either may end in .gz.

    Raises
    ------
    DataError : a file that is missing, truncated or without a community, a malformed row (with its line) or entry
        (with its index), or JSON of more than `LONGEST` characters.
    """
    found = _from_json(path) if is_json(path) else _from_text(path)
    if not found:
        raise DataError(str(path), "no community", "Give SNAP's *.cmty.txt, one community a row, or cdlib's *.json.")
    return found


def _from_text(path: Path) -> list[Nodes]:
    found = []
    with opened_text(path) as file:
        for number, line in enumerate(file, start=1):
            members = numbers(line)
            if not members or max(members) > LARGEST:
                raise malformed(path, number, line)
            found.append(np.unique(np.array(members, dtype=np.int64)))
    return found


def _from_json(path: Path) -> list[Nodes]:
    """The list is read entry by entry: as Python's numbers all of it would take six times as much as its arrays."""
    with opened_text(path, "utf-8") as file:
        # In pieces: what is asked for at once is allocated, however little there is.
        text = "".join(islice(iter(lambda: file.read(PIECE), ""), LONGEST // PIECE + 1))
    if len(text) > LONGEST:
        raise DataError(str(path), f"more than {LONGEST:,} characters", "Give a list of communities, as cdlib writes.")
    opening = _OPENING.search(text)
    if opening is None:
        raise DataError(str(path), "no list named communities", "Give a list of communities, as cdlib writes.")
    found: list[Nodes] = []
    begun = at = opening.end()
    while text[at : at + 1] != "]":
        place = place_of(path, len(found))
        try:
            members, end = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            raise DataError(place, f"{text[at : at + 60]!r}, no JSON", "Download it again.") from error
        if not isinstance(members, list) or not members or not all(type(node) is int for node in members):
            raise DataError(place, f"{text[at:end]!r:.60}", "Each community is a list of node ids.")
        if not 0 <= min(members) <= max(members) <= LARGEST:
            raise DataError(place, f"{text[at:end]!r:.60}", "Node ids are from 0 to 2^63 - 1.")
        separator = _SEPARATOR.match(text, end)
        if separator is None:
            raise DataError(
                place, f"{text[end : end + 60]!r} behind it", "Communities stand between [ and ], with commas."
            )
        found.append(np.unique(np.array(members, dtype=np.int64)))
        at = separator.end()
    try:
        json.loads(text[:begun] + text[at:])
    except (ValueError, RecursionError) as error:
        raise DataError(str(path), f"no JSON around the list ({error})", "Download it again.") from error
    return found
