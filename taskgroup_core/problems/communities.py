"""Community detection as multitask learning: one binary task per community of a graph (GRAD-TAG, section 5.1.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from taskgroup_core.errors import InputError
from taskgroup_core.examples import Examples
from taskgroup_core.models.sign import Sign
from taskgroup_core.problems.build_check import tried
from taskgroup_core.problems.graph_features import hop_features, pagerank_features
from taskgroup_core.problems.problem import Problem
from taskgroup_core.problems.scaling import standardised
from taskgroup_core.seeds import numpy_generator
from taskgroup_core.tasks import Task

Nodes = NDArray[np.int64]


@dataclass(frozen=True)
class CommunityGraph:
    """An undirected graph with overlapping communities.

    Parameters
    ----------
    name : for records and figures.
    n_nodes : number of nodes, N; nodes are 0 to N - 1.
    edges : int64 with shape (m, 2), each edge once with u < v.
    communities : the members of each community, sorted, int64.
    names : one name per community, all different.

    Raises
    ------
    InputError : nodes out of range, an edge not in the form u < v, a community that is empty or not sorted, or names
        that do not fit.
    """

    name: str
    n_nodes: int
    edges: Nodes
    communities: tuple[Nodes, ...]
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        pairs = self.edges
        if pairs.ndim != 2 or pairs.shape[1] != 2 or (pairs[:, 0] >= pairs[:, 1]).any():
            raise InputError("edges", f"shape {pairs.shape}, or some u >= v", "Give shape (m, 2), each with u < v.")
        if len(pairs) and not 0 <= pairs.min() <= pairs.max() < self.n_nodes:
            raise InputError("edges", f"nodes {pairs.min()} to {pairs.max()}", f"There are {self.n_nodes} nodes.")
        if len(set(self.names)) < len(self.names) or len(self.names) != len(self.communities):
            raise InputError("names", f"{len(set(self.names))} different names", "Give each community one of its own.")
        for name, nodes in zip(self.names, self.communities, strict=True):
            if not len(nodes) or nodes[0] < 0 or nodes[-1] >= self.n_nodes or (np.diff(nodes) <= 0).any():
                raise InputError("communities", f"{nodes} for {name!r}", "Give sorted nodes of the graph, each once.")

    @property
    def n_directed_edges(self) -> int:
        """Edges counted once in each direction, as GRAD-TAG's Table 3 does."""
        return 2 * len(self.edges)

    @property
    def sizes(self) -> Nodes:
        """Number of members of each community."""
        return np.array([len(members) for members in self.communities], dtype=np.int64)


def select_communities(graph: CommunityGraph, indices: Sequence[int]) -> CommunityGraph:
    """The subgraph induced by the members of some communities, which keep the order of `indices`.

    Nodes are numbered anew in their present order.

    Raises
    ------
    InputError : no index, an index twice, or one out of range.
    """
    chosen = list(indices)
    if not chosen or len(set(chosen)) < len(chosen):
        raise InputError("indices", str(chosen), "Give at least one community, each once.")
    if not 0 <= min(chosen) <= max(chosen) < len(graph.communities):
        raise InputError("indices", str(chosen), f"Use indices from 0 to {len(graph.communities) - 1}.")
    kept = np.unique(np.concatenate([graph.communities[index] for index in chosen]))
    position = np.full(graph.n_nodes, -1, dtype=np.int64)
    position[kept] = np.arange(len(kept))
    edges = position[graph.edges]
    return CommunityGraph(
        graph.name,
        len(kept),
        edges[(edges >= 0).all(axis=1)],
        tuple(position[graph.communities[index]] for index in chosen),
        tuple(graph.names[index] for index in chosen),
    )


def largest_communities(graph: CommunityGraph, k: int, *, ties: Sequence[int] | None = None) -> CommunityGraph:
    """The k largest communities, largest first, and the subgraph induced by their members.

    Parameters
    ----------
    graph : graph with at least k communities.
    k : number of communities.
    ties : indices of communities to prefer among those whose size is that of the k-th largest; the places that
        they leave go to the others of that size in their order in `graph`.

    Raises
    ------
    InputError : k out of range, or ties that are not of the size at the cut or more than there are places.
    """
    if not 1 <= k <= len(graph.communities):
        raise InputError("k", str(k), f"Use 1 to the number of communities, {len(graph.communities)}.")
    sizes = graph.sizes
    cut = np.sort(sizes)[-k]
    at_cut, above = np.flatnonzero(sizes == cut).tolist(), np.flatnonzero(sizes > cut)
    preferred, places = list(ties or ()), k - len(above)
    if not set(preferred) <= set(at_cut) or len(preferred) > places:
        remedy = f"Give at most {places} communities of {cut} members, the size at the cut."
        raise InputError("ties", str(preferred), remedy)
    last = sorted((preferred + [index for index in at_cut if index not in preferred])[:places])
    return select_communities(graph, [*above[np.argsort(-sizes[above], kind="stable")].tolist(), *last])


