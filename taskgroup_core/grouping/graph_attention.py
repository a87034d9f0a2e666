"""SCA's embedding of tasks: two graph attention layers, trained to rebuild the rows of the affinity."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from taskgroup_core.grouping.library_attention import library_layer
from taskgroup_core.matrices import FloatArray
from taskgroup_core.seeds import torch_generator

if TYPE_CHECKING:
    from torch import Generator, Tensor

HEADS = 2  # of the first layer
SLOPE = 0.2  # of the leaky rectifier in front of the softmax; its authors' value
Weights = dict[str, "Tensor"]


@dataclass(frozen=True)
class Graph:
    """Which tasks attend to which.

    Parameters
    ----------
    edge : edge[target, source], with shape (n, n).
    weight : T on the edges, on a loop the mean of its target's edges, with shape (n, n); None to leave it out.
    """

    edge: NDArray[np.bool_]
    weight: FloatArray | None


def task_graph(values: FloatArray, neighbours: int | None, *, edge_weights: bool, self_loops: bool) -> Graph:
    """Edges from each target's most affine other tasks, so many (None for all), the first of equals."""
    own = np.eye(len(values), dtype=bool)
    rank = np.where(own, np.inf, -values).argsort(axis=1, kind="stable").argsort(axis=1)
    others = (rank < (neighbours or len(values))) & ~own
    if not edge_weights:
        return Graph(others | (own & self_loops), None)
    mean = (values * others).sum(axis=1) / others.sum(axis=1)
    return Graph(others | (own & self_loops), np.where(own, mean[:, None], values))


def attention_embeddings(
    values: FloatArray,
    starts: Sequence[tuple[int, int]],
    *,
    neighbours: int | None = None,
    edge_weights: bool = False,
    self_loops: bool = True,
    activation: str = "elu",
    standardise: bool = False,
    layers: str = "dense",
    epochs: int = 100,
    learning_rate: float = 1e-3,
) -> FloatArray:
    """Z of several trainings, which differ by their initial weights alone, with shape (len(starts), n, 2 n).

    Dense layers train side by side as one batch: no network sees another, and Adam works entry by entry. Those of
    torch_geometric train one after another, from the same weights.

    Parameters
    ----------
    values : T[target, source], with shape (n, n); row i is what node i is given.
    starts : (seed, number) of each training.
    neighbours, edge_weights, self_loops, activation, standardise, layers, epochs, learning_rate : see
        `GATMixtureGrouper`.

    Raises
    ------
    MissingExtra : torch_geometric is asked for and not installed.

    References
    ----------
    Thakur et al., 2024, section 4.2 and supplement, "GAT architecture and training details"; P. Velickovic and others,
    Graph attention networks, ICLR 2018.
    """
    import torch
    from torch.nn.functional import elu

    n = len(values)
    # In double precision: where gradients nearly vanish, as here, Adam blows up the rounding of single precision.
    rows = torch.from_numpy(standardised(values) if standardise else values)
    graph = task_graph(values, neighbours, edge_weights=edge_weights, self_loops=self_loops)
    bend: Callable[[Tensor], Tensor] = elu if activation == "elu" else torch.nn.Identity()
    drawn = []
    for seed, number in starts:
        generator = torch_generator(seed, "attention", number)
        drawn.append((initial_weights(n, n, HEADS, graph, generator), initial_weights(2 * n, n, 1, graph, generator)))
    if layers == "torch_geometric":
        networks = [[library_layer(weights, graph.edge, graph.weight) for weights in pair] for pair in drawn]
    else:
        networks = [[dense_layer([pair[place] for pair in drawn], graph) for place in (0, 1)]]
    embeddings = []
    for (first, first_weights), (second, second_weights) in networks:
        optimiser = torch.optim.Adam([*first_weights, *second_weights], learning_rate, fused=True)
        for _ in range(epochs):
            optimiser.zero_grad()
            rebuilt = second(bend(first(rows)))
            ((rebuilt - rows) ** 2).mean(dim=(-2, -1)).sum().backward()
            optimiser.step()
        with torch.no_grad():
            embeddings.append(bend(first(rows)).numpy().reshape(-1, n, HEADS * n))
    return np.concatenate(embeddings)


def dense_layer(drawn: Sequence[Weights], graph: Graph) -> tuple[Callable[[Tensor], Tensor], list[Tensor]]:
    """The layer of R networks as one, and its parameters: `attend` from the weights of each."""
    import torch

    weights = {name: torch.stack([one[name] for one in drawn]).requires_grad_() for name in drawn[0]}
    return partial(attend, weights=weights, graph=graph), list(weights.values())


def attend(rows: Tensor, weights: Weights, graph: Graph) -> Tensor:
    """One layer of R networks: the heads side by side, with shape (R, n, heads * units).

    Parameters
    ----------
    rows : what the nodes are given, with shape (n, d) or (R, n, d).
    weights : see `initial_weights`, each with R in front.
    graph : of the n nodes.
    """
    import torch
    from torch.nn.functional import leaky_relu

    count, heads, units, _ = weights["linear"].shape
    hidden = (rows if rows.ndim == 2 else rows[:, None]) @ weights["linear"].mT
    target = (hidden @ weights["target"][..., None])[..., 0]
    source = (hidden @ weights["source"][..., None])[..., 0]
    score = target[..., :, None] + source[..., None, :]
    if graph.weight is not None:
        slope = (weights["edge"] * weights["edge linear"]).sum(dim=-1)
        score = score + slope[..., None, None] * torch.from_numpy(graph.weight)
    score = leaky_relu(score, SLOPE).masked_fill(~torch.from_numpy(graph.edge), -torch.inf)
    heard = score.softmax(dim=-1) @ hidden
    return heard.transpose(1, 2).reshape(count, -1, heads * units) + weights["bias"][:, None]


def initial_weights(n_in: int, n_out: int, heads: int, graph: Graph, generator: Generator) -> Weights:
    """Weights of one layer by Glorot and Bengio's uniform rule, in the shapes of the usual implementations.

    Returns
    -------
    "linear" with shape (heads, n_out, n_in); the halves of the attention vector, "target" and "source", (heads, n_out);
    "bias" (heads * n_out); and where edges have weights their map "edge linear" and their part "edge" of the attention
    vector, (heads, n_out).
    """
    import torch

    def uniform(rows: int, columns: int) -> Tensor:
        limit = (6 / (rows + columns)) ** 0.5
        drawn: Tensor = (2 * torch.rand(rows, columns, generator=generator, dtype=torch.float64) - 1) * limit
        return drawn

    weights = {
        "linear": uniform(heads * n_out, n_in).reshape(heads, n_out, n_in),
        "target": uniform(heads, n_out),
        "source": uniform(heads, n_out),
        "bias": torch.zeros(heads * n_out, dtype=torch.float64),
    }
    if graph.weight is not None:
        weights["edge linear"] = uniform(heads * n_out, 1).reshape(heads, n_out)
        weights["edge"] = uniform(heads, n_out)
    return weights


def standardised(values: FloatArray) -> FloatArray:
    """The rows with every column brought to mean 0 and standard deviation 1; a constant column becomes 0."""
    centred = values - values.mean(axis=0)
    spread = centred.std(axis=0)
    scaled: FloatArray = np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 0)
    return scaled
