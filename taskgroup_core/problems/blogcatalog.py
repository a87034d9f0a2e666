"""BlogCatalog: bloggers, their friendships and the interest groups they belong to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from taskgroup_core.errors import DataError
from taskgroup_core.problems.communities import CommunityGraph, community_problem
from taskgroup_core.problems.matlab_file import load_matlab
from taskgroup_core.problems.problem import Problem
from taskgroup_core.problems.registry import DataFile, DataSet, locate

FILE = "blogcatalog.mat"
DATASETS = (
    DataSet(
        "blogcatalog",
        "BlogCatalog: a dense social network with 39 overlapping groups",
        "none stated; cite Tang and Liu (2009) and Zafarani and Liu (2009)",
        (
            DataFile(
                FILE,
                "http://leitang.net/code/social-dimension/data/blogcatalog.mat",
                "d4f4fb89ce1ccd4b7e2a183386c000773cc9362cc61f1be5b246a6d9c259da8f",
                1_255_783,
            ),
        ),
    ),
)
_REMEDY = "Give the file in the form of its authors: sparse matrices network (N, N) and group (N, n)."


def load_blogcatalog(*, folder: str | Path | None = None) -> CommunityGraph:
    """Read BlogCatalog from the MATLAB file that its authors publish.

    Parameters
    ----------
    folder : where the file is, if not in the registry's place; see `locate`.

    Returns
    -------
    CommunityGraph with one community per column of `group`, named by its number from 0; one without a member is an
    error, a person may be in several or in none.

    Raises
    ------
    DataError : the file is missing, truncated or altered, or holds no such matrices: a `network` that is not square,
        symmetric, without loops and of ones, or a `group` with other rows, or with anything but ones.

    References
    ----------
    Tang and Liu, Relational Learning via Latent Social Dimensions, 2009.
    """
    path = locate(DATASETS[0], FILE, folder)
    content = load_matlab(path, ["network", "group"], "no readable MATLAB file", "Download it again.")
    network, group = (_ones(path, content, name) for name in ("network", "group"))
    n_nodes = network.shape[0]
    if network.shape[1] != n_nodes or not _symmetric(network) or network.diagonal().any():
        raise DataError(f"{path}, network", "a matrix that is not square, symmetric and without loops", _REMEDY)
    if group.shape[0] != n_nodes or not np.diff(group.indptr).all():
        raise DataError(f"{path}, group", f"shape {group.shape} for {n_nodes} nodes, or an empty column", _REMEDY)
    # In a sorted CSC matrix column u holds the neighbours of u: those above the diagonal are the edges, in order.
    first = np.repeat(np.arange(n_nodes, dtype=np.int32), np.diff(network.indptr))
    above = network.indices > first
    edges = np.empty((above.sum(), 2), dtype=np.int64)
    edges[:, 0], edges[:, 1] = first[above], network.indices[above]
    members = np.split(group.indices.astype(np.int64), group.indptr[1:-1])
    names = tuple(f"group {index}" for index in range(len(members)))
    return CommunityGraph("BlogCatalog", n_nodes, edges, tuple(members), names)


def _ones(path: Path, content: dict[str, Any], name: str) -> sparse.csc_matrix:
    found = content.pop(name, None)
    if not sparse.issparse(found):
        raise DataError(f"{path}, {name}", "no sparse matrix of that name", _REMEDY)
    matrix = sparse.csc_matrix(found)
    try:
        matrix.check_format(full_check=True)  # scipy trusts indices, and writes where they point
    except ValueError as error:
        raise DataError(f"{path}, {name}", f"a damaged sparse matrix ({error})", "Download it again.") from error
    matrix.sort_indices()
    if not matrix.nnz or (matrix.data != 1).any():
        raise DataError(f"{path}, {name}", "no entry, or one that is not 1", _REMEDY)
    # The pattern is all that is needed: numbers of one byte in place of eight.
    return sparse.csc_matrix((np.ones(matrix.nnz, np.int8), matrix.indices, matrix.indptr), matrix.shape)


def _symmetric(matrix: sparse.csc_matrix) -> bool:
    turned = matrix.T.tocsc()
    return np.array_equal(turned.indptr, matrix.indptr) and np.array_equal(turned.indices, matrix.indices)


def blogcatalog_problem(*, folder: str | Path | None = None, **options: Any) -> Problem:
    """One task per group of BlogCatalog: "is this person a member?".

    Parameters
    ----------
    folder : see `load_blogcatalog`.
    options : of `community_problem`: n_features, hops, width, dropout, positives, negatives, validation, seed.

    Raises
    ------
    InputError, DataError : see `load_blogcatalog` and `community_problem`.
    """
    return community_problem(load_blogcatalog(folder=folder), **options)
