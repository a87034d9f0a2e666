"""Projections by a dense random matrix that is never held whole."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from taskgroup_core.errors import InputError
from taskgroup_core.gradients.factors import Formed, OuterProducts, Part
from taskgroup_core.seeds import derive, torch_generator

BLOCK = 32  # columns of P held at once
CHUNK = 2**22  # numbers of a product that are held at once


def check_sizes(n_parameters: int, dimension: int) -> None:
    """Refuse sizes that are not positive integers."""
    for name, size in (("n_parameters", n_parameters), ("dimension", dimension)):
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise InputError(name, repr(size), "Use a positive integer.")


class DenseProjection(ABC):
    """P with shape (p, d) and independent entries of variance 1/d, in column blocks drawn from the seed when needed.

    Parameters
    ----------
    n_parameters : p.
    dimension : d; it may exceed p.
    seed : decides P; drawn on the CPU in float32, so that every device sees one matrix. The first columns of a
        larger d are, up to the scale, those of a smaller one.

    Raises
    ------
    InputError : p or d that is not a positive integer, or a bad seed.
    """

    def __init__(self, n_parameters: int, dimension: int, seed: int) -> None:
        check_sizes(n_parameters, dimension)
        derive(seed)  # a bad seed is refused here and not at the first use
        self.n_parameters, self.dimension, self.seed = n_parameters, dimension, seed

    @abstractmethod
    def _draw(self, generator: torch.Generator) -> Tensor:
        """The next 32 columns as rows, float32 with entries of variance 1."""

    def blocks(self, like: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Column blocks (columns, P[:, columns] with shape (p, at most 32)) with the device and dtype of `like`."""
        for start in range(0, self.dimension, BLOCK):
            columns = slice(start, min(start + BLOCK, self.dimension))
            # Transposed memory: a column is one direction in parameter space, and directions are what is used.
            block = self._draw(torch_generator(self.seed, "projection", start))[: columns.stop - start]
            yield columns, block.div_(self.dimension**0.5).to(like).T

    def project(self, gradients: Tensor) -> Tensor:
        """g~ = P^T g for rows g: from shape (E, p) to (E, d)."""
        return self.project_parts([Formed(slice(0, self.n_parameters), gradients)])

    def project_parts(self, parts: Sequence[Part]) -> Tensor:
        """P^T g, with shape (E, d), of gradients given in parts that cover all p parameters."""
        # A sum of several products is cheaper to form than to project term by term.
        ready = [part if _is_product(part) else Formed(part.span, part.form()) for part in parts]
        like = parts[0].some
        result = like.new_zeros(len(like), self.dimension)
        for columns, block in self.blocks(like):
            for part in ready:
                result[:, columns] += _times(part, block[part.span].T)
        return result

    def lift(self, solutions: Tensor) -> Tensor:
        """P w for rows w: from shape (m, d) to (m, p); the second half of Eq. (5)."""
        lifted = solutions.new_zeros(len(solutions), self.n_parameters)
        for columns, block in self.blocks(solutions):
            lifted += solutions[:, columns] @ block.T
        return lifted


class GaussianProjection(DenseProjection):
    """P with entries drawn from N(0, 1/d).

    <P'u, P'v> has mean <u, v> and variance (|u|^2 |v|^2 + <u, v>^2) / d. Parameters and errors: see `DenseProjection`.

    References
    ----------
    GRAD-TAG, section 3.2 (2) and Algorithm 1, line 2.
    """

    def _draw(self, generator: torch.Generator) -> Tensor:
        return torch.randn(BLOCK, self.n_parameters, generator=generator, dtype=torch.float32)


class RademacherProjection(DenseProjection):
    """P with entries +-1/sqrt(d), either sign with probability 1/2.

    <P'u, P'v> has mean <u, v> and variance (|u|^2 |v|^2 + <u, v>^2 - 2 sum_i u_i^2 v_i^2) / d, never more than with a
    Gaussian P. Parameters and errors: see `DenseProjection`.

    References
    ----------
    The code released with GRAD-TAG (its text has a Gaussian P); Achlioptas, Database-friendly random projections, 2003.

    Deviations
    ----------
    The released code draws P without a seed.
    """

    def _draw(self, generator: torch.Generator) -> Tensor:
        bits = torch.randint(2, (BLOCK, self.n_parameters), generator=generator, dtype=torch.int8)
        return bits.to(torch.float32).mul_(2).sub_(1)


class IdentityProjection:
    """No projection, d = p: for small networks, to see what the projection costs in accuracy.

    Raises
    ------
    InputError : p that is not a positive integer.
    """

    def __init__(self, n_parameters: int) -> None:
        check_sizes(n_parameters, n_parameters)
        self.n_parameters = self.dimension = n_parameters

    def project(self, gradients: Tensor) -> Tensor:
        """The gradients themselves, with shape (E, p)."""
        return gradients.clone()

    def project_parts(self, parts: Sequence[Part]) -> Tensor:
        """The gradients themselves, with shape (E, p), formed."""
        return torch.cat([part.form() for part in parts], dim=1)

    def lift(self, solutions: Tensor) -> Tensor:
        """The solutions themselves, with shape (m, p)."""
        return solutions.clone()


def _is_product(part: Part) -> bool:
    return isinstance(part, OuterProducts) and part.signals.shape[1] == 1


def _times(part: Part, rows: Tensor) -> Tensor:
    """Inner products, with shape (E, c), of the part's gradients with `rows` of shape (c, size of its span)."""
    if isinstance(part, Formed):
        return part.gradients @ rows.T
    # <signal activation', R> = signal' (R activation): the outer product is never formed.
    n_out, n_in = part.signals.shape[2], part.activations.shape[2]
    flat_rows = rows.reshape(len(rows) * n_out, n_in)
    size = max(1, CHUNK // len(flat_rows))
    pairs = zip(part.signals[:, 0].split(size), part.activations[:, 0].split(size), strict=True)
    return torch.cat([((a @ flat_rows.T).view(len(a), len(rows), n_out) @ s.unsqueeze(2)).squeeze(2) for s, a in pairs])
