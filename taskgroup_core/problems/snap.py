"""SNAP's file format for graphs with ground-truth communities."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from taskgroup_core.errors import DataError
from taskgroup_core.problems.communities import CommunityGraph, Nodes
from taskgroup_core.problems.text_files import opened_text

BLOCK = 1 << 20  # node ids looked up at a time: bounds the memory of the relabelling


def _numbers(line: str) -> list[int] | None:
    """The non-negative integers of a tab-separated line, or None where it holds anything else."""
    words = line.rstrip("\n").split("\t")
    return [int(word) for word in words] if all(word.isascii() and word.isdigit() for word in words) else None


def _malformed(path: Path, number: int, line: str) -> DataError:
    return DataError(f"{path}, line {number}", repr(line[:60]), "Each row holds node ids separated by tabs.")


def _read_edges(path: Path) -> Nodes:
    """The two columns of an edge list, int64 with shape (m, 2)."""
    try:
        with opened_text(path) as file:
            pairs: Nodes = np.loadtxt(file, dtype=np.int64, comments="#", delimiter="\t", ndmin=2)
        if pairs.shape[1] == 2 and (not pairs.size or pairs.min() >= 0):
            return pairs
    except DataError:
        raise
    except ValueError:
        pass  # numpy counts rows without comments: look for the line itself
    with opened_text(path) as file:
        for number, line in enumerate(file, start=1):
            if not line.startswith("#") and len(_numbers(line) or ()) != 2:
                raise _malformed(path, number, line)
    raise DataError(str(path), "no edge", "Give SNAP's *.ungraph.txt, two node ids a row.")


def _simple(pairs: Nodes, n_nodes: int) -> Nodes:
    """Each undirected edge once, u < v, in order, without loops; as few copies as may be, for `pairs` can be large."""
    pairs.sort(axis=1)
    key = pairs[:, 0] * n_nodes
    key += pairs[:, 1]
    key = key[pairs[:, 0] < pairs[:, 1]]
    key.sort()
    key = key[np.diff(key, prepend=-1) > 0]
    edges = np.empty((len(key), 2), dtype=np.int64)
    np.divmod(key, n_nodes, out=(edges[:, 0], edges[:, 1]))
    return edges


def load_snap(edges_path: str | Path, communities_path: str | Path, *, name: str) -> CommunityGraph:
    """Read a graph and its communities from SNAP's official files.

    Parameters
    ----------
    edges_path : `*.ungraph.txt` or `.txt.gz`: lines of comment start with #, then two node ids a row, separated by a
        tab. Ids are any non-negative integers; nodes are numbered anew in the order of their ids. An edge in both
        directions counts once, loops are dropped.
    communities_path : `*.cmty.txt` or `.txt.gz`: one community a row, node ids separated by tabs.
    name : of the graph.

    Returns
    -------
    CommunityGraph with communities in the order of the file; a community's name is its line, counted from 0.

    Raises
    ------
    DataError : a file that is missing, truncated or empty, a malformed row (with its line), or a community with a
        node that no edge has.

    References
    ----------
    Yang and Leskovec, Defining and Evaluating Network Communities Based on Ground-Truth, 2012.
    """
    edges_path, communities_path = Path(edges_path), Path(communities_path)
    pairs = _read_edges(edges_path)
    flat = pairs.reshape(-1)
    ids = np.sort(pd.unique(flat))
    for start in range(0, len(flat), BLOCK):
        flat[start : start + BLOCK] = np.searchsorted(ids, flat[start : start + BLOCK])
    edges = _simple(pairs, len(ids))
    del pairs, flat
    communities = []
    with opened_text(communities_path) as file:
        for number, line in enumerate(file, start=1):
            members = np.unique(np.array(_numbers(line) or (), dtype=np.int64))
            if not len(members):
                raise _malformed(communities_path, number, line)
            position = np.minimum(np.searchsorted(ids, members), len(ids) - 1)
            unknown = members[ids[position] != members]
            if len(unknown):
                raise DataError(
                    f"{communities_path}, line {number}",
                    f"node {unknown[0]}, which is not in {edges_path.name}",
                    "Use the two files of one graph.",
                )
            communities.append(position)
    if not communities:
        raise DataError(str(communities_path), "no community", "Give SNAP's *.cmty.txt, one community a row.")
    names = tuple(f"community {index}" for index in range(len(communities)))
    return CommunityGraph(name, len(ids), edges, tuple(communities), names)
