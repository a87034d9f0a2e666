"""Johnson-Lindenstrauss projection of gradients: what every projection offers, and the ways to compute with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, Protocol, get_args

import torch
from torch import Tensor
from torch.func import vmap

from taskgroup_core.errors import InputError
from taskgroup_core.gradients.dense_projection import (
    BLOCK,
    DenseProjection,
    GaussianProjection,
    IdentityProjection,
    RademacherProjection,
)
from taskgroup_core.gradients.factors import FactoredGradients, Part
from taskgroup_core.gradients.flat import FlatNetwork
from taskgroup_core.gradients.linearisation import directional_derivative
from taskgroup_core.gradients.per_example import per_example_gradients

__all__ = [
    "Projection",
    "GaussianProjection",
    "RademacherProjection",
    "IdentityProjection",
    "Route",
    "projected_gradients",
]

Route = Literal["auto", "forward", "reverse", "layered"]


class Projection(Protocol):
    """A random matrix P with shape (p, d) and E <P'u, P'v> = <u, v>; the same on every device."""

    @property
    def n_parameters(self) -> int:
        """The number of parameters, p."""

    @property
    def dimension(self) -> int:
        """The dimension of projected gradients, d."""

    def project(self, gradients: Tensor) -> Tensor:
        """P^T g for rows g: from shape (E, p) to (E, d)."""

    def project_parts(self, parts: Sequence[Part]) -> Tensor:
        """P^T g, with shape (E, d), of gradients given in parts, one a parameter tensor, in the order of theta."""

    def lift(self, solutions: Tensor) -> Tensor:
        """P w for rows w: from shape (m, d) to (m, p)."""


def projected_gradients(
    flat: FlatNetwork,
    projection: Projection,
    inputs: Tensor,
    input_index: Tensor,
    output_index: Tensor,
    route: Route = "auto",
    budget: int = 2**28,
) -> Tensor:
    """P^T g for every example, g being the gradient of an output of the network for an input; with shape (E, d).

    All routes give the same numbers, up to rounding:

    - "forward" differentiates along each column of P, which serves all outputs of an input at once and never forms a
      gradient: about 2 forward passes a column and input.
    - "reverse" forms the gradients slice by slice and multiplies them with P: 2 p operations a column and example.
    - "layered" does the same without forming the gradients of linear layers, which are products of two short vectors;
      so a slice holds many more examples, and P is drawn for fewer slices. A Kronecker projection does not multiply
      with P, it projects these vectors.

    "auto" takes "forward" from 3 labels an input on where P is dense and all operations of the network have forward
    mode (fused attention has none), and else "layered". By the counts the balance is near 2, but operations of forward
    mode come in smaller products.

    Parameters
    ----------
    flat, projection : network with p parameters, and P.
    inputs : the u inputs in use, with shape (u, ...), on the network's device.
    input_index, output_index : row of `inputs`, and column of the network's output, for each example; int64 with
        shape (E,), same device. A multiclass task has several columns.
    route : how to compute.
    budget : bytes that a slice of gradients may take on the reverse and layered routes.

    Raises
    ------
    InputError : an unknown route, or a projection for another number of parameters.
    """
    if route not in get_args(Route):
        raise InputError("route", repr(route), f"Use one of {', '.join(get_args(Route))}.")
    if projection.n_parameters != flat.n_parameters:
        found = f"one of {projection.n_parameters} parameters for a network of {flat.n_parameters}"
        raise InputError("projection", found, "Make one for this network.")
    theta = flat.theta
    many = isinstance(projection, DenseProjection) and len(input_index) >= 3 * len(inputs)
    if route == "forward" or (route == "auto" and many):
        derivatives = vmap(
            lambda direction: directional_derivative(flat, inputs, direction)[1][input_index, output_index],
            chunk_size=4,
        )
        try:
            with torch.no_grad():
                return torch.cat([derivatives(directions).T for directions in _columns(projection, theta)], dim=1)
        except NotImplementedError:  # a fused operation without forward mode, as in attention
            if route == "forward":
                raise
    if route == "reverse":
        size = max(1, budget // (theta.element_size() * flat.n_parameters))
        slices = zip(input_index.split(size), output_index.split(size), strict=True)
        return torch.cat([projection.project(per_example_gradients(flat, inputs[i], which)) for i, which in slices])
    factored = FactoredGradients(flat, inputs[:1])
    size = max(1, budget // (theta.element_size() * factored.numbers))
    slices = zip(input_index.split(size), output_index.split(size), strict=True)
    return torch.cat([projection.project_parts(factored(inputs[i], which)) for i, which in slices])


def _columns(projection: Projection, like: Tensor) -> Iterator[Tensor]:
    """The columns of P in blocks, as rows with shape (at most 32, p)."""
    if isinstance(projection, DenseProjection):
        yield from (block.T for _, block in projection.blocks(like))
    else:
        for unit in torch.eye(projection.dimension, dtype=like.dtype, device=like.device).split(BLOCK):
            yield projection.lift(unit)
