"""A large edge list read into one array and cleaned in place: little more memory than the edges themselves."""

from __future__ import annotations

import warnings
from itertools import islice
from pathlib import Path

import numpy as np

from taskgroup_core.errors import DataError
from taskgroup_core.problems.communities import Nodes
from taskgroup_core.problems.text_files import opened_text
from taskgroup_core.problems.text_rows import malformed, numbers

ROWS = 1 << 14  # lines parsed at a time: Python's text of them is some ten times as large as their numbers


def read_edge_list(path: Path) -> Nodes:
    """The two columns of an edge list, int64 with shape (m, 2); the file is read twice, first to count its rows.

    Raises
    ------
    DataError : a file that is missing, truncated or empty, or a malformed row (with its line).
    """
    with opened_text(path) as file:
        rows = sum(not line.startswith("#") for line in file)
    pairs, used, first = np.empty((rows, 2), dtype=np.int64), 0, 1
    with opened_text(path) as file:
        while lines := list(islice(file, ROWS)):
            block = _parse(path, first, lines)
            pairs[used : used + len(block)] = block
            used, first = used + len(block), first + len(lines)
    if not used:
        raise DataError(str(path), "no edge", "Give SNAP's *.ungraph.txt, two node ids a row.")
    return pairs[:used]


def _parse(path: Path, first: int, lines: list[str]) -> Nodes:
    rows = [line for line in lines if not line.startswith("#")]
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "loadtxt: input contained no data")
            pairs = np.loadtxt(rows, dtype=np.int64, comments=None, delimiter="\t", ndmin=2)
        if not pairs.size or (pairs.shape[1] == 2 and pairs.min() >= 0):
            return pairs
    except ValueError:
        pass  # numpy counts rows without comments: the line itself is looked for below
    for number, line in enumerate(lines, start=first):
        if not line.startswith("#") and len(numbers(line) or ()) != 2:
            raise malformed(path, number, line)
    raise DataError(f"{path}, lines {first} to {first + len(lines) - 1}", "ids beyond 64 bits", "Number nodes anew.")


def number_nodes(pairs: Nodes) -> Nodes:
    """The ids in use, sorted, int64 with shape (N,); `pairs` then holds positions among them in place of ids."""
    flat = pairs.reshape(-1)
    block = max(ROWS, len(flat) // 32)
    ids = np.empty(0, dtype=np.int64)
    for start in range(0, len(flat), block):
        ids = np.concatenate([ids, flat[start : start + block]])
        ids.sort()
        ids = ids[np.diff(ids, prepend=-1) > 0]
    for start in range(0, len(flat), block):
        flat[start : start + block] = np.searchsorted(ids, flat[start : start + block])
    return ids


def simple_edges(pairs: Nodes, n_nodes: int) -> Nodes:
    """Each undirected edge once, u < v, in order, without loops; made within the memory of `pairs`, which is lost.

    An edge is one number, u n_nodes + v: packed into the first half of the memory, sorted there, and unpacked again
    from the end, so that no block is overwritten before it is read.
    """
    flat = pairs.reshape(-1)
    block = max(ROWS, len(pairs) // 32)
    kept = 0
    for start in range(0, len(pairs), block):
        ends = np.sort(pairs[start : start + block], axis=1)
        ends = ends[ends[:, 0] < ends[:, 1]]
        flat[kept : kept + len(ends)] = ends[:, 0] * n_nodes + ends[:, 1]
        kept += len(ends)
    flat[:kept].sort()
    last, unique = -1, 0
    for start in range(0, kept, block):
        keys = flat[start : min(start + block, kept)]
        keys = keys[np.diff(keys, prepend=last) > 0]
        last = keys[-1] if len(keys) else last
        flat[unique : unique + len(keys)] = keys
        unique += len(keys)
    edges = flat[: 2 * unique].reshape(-1, 2)
    for start in reversed(range(0, unique, block)):
        stop = min(start + block, unique)
        edges[start:stop, 0], edges[start:stop, 1] = np.divmod(flat[start:stop], n_nodes)
    return edges
