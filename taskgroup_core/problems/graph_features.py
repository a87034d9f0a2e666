"""Node features from personalised PageRank, and SIGN's hops of them: sparse products only."""

from __future__ import annotations

import math

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray
from tqdm import tqdm

from taskgroup_core.errors import InputError
from taskgroup_core.seeds import numpy_generator

Float32Array = NDArray[np.float32]
Edges = NDArray[np.int64]

TOLERANCE = 1e-3  # the power iteration stops when what is left out of the PageRank series sums to less than this
OVERSAMPLING, REPEATS = 20, 3  # of the randomised range finder: extra columns, and products after the first


def check_edges(edges: ArrayLike, n_nodes: int) -> Edges:
    """Return `edges` as an int64 array with shape (m, 2), each undirected edge once with u < v, sorted.

    Raises
    ------
    InputError : wrong shape or type, a node outside 0 to n_nodes - 1, a loop, or an edge given twice.
    """
    array = np.asarray(edges)
    if array.ndim != 2 or array.shape[1] != 2 or array.dtype.kind not in "iu":
        raise InputError("edges", f"{array.dtype} with shape {array.shape}", "Give integers with shape (m, 2).")
    array = np.sort(array.astype(np.int64), axis=1)
    if array.size and (array.min() < 0 or array.max() >= n_nodes):
        raise InputError("edges", f"nodes {array.min()} to {array.max()}", f"Use nodes from 0 to {n_nodes - 1}.")
    if (array[:, 0] == array[:, 1]).any():
        raise InputError("edges", "an edge from a node to itself", "Leave out loops.")
    key = np.sort(array[:, 0] * n_nodes + array[:, 1])
    if (np.diff(key) == 0).any():
        raise InputError("edges", "an edge twice", "Give each undirected edge once.")
    return np.column_stack([key // n_nodes, key % n_nodes]) if len(key) else array


def _normalised(edges: ArrayLike, n_nodes: int, loops: bool) -> sp.csr_array:
    """D^-1/2 A D^-1/2, of A + I if `loops`; rows of isolated nodes are 0 without loops."""
    pairs = check_edges(edges, n_nodes)
    row, column = np.concatenate([pairs, pairs[:, ::-1]]).T
    if loops:
        row, column = (np.concatenate([index, np.arange(n_nodes)]) for index in (row, column))
    degree = np.bincount(row, minlength=n_nodes)
    scale = 1 / np.sqrt(np.maximum(degree, 1))
    return sp.csr_array((scale[row] * scale[column], (row, column)), shape=(n_nodes, n_nodes))


def pagerank_features(
    edges: ArrayLike, n_nodes: int, *, n_features: int = 128, alpha: float = 0.85, seed: int = 0
) -> Float32Array:
    """Node features whose inner products approximate personalised PageRank, the similarity that VERSE preserves.

    With W = D^-1/2 A D^-1/2 and S = (1 - alpha) sum_t alpha^t W^t (personalised PageRank, made symmetric by the
    square roots of the degrees), the features are X = V L^1/2, where V L V' is the best approximation of S of rank
    `n_features` that a randomised range finder sees.

    Parameters
    ----------
    edges : undirected edges, each once, integers with shape (m, 2).
    n_nodes : number of nodes, N.
    n_features : columns of the result, at most N.
    alpha : probability that the walk goes on, between 0 and 1.
    seed : of the random sketch; each column's entry of largest size is positive, so that signs do not wander.

    Returns
    -------
    float32 with shape (N, n_features), columns by falling eigenvalue.

    Raises
    ------
    InputError : see `check_edges`; more features than nodes, or an alpha outside (0, 1).

    References
    ----------
    Tsitsulin et al., VERSE: Versatile Graph Embeddings from Similarity Measures, 2018; Halko, Martinsson and Tropp,
    Finding Structure with Randomness, 2011 (algorithms 4.4 and 5.3).

    Deviations
    ----------
    VERSE trains its vectors by noise-contrastive estimation on sampled walks, so that a softmax of inner products
    matches each row of PageRank. Here the similarity itself is factorised, in closed form and without its
    logarithm: nothing is trained or sampled, and the N x N matrix never exists.
    """
    if not 1 <= n_features <= n_nodes:
        raise InputError("n_features", str(n_features), f"Use 1 to the number of nodes, {n_nodes}.")
    if not 0 < alpha < 1:
        raise InputError("alpha", str(alpha), "Use a probability between 0 and 1, such as 0.85.")
    walk = _normalised(edges, n_nodes, loops=False)
    steps = math.ceil(math.log(TOLERANCE) / math.log(alpha))

    def similarity(block: NDArray[np.float64]) -> NDArray[np.float64]:
        result = block
        for _ in range(steps):
            result = (1 - alpha) * block + alpha * (walk @ result)
        return result

    width = min(n_nodes, n_features + OVERSAMPLING)
    basis = numpy_generator(seed, "pagerank features").standard_normal((n_nodes, width))
    for _ in tqdm(range(1 + REPEATS), desc="PageRank features", delay=10):
        basis, _unused = scipy.linalg.qr(similarity(basis), mode="economic")
    values, rotation = scipy.linalg.eigh(basis.T @ similarity(basis))
    top = np.argsort(-values, kind="stable")[:n_features]
    vectors = basis @ rotation[:, top]
    vectors *= np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(n_features)])
    features: Float32Array = (vectors * np.sqrt(np.maximum(values[top], 0))).astype(np.float32)
    return features


def hop_features(edges: ArrayLike, n_nodes: int, features: ArrayLike, hops: int) -> Float32Array:
    """Features of 0 to `hops` steps: row h holds (D^-1/2 (A + I) D^-1/2)^h X, with D the degrees of A + I.

    Parameters
    ----------
    edges : undirected edges, each once, integers with shape (m, 2).
    n_nodes : number of nodes, N.
    features : X with shape (N, F).
    hops : number of steps, 0 or more.

    Returns
    -------
    float32 with shape (N, hops + 1, F).

    Raises
    ------
    InputError : see `check_edges`; features that are NaN, infinite or of another shape, or negative hops.

    References
    ----------
    Frasca et al., SIGN, 2020, section 3: of its operators (simple, PageRank-based, triangle-based), the simple one,
    which is the normalised adjacency matrix with loops of graph convolutional networks.
    """
    current = np.asarray(features, dtype=np.float64)
    if current.ndim != 2 or len(current) != n_nodes:
        raise InputError("features", f"shape {current.shape}", f"Give one row for each of the {n_nodes} nodes.")
    if not np.isfinite(current).all():
        raise InputError("features", "NaN or infinity", "Impute or remove them.")
    if hops < 0:
        raise InputError("hops", str(hops), "Use 0 or more.")
    operator = _normalised(edges, n_nodes, loops=True)
    result = np.empty((n_nodes, hops + 1, current.shape[1]), dtype=np.float32)
    for hop in range(hops + 1):
        result[:, hop] = current
        current = operator @ current
    return result
