"""SNAP's file format for graphs with ground-truth communities."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from taskgroup_core.errors import DataError
from taskgroup_core.problems.communities import CommunityGraph
from taskgroup_core.problems.community_files import place_of, read_communities
from taskgroup_core.problems.edge_list import number_nodes, read_edge_list, simple_edges


def load_snap(edges_path: str | Path, communities_path: str | Path, *, name: str) -> CommunityGraph:
    """Read a graph and its communities from SNAP's official files, or the communities from cdlib's.

    Parameters
    ----------
    edges_path : `*.ungraph.txt` or `.txt.gz`: lines of comment start with #, then two node ids a row, separated by a
        tab. Ids are any non-negative integers; nodes are numbered anew in the order of their ids. An edge in both
        directions counts once, loops are dropped.
    communities_path : see `read_communities`; a node that a community names twice is in it once.
    name : of the graph.

    Returns
    -------
    CommunityGraph with communities in the order of the file; a community's name is its place, counted from 0.

    Raises
    ------
    DataError : a file that is missing, truncated or empty, a malformed row (with its line) or entry, or a community
        with a node that no edge has.

    References
    ----------
    Yang and Leskovec, Defining and Evaluating Network Communities Based on Ground-Truth, 2012.
    """
    edges_path, communities_path = Path(edges_path), Path(communities_path)
    communities = read_communities(communities_path)
    pairs = read_edge_list(edges_path)
    ids = number_nodes(pairs)
    edges = simple_edges(pairs, len(ids))
    for index, members in enumerate(communities):
        position = np.minimum(np.searchsorted(ids, members), len(ids) - 1)
        unknown = members[ids[position] != members]
        if len(unknown):
            raise DataError(
                place_of(communities_path, index),
                f"node {unknown[0]}, which is not in {edges_path.name}",
                "Use the two files of one graph.",
            )
        communities[index] = position
    names = tuple(f"community {index}" for index in range(len(communities)))
    return CommunityGraph(name, len(ids), edges, tuple(communities), names)
