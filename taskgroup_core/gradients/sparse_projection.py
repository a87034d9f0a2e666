"""Projection by a sparse random matrix."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from taskgroup_core.errors import InputError
from taskgroup_core.gradients.dense_projection import check_sizes
from taskgroup_core.gradients.factors import Formed, OuterProducts, Part
from taskgroup_core.seeds import torch_generator

NONZEROS = 4  # in a row of P, unless told otherwise
CACHED = (64, 2**18)  # examples, and numbers of their gradients, that are formed at once: they stay in the cache


class SparseProjection:
    """P with s entries +-1/sqrt(s) in each row and zeros elsewhere: the sparse Johnson-Lindenstrauss transform.

    <P'u, P'v> has mean <u, v> and, whatever s is, the variance of `RademacherProjection`,
    (|u|^2 |v|^2 + <u, v>^2 - 2 sum_i u_i^2 v_i^2) / d. What s decides is how heavy the tails are where few entries of u
    and v carry most of their length: with s = 1 two such entries share a column with probability 1/d, and then their
    whole product is the error; with larger s they share some of their columns more often, and less is lost each time.

    Parameters
    ----------
    n_parameters : p.
    dimension : d; it may exceed p.
    seed : decides P, drawn on the CPU.
    nonzeros : s; the columns of a row are distinct, every choice being equally likely.

    Raises
    ------
    InputError : p, d or s that is not a positive integer, or s larger than d.

    References
    ----------
    Kane and Nelson, Sparser Johnson-Lindenstrauss transforms, 2014; s = 1 is CountSketch.

    Deviations
    ----------
    Ours: GRAD-TAG projects with dense matrices. s = 4 by default, where the bound of Kane and Nelson, which holds for
    every vector, asks for s in proportion to the square root of d.
    """

    def __init__(self, n_parameters: int, dimension: int, seed: int, nonzeros: int = NONZEROS) -> None:
        check_sizes(n_parameters, dimension)
        if isinstance(nonzeros, bool) or not isinstance(nonzeros, int) or not 1 <= nonzeros <= dimension:
            raise InputError("nonzeros", repr(nonzeros), f"Use an integer from 1 to d = {dimension}.")
        self.n_parameters, self.dimension, self.seed, self.nonzeros = n_parameters, dimension, seed, nonzeros
        generator = torch_generator(seed, "sparse projection")
        self._columns = torch.empty(n_parameters, nonzeros, dtype=torch.int32)
        # Floyd's sampling without replacement, all rows at once: where a draw is taken already, `last` is not.
        for k, last in enumerate(range(dimension - nonzeros, dimension)):
            drawn = torch.randint(last + 1, (n_parameters,), generator=generator, dtype=torch.int32)
            taken = (self._columns[:, :k] == drawn[:, None]).any(dim=1)
            self._columns[:, k] = torch.where(taken, last, drawn)
        signs = torch.randint(2, (n_parameters, nonzeros), generator=generator, dtype=torch.int8)
        self._values = signs.to(torch.float32).mul_(2).sub_(1)

    def project(self, gradients: Tensor) -> Tensor:
        """P^T g for rows g: from shape (E, p) to (E, d)."""
        return self.project_parts([Formed(slice(0, self.n_parameters), gradients)])

    def project_parts(self, parts: Sequence[Part]) -> Tensor:
        """P^T g, with shape (E, d), of gradients given in parts that cover all p parameters."""
        like = parts[0].some
        result = like.new_zeros(self.dimension, len(like))
        n_examples, numbers = CACHED if like.device.type == "cpu" else (4096, 2**26)
        for part in parts:
            left, right = (factor.split(n_examples) for factor in _two_factors(part))
            width = right[0].shape[1]
            step = max(1, numbers // (n_examples * width))
            for start in range(0, left[0].shape[1], step):
                some = slice(start, min(start + step, left[0].shape[1]))
                origin = part.span.start
                matrix = self._transposed(slice(origin + some.start * width, origin + some.stop * width), like)
                for columns, a, b in zip(result.split(n_examples, dim=1), left, right, strict=True):
                    products = a[:, some].T.contiguous()[:, None] * b.T.contiguous()
                    columns += matrix @ products.flatten(0, 1)
        return result.T.contiguous()

    def lift(self, solutions: Tensor) -> Tensor:
        """P w for rows w: from shape (m, d) to (m, p)."""
        lifted = solutions.new_zeros(len(solutions), self.n_parameters)
        for columns, values in zip(self._columns.T, self._values.T, strict=True):
            lifted += solutions[:, columns.to(solutions.device)] * values.to(solutions)
        lifted /= self.nonzeros**0.5
        return lifted

    def _transposed(self, rows: slice, like: Tensor) -> Tensor:
        """P[rows]^T as a sparse matrix with shape (d, number of rows)."""
        columns, values = self._columns[rows].flatten(), self._values[rows].flatten() / self.nonzeros**0.5
        order = columns.argsort(stable=True)
        starts = torch.zeros(self.dimension + 1, dtype=torch.int32)
        starts[1:] = columns.bincount(minlength=self.dimension).cumsum(0)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
            transposed: Tensor = torch.sparse_csr_tensor(
                starts.to(like.device),
                (order // self.nonzeros).to(like.device, torch.int32),
                values[order].to(like),
                (self.dimension, len(values) // self.nonzeros),
                check_invariants=False,
            )
        return transposed


def _two_factors(part: Part) -> tuple[Tensor, Tensor]:
    """(left, right) with shapes (E, a) and (E, b), whose outer products are the gradients."""
    if isinstance(part, OuterProducts) and part.signals.shape[1] == 1:
        return part.signals[:, 0], part.activations[:, 0]
    formed = part.form()
    return formed, torch.ones_like(formed[:, :1])
