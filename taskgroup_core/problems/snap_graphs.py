"""SNAP's graphs with ground-truth communities by name, in the settings of GRAD-TAG."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from taskgroup_core.errors import InputError
from taskgroup_core.problems.communities import CommunityGraph, community_problem, largest_communities
from taskgroup_core.problems.problem import Problem
from taskgroup_core.problems.registry import DataFile, DataSet, locate
from taskgroup_core.problems.snap import load_snap

ADDRESS = "https://snap.stanford.edu/data/bigdata/communities/"
MANY_TASKS = 500  # communities of GRAD-TAG's run on Orkut
ALL_OF_DBLP = "cdlib_dblp_all_communities.json.gz"


@dataclass(frozen=True)
class SnapGraph:
    """One graph of the collection.

    Parameters
    ----------
    title : for records and figures.
    stem : beginning of its files' names.
    ties : lines (from 0) of the communities that GRAD-TAG's 100 must have taken among those of the size at the cut:
        with them the number of nodes is the paper's. Empty where there is no such tie, or where the files that would
        tell were never seen.
    all_communities : name of a file with all of its communities, to be read in place of SNAP's 5,000.
    """

    title: str
    stem: str
    ties: tuple[int, ...] = ()
    all_communities: str | None = None

    @property
    def edges(self) -> str:
        """File name of the edge list."""
        return f"{self.stem}.ungraph.txt.gz"

    @property
    def communities(self) -> str:
        """File name of the communities: the 5,000 of the highest quality, or all."""
        return self.all_communities or f"{self.stem}.top5000.cmty.txt.gz"


GRAPHS: Mapping[str, SnapGraph] = {
    "amazon": SnapGraph("Amazon", "com-amazon"),
    "dblp": SnapGraph("DBLP", "com-dblp", (434, 1573, 1759, 4870)),
    "dblp-all": SnapGraph("DBLP, all communities", "com-dblp", all_communities=ALL_OF_DBLP),
    "youtube": SnapGraph("YouTube", "com-youtube", (633,)),
    "livejournal": SnapGraph("LiveJournal", "com-lj"),
    "orkut": SnapGraph("Orkut", "com-orkut"),
}
# Files that are elsewhere: cdlib's list of all communities of DBLP, by SNAP's node ids.
_ELSEWHERE = {
    ALL_OF_DBLP: "https://raw.githubusercontent.com/GiulioRossetti/cdlib_datasets/main/ground_truth/dblp.json.gz"
}
# SHA-256 and bytes of the files that this project has seen.
_SEEN: Mapping[str, tuple[str, int]] = {
    ALL_OF_DBLP: ("ca7dba98bd3bdc76999fd2991d1667b7b531e8bac777986247a8dcac302c085d", 2_147_662),
    "com-amazon.top5000.cmty.txt.gz": ("aac89803da5cadb3a2ac9ee72b5e85fcbec05e388252af3aad3356bb22b2d437", 146_988),
    "com-dblp.top5000.cmty.txt.gz": ("6b23675b3c0ef35c7ba2520e967d3dba3a7cec771ae16a2ef6a95426efb30b7a", 320_139),
    "com-dblp.ungraph.txt.gz": ("9eb0bd30312ddd04e2624f7c36c0983a2e99b116f0385be5a7fce6d6170f4cb3", 4_138_463),
    "com-youtube.top5000.cmty.txt.gz": ("fefdc0959f21dca7187921468f4512066a5f51456493eaf0456b2435d0854b1a", 195_662),
}

DATASETS = (
    DataSet(
        "snap",
        "SNAP: five graphs with ground-truth communities",
        "SNAP states none for these data; cite Yang and Leskovec (2012)",
        tuple(
            DataFile(name, _ELSEWHERE.get(name, ADDRESS + name), *_SEEN.get(name, (None, None)))
            for name in dict.fromkeys(name for graph in GRAPHS.values() for name in (graph.edges, graph.communities))
        ),
    ),
)


def snap_graph(name: str, *, n_tasks: int = 100, folder: str | Path | None = None) -> CommunityGraph:
    """The largest communities of one of SNAP's graphs, and the subgraph that their members induce.

    Parameters
    ----------
    name : "amazon", "dblp", "youtube", "livejournal" or "orkut"; or "dblp-all", whose communities are all 13,477 of
        DBLP: with `MANY_TASKS` the stand-in for Orkut, whose files this project has never seen.
    n_tasks : number of communities: 100 as in GRAD-TAG's Table 3, `MANY_TASKS` as in its run on Orkut.
    folder : where the files are, if not in the registry's place; see `locate`.

    Raises
    ------
    InputError : an unknown name, or n_tasks out of range.
    DataError : a file that is missing (with how to get it), or see `load_snap`.

    References
    ----------
    GRAD-TAG, section 5.1.2: the 100 largest communities of four graphs; Orkut with 500 for the running time.

    Deviations
    ----------
    The paper does not say which communities of equal size it took at the cut. For DBLP and YouTube those are taken
    that give the paper's number of nodes; for LiveJournal and Orkut, the first ones in the file.
    """
    if name not in GRAPHS:
        raise InputError("name", repr(name), f"Use one of {', '.join(GRAPHS)}.")
    one = GRAPHS[name]
    paths = [locate(DATASETS[0], file, folder) for file in (one.edges, one.communities)]
    graph = load_snap(*paths, name=one.title)
    return largest_communities(graph, n_tasks, ties=one.ties if n_tasks == 100 else None)


def snap_problem(name: str, *, n_tasks: int = 100, folder: str | Path | None = None, **options: Any) -> Problem:
    """One task per community of one of SNAP's graphs: "is this node a member?".

    Parameters
    ----------
    name, n_tasks, folder : see `snap_graph`.
    options : of `community_problem`: n_features, hops, width, dropout, positives, negatives, validation, seed.

    Raises
    ------
    InputError, DataError : see `snap_graph` and `community_problem`.
    """
    return community_problem(snap_graph(name, n_tasks=n_tasks, folder=folder), **options)
