"""The largest eigenvalues and eigenvectors of a symmetric matrix, on a CPU or a GPU."""

from __future__ import annotations

import torch
from scipy.linalg import eigh
from torch import Tensor

MOST_OF = 3  # above n / 3 eigenvectors, computing all (divide and conquer) is faster than computing some


def largest_eigenpairs(matrix: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """At least the `count` largest eigenvalues, ascending, with shape (c,), and their vectors, with shape (n, c).

    Computes some of them only where that is faster: on a CPU, by LAPACK, for at most a third. GPU libraries give all.

    Parameters
    ----------
    matrix : symmetric, with shape (n, n).
    count : 1 to n.
    """
    n = len(matrix)
    if matrix.device.type != "cpu":
        values, vectors = torch.linalg.eigh(matrix)
        return values, vectors
    if MOST_OF * count < n:
        found = eigh(matrix.numpy(), subset_by_index=[n - count, n - 1], check_finite=False)
    else:
        found = eigh(matrix.numpy(), driver="evd", check_finite=False)
    return torch.from_numpy(found[0]), torch.from_numpy(found[1])


def largest_eigenvalues(matrix: Tensor, count: int) -> Tensor:
    """The `count` largest eigenvalues, ascending, with shape (count,)."""
    n = len(matrix)
    if matrix.device.type != "cpu":
        values: Tensor = torch.linalg.eigvalsh(matrix)
        return values[n - count :]
    some = eigh(matrix.numpy(), eigvals_only=True, subset_by_index=[n - count, n - 1], check_finite=False)
    return torch.from_numpy(some)
