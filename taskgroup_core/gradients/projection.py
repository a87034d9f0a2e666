"""Johnson-Lindenstrauss projection of gradients, by a Gaussian matrix that is never held."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor
from torch.func import vmap

from taskgroup_core.errors import InputError
from taskgroup_core.gradients.flat import FlatNetwork
from taskgroup_core.gradients.linearisation import directional_derivative
from taskgroup_core.gradients.per_example import per_example_gradients
from taskgroup_core.seeds import torch_generator

Route = Literal["auto", "forward", "reverse"]
BLOCK = 32  # columns of P held at once


class GaussianProjection:
    """P with shape (p, d), entries drawn from N(0, 1/d): column blocks are drawn anew from the seed when needed.

    Parameters
    ----------
    n_parameters : p.
    dimension : d.
    seed : decides P; drawn on the CPU in float32, so that every device sees one matrix. The first columns of a
        larger d are, up to the scale, those of a smaller one.

    References
    ----------
    GRAD-TAG, section 3.2 (2) and Algorithm 1, line 2.
    """

    def __init__(self, n_parameters: int, dimension: int, seed: int) -> None:
        if dimension < 1 or n_parameters < 1:
            raise InputError("dimension", f"p = {n_parameters}, d = {dimension}", "Use positive numbers.")
        self.n_parameters, self.dimension, self.seed = n_parameters, dimension, seed

    def blocks(self, like: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Column blocks (columns, P[:, columns] with shape (p, at most 32)) with the device and dtype of `like`."""
        for start in range(0, self.dimension, BLOCK):
            columns = slice(start, min(start + BLOCK, self.dimension))
            generator = torch_generator(self.seed, "projection", start)
            # Transposed memory: a column is one direction in parameter space, and directions are what is used.
            block = torch.randn(BLOCK, self.n_parameters, generator=generator)[: columns.stop - start]
            yield columns, (block / self.dimension**0.5).to(like).T

    def project(self, gradients: Tensor) -> Tensor:
        """g~ = P^T g for rows g: from shape (E, p) to (E, d)."""
        return torch.cat([gradients @ block for _, block in self.blocks(gradients)], dim=1)

    def lift(self, solutions: Tensor) -> Tensor:
        """P w for rows w: from shape (m, d) to (m, p); the second half of Eq. (5)."""
        lifted = solutions.new_zeros(len(solutions), self.n_parameters)
        for columns, block in self.blocks(solutions):
            lifted += solutions[:, columns] @ block.T
        return lifted


class IdentityProjection(GaussianProjection):
    """No projection, d = p: for small networks, to see what the projection costs in accuracy."""

    def __init__(self, n_parameters: int) -> None:
        super().__init__(n_parameters, n_parameters, seed=0)

    def blocks(self, like: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Columns of the identity matrix."""
        for start in range(0, self.dimension, BLOCK):
            columns = slice(start, min(start + BLOCK, self.dimension))
            block = like.new_zeros(columns.stop - start, self.n_parameters)
            block[:, columns] = torch.eye(columns.stop - start).to(like)
            yield columns, block.T


def projected_gradients(
    flat: FlatNetwork,
    projection: GaussianProjection,
    inputs: Tensor,
    input_index: Tensor,
    task_index: Tensor,
    route: Route = "auto",
    budget: int = 2**28,
) -> Tensor:
    """P^T g for every example (input_index[e], task_index[e]), with shape (E, d).

    Both routes give the same numbers. "forward" differentiates along each column of P, which serves all outputs of an
    input at once and never forms a gradient: about 2 forward passes a column and input. "reverse" forms gradients slice
    by slice and multiplies them with P. The counts balance near 2 labels an input; "auto" takes forward mode from 3 on,
    because its operations come in smaller products.

    Parameters
    ----------
    flat, projection : network with p parameters, and P.
    inputs : the u inputs in use, with shape (u, ...), on the network's device.
    input_index, task_index : row of `inputs` and output of each example, int64 with shape (E,), same device.
    budget : bytes that a slice of gradients may take on the reverse route.
    """
    if route == "auto":
        route = "forward" if len(input_index) >= 3 * len(inputs) else "reverse"
    theta = flat.theta
    if route == "reverse":
        size = max(1, budget // (theta.element_size() * flat.n_parameters))
        slices = zip(input_index.split(size), task_index.split(size), strict=True)
        return torch.cat([projection.project(per_example_gradients(flat, inputs[i], t)) for i, t in slices])
    derivatives = vmap(
        lambda direction: directional_derivative(flat, inputs, direction)[1][input_index, task_index], chunk_size=4
    )
    with torch.no_grad():
        return torch.cat([derivatives(block.T).T for _, block in projection.blocks(theta)], dim=1)