def _split(members: Nodes, n_nodes: int, shares: tuple[float, float, float], name: str, seed: int) -> NDArray[np.int8]:
    """Split of each node for one task, shape (N,): 0 train, 1 val, 2 test; each class is split on its own."""
    generator = numpy_generator(seed, "split", name)
    part = np.full(n_nodes, 2, dtype=np.int8)
    outside = np.setdiff1d(np.arange(n_nodes), members, assume_unique=True)
    for nodes, share, what in ((members, shares[0], "members"), (outside, shares[1], "non-members")):
        if len(nodes) < 3:
            raise InputError("graph", f"{len(nodes)} {what} of {name!r}", "Each task needs three: train, val, test.")
        train = min(max(1, round(share * len(nodes))), len(nodes) - 2)
        val = min(max(1, round(shares[2] * (len(nodes) - train))), len(nodes) - train - 1)
        order = generator.permutation(nodes)
        part[order[:train]], part[order[train : train + val]] = 0, 1
    return part


def community_problem(
    graph: CommunityGraph,
    *,
    n_features: int = 128,
    hops: int = 3,
    width: int = 256,
    dropout: float = 0.5,
    positives: float = 0.1,
    negatives: float = 0.1,
    validation: float = 0.2,
    seed: int = 0,
) -> Problem:
    """One binary task per community ("is this node a member?"), for a SIGN network on PageRank features.

    Parameters
    ----------
    graph : every community is a task.
    n_features, hops : see `pagerank_features` and `hop_features`; inputs are float32 with shape
        (N, hops + 1, n_features), columns with mean 0 and standard deviation 1 (0 if constant).
    width, dropout : of the `Sign` network.
    positives, negatives : share of the members, and of all other nodes, that are training examples.
    validation : share of a task's remaining nodes in the validation split; the others are its test split.
    seed : decides the splits (one stream per task, so a split does not depend on which other tasks there are)
        and the sketch of the features.

    Raises
    ------
    InputError : a share outside (0, 1), a width or dropout that `Sign` does not take, a community with fewer than 3
        members or non-members, or see `pagerank_features`.

    References
    ----------
    GRAD-TAG, section 5.1.2: shares of 10 %, 10 % and 20 %, macro F1 on the test split.

    Deviations
    ----------
    Members and non-members are split apart at validation too, so that each split holds at least one of both:
    rounding aside the paper's sizes, with less chance in them.
    """
    for argument, share in (("positives", positives), ("negatives", negatives), ("validation", validation)):
        if not 0 < share < 1:
            raise InputError(argument, str(share), "Use a share between 0 and 1.")
    features = pagerank_features(graph.edges, graph.n_nodes, n_features=n_features, seed=seed)
    # On a regular graph a feature is constant but for rounding, which is that of single precision and of the hops.
    inputs = standardised(hop_features(graph.edges, graph.n_nodes, features, hops), rounding=1e-5)
    part = np.empty((len(graph.communities), graph.n_nodes), dtype=np.int8)
    is_member = np.zeros(part.shape, dtype=bool)
    for task, (name, nodes) in enumerate(zip(graph.names, graph.communities, strict=True)):
        is_member[task, nodes] = True
        part[task] = _split(nodes, graph.n_nodes, (positives, negatives, validation), name, seed)

    def examples(split: int) -> Examples:
        task, node = np.nonzero(part == split)
        return Examples(torch.from_numpy(node), torch.from_numpy(task), torch.from_numpy(is_member[task, node]))

    build = tried(partial(Sign, hops + 1, n_features, width, len(graph.communities), dropout))
    tasks, splits = tuple(Task(name) for name in graph.names), (examples(0), examples(1), examples(2))
    return Problem(graph.name, tasks, torch.from_numpy(inputs), *splits, build)
