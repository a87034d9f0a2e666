"""A proved upper bound on GRAD-TAG's relaxation, from any approximate dual point and with every rounding error paid."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from taskgroup_core.errors import InputError
from taskgroup_core.grouping.grouping import check_n_groups
from taskgroup_core.matrices import FloatArray, check_affinity

UNIT = 2.0**-53  # largest relative error of one rounded operation in float64


@dataclass(frozen=True)
class Certificate:
    """A dual point (N, y) and the bound it proves: <T, X> <= bound for every feasible X, partitions among them.

    Parameters
    ----------
    bound : upper bound on <T, X>, in the affinity's unit; divided by k it bounds the average density.
    multipliers : N, with shape (n, n), symmetric, every entry at least 0.
    shift : y, with shape (n,).
    rounding_error : the part of `bound` that pays for rounding.
    """

    bound: float
    multipliers: FloatArray
    shift: FloatArray
    rounding_error: float


def certify(affinity: xr.DataArray | ArrayLike, n_groups: int, multipliers: ArrayLike) -> Certificate:
    """The bound that multipliers of X >= 0 prove, however far they are from optimal.

    Every X that is feasible (X e = e, trace X = k, X >= 0, X positive semidefinite) has eigenvalues from 0 to 1, since
    its rows are non-negative with sum 1. So for any y and any N >= 0, with M = (T + T') / 2 + N - y e' - e y',

        <T, X> = 2 e'y + <M, X> - <N, X> <= 2 e'y + (sum of the k largest eigenvalues of M).

    There is nothing to be feasible but N >= 0, which clipping gives. The best y for an N makes e the top eigenvector
    of M; the y used is that one up to rounding, and the inequality holds for it as it stands.

    Parameters
    ----------
    affinity : T, with shape (n, n).
    n_groups : k, from 1 to n.
    multipliers : an approximate dual solution with shape (n, n), in T's unit; it is made symmetric and clipped at 0.

    Raises
    ------
    InputError : an affinity, a number of groups or multipliers that cannot be used.

    References
    ----------
    K. Fan, On a theorem of Weyl concerning eigenvalues of linear transformations I, PNAS, 1949. N. Higham, Accuracy
    and Stability of Numerical Algorithms, 2nd edition, 2002, sections 3.1 and 3.5 (sums and products of matrices).
    """
    values = check_affinity(affinity)
    k = check_n_groups(n_groups, len(values))
    given = check_affinity(multipliers, "multipliers")
    if given.shape != values.shape:
        raise InputError("multipliers", f"shape {given.shape}", f"Give shape {values.shape}, as the affinity has.")
    n_matrix = np.maximum(given, 0.0)
    n_matrix = (n_matrix + n_matrix.T) / 2  # exactly symmetric, and never negative
    work = (values + values.T) / 2 + n_matrix
    shift = _shift(work)
    matrix = work - (shift[:, None] + shift[None, :])
    # Four operations stand between T, N, y and an entry of M; sum_ij A_ij X_ij <= n max A because X's rows sum to 1.
    size = (np.abs(values) + np.abs(values.T)) / 2 + n_matrix + np.abs(shift)[:, None] + np.abs(shift)[None, :]
    slack = len(values) * _gamma(4) * float(size.max())
    top, uncertain = _top_eigenvalues(matrix, k)
    slack += uncertain
    # All parts of the slack are sums of at most n^2 non-negative terms: their own errors stay below 1 % for n < 10^6.
    slack = 1.01 * slack + float(np.finfo(np.float64).tiny)
    total = math.fsum([*top.tolist(), *(2 * shift).tolist(), slack])  # fsum rounds once
    return Certificate(math.nextafter(total, math.inf), n_matrix, shift, slack)


def _shift(work: FloatArray) -> FloatArray:
    """The y for which M is P W P + s e e' / n, with P the projection off e and s no less than any eigenvalue."""
    rows = work.mean(axis=1)
    centred = work - rows[:, None] - rows[None, :] + rows.mean()
    shift: FloatArray = rows - (rows.mean() + float(np.linalg.norm(centred)) / len(work)) / 2
    return shift


def _top_eigenvalues(matrix: FloatArray, k: int) -> tuple[FloatArray, float]:
    """Computed k largest eigenvalues, and by how much the sum of the true ones may exceed theirs.

    Nothing is assumed of the eigensolver. For the V and L it returns, with E = M - V L V':
    sum_k(M) <= sum_k(V L V') + sqrt(k) |E|_F, and each eigenvalue of V L V' is one of L times a factor that differs
    from 1 by at most |V'V - I| (Ostrowski). Both norms are computed, plus the rounding of their matrix products.
    """
    values, vectors = np.linalg.eigh(matrix)
    n, largest = len(values), float(np.abs(values).max())
    product = _gamma(n + 2) * float(np.vdot(vectors, vectors))  # |fl(AB) - AB| <= gamma_n |A| |B|, in any order of sums
    residual = float(np.linalg.norm(matrix - (vectors * values) @ vectors.T)) + 2 * product * largest
    defect = float(np.linalg.norm(vectors.T @ vectors - np.eye(n))) + 2 * product
    return values[n - k :], math.sqrt(k) * residual + k * largest * defect


def _gamma(operations: int) -> float:
    """Relative error bound of so many rounded operations in a row."""
    return operations * UNIT / (1 - operations * UNIT)
