"""The random projections of gradients by name: `make_projection`, in this module, is the way to get one."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Literal, get_args

from taskgroup_core.errors import InputError
from taskgroup_core.gradients.dense_projection import check_sizes
from taskgroup_core.gradients.flat import FlatNetwork
from taskgroup_core.gradients.kronecker_projection import KroneckerProjection
from taskgroup_core.gradients.projection import (
    GaussianProjection,
    IdentityProjection,
    Projection,
    RademacherProjection,
)
from taskgroup_core.gradients.sparse_projection import NONZEROS, SparseProjection

ProjectionKind = Literal["gaussian", "rademacher", "sparse", "kronecker", "none"]


def make_projection(kind: ProjectionKind, flat: FlatNetwork, dimension: int | None, seed: int) -> Projection:
    """The projection called `kind` for the gradients of a network.

    Parameters
    ----------
    kind : "gaussian" (GRAD-TAG's text), "rademacher" (its released code), "sparse" (with 4 entries a row, or d where
        that is less), "kronecker", or "none" for d = p.
    flat : network with p parameters.
    dimension : d; None, and nothing else, for "none".
    seed : decides P.

    Raises
    ------
    InputError : an unknown kind, a missing dimension, one that is not a positive integer, or any with "none".
    """
    if kind not in get_args(ProjectionKind):
        close = get_close_matches(str(kind), get_args(ProjectionKind), n=1)
        hint = f"Did you mean {close[0]!r}? " if close else ""
        raise InputError("kind", repr(kind), f"{hint}Use one of {', '.join(get_args(ProjectionKind))}.")
    if kind == "none":
        if dimension is not None:
            raise InputError("dimension", repr(dimension), "Leave it None with kind 'none': d is p.")
        return IdentityProjection(flat.n_parameters)
    if dimension is None:
        raise InputError("dimension", "None", "Give d, or choose kind 'none'.")
    check_sizes(flat.n_parameters, dimension)
    if kind == "gaussian":
        return GaussianProjection(flat.n_parameters, dimension, seed)
    if kind == "rademacher":
        return RademacherProjection(flat.n_parameters, dimension, seed)
    if kind == "kronecker":
        return KroneckerProjection(flat, dimension, seed)
    return SparseProjection(flat.n_parameters, dimension, seed, min(NONZEROS, dimension))
