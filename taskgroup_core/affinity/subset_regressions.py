"""The regressions of GRAD-TAE, one for each subset of tasks, solved together: Eq. (3) and (4) of GRAD-TAG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from taskgroup_core.affinity.newton import newton
from taskgroup_core.affinity.shared_rows import SharedRows
from taskgroup_core.affinity.subset_descent import Descent
from taskgroup_core.affinity.subset_newton import SubsetNewton
from taskgroup_core.affinity.task_rows import TaskRows, check_rows
from taskgroup_core.errors import InputError
from taskgroup_core.subsets import Subsets, check_subsets

__all__ = ["Regressions", "TaskRows", "subset_regressions"]

BLOCK_BYTES = 2**28  # that the factors of one block of subsets, or their weights of all rows, may take


@dataclass(frozen=True)
class Regressions:
    """Solutions w of m subsets, with shape (m, d), and for each the objective there and how the solver ended."""

    solutions: Tensor
    objective: Tensor
    gradient_norm: Tensor
    iterations: Tensor
    converged: Tensor
    flops: int

    @property
    def status(self) -> str:
        """A sentence a person can act on."""
        lacking = int((~self.converged).sum())
        if not lacking:
            return f"all {len(self.converged)} minima found, in at most {int(self.iterations.max())} iterations"
        return (
            f"no minimum found for {lacking} of {len(self.converged)} subsets: "
            "where the labels can be separated there is none; use a finite C, or allow more iterations"
        )


def subset_regressions(
    rows: Sequence[TaskRows],
    subsets: Subsets,
    C: float = 1.0,
    *,
    tolerance: float = 2e-6,
    max_iterations: int = 100,
) -> Regressions:
    """Minimise, for each subset S, the mean loss over the r examples of its tasks plus |w|^2 / (2 C r).

    All subsets share the rows, so all descend together: each step costs two matrix products a task. Subsets that this
    does not bring to a minimum, as where labels are nearly separated, get Newton steps with Hessians of their own,
    which takes some twenty times as long; where single precision does not suffice for those, and where C is infinite,
    they get them one by one. Equal subsets are solved once. A task whose labels are all alike only pulls w towards that
    label; the penalty keeps w finite.

    Parameters
    ----------
    rows : examples of the n tasks; kinds may be mixed.
    subsets : membership matrix with shape (m, n).
    C : inverse strength of the L2 penalty, relative to the summed loss; infinity for Eq. (4) as printed.
    tolerance : on the estimated largest error of a solution's entries, relative to its largest entry: the length of
        the next quasi-Newton step. A bound without estimate: |w - w*| <= gradient_norm * C * r.
    max_iterations : evaluations of the gradient, then as many Newton steps where a subset needs them.

    Returns
    -------
    Regressions : in the order of `subsets`, on the device of the rows.

    Raises
    ------
    InputError : C or tolerance <= 0 or NaN, fewer than one iteration, rows of several dimensions, or bad subsets
        (see `check_subsets`; a `TaskRows` checks its own examples).

    References
    ----------
    GRAD-TAG, Algorithm 1, line 6, Eq. (3), (4); Remark 3.2 for other losses.

    Deviations
    ----------
    The L2 penalty, which the paper does not have: see `logistic_regression`, the same for one subset of binary tasks.
    """
    dimension = check_rows(rows)
    member = check_subsets(subsets, len(rows))
    for name, value in (("C", C), ("tolerance", tolerance), ("max_iterations", max_iterations)):
        if not value > 0:
            raise InputError(name, str(value), "Use a positive number.")
    if not len(member):
        raise InputError("subsets", "no row", "Give at least one subset.")
    unique, inverse = np.unique(member, axis=0, return_inverse=True)
    used: Subsets = np.asarray(unique.any(axis=0))
    tasks = [task for task, needed in zip(rows, used, strict=True) if needed]
    device = tasks[0].features.device
    chosen = torch.from_numpy(unique[:, used]).to(device)
    total = chosen.double() @ torch.tensor([float(len(task)) for task in tasks], dtype=torch.float64, device=device)
    penalty = 1 / (C * total)
    count, like = len(chosen), tasks[0].features
    solutions, objective, norm = like.new_zeros(count, dimension), like.new_zeros(count), like.new_zeros(count)
    iterations = torch.zeros(count, dtype=torch.int64, device=device)
    converged, flops = torch.zeros(count, dtype=torch.bool, device=device), 0
    if np.isfinite(C):
        shared = SharedRows(tasks, float(penalty.median()))
        size, room = (max(1, BLOCK_BYTES // (4 * numbers)) for numbers in (dimension**2, int(shared.count.sum())))
        for block in torch.arange(count, device=device).chunk(-(-count // size)):
            descent = Descent(shared, chosen[block], penalty[block])
            descent.run(tolerance, max_iterations)
            solutions[block], objective[block], norm[block] = descent.solution, descent.objective, descent.gradient_norm
            iterations[block], converged[block] = descent.iterations, descent.converged
            for hard in block[~descent.converged].split(room):
                if not len(hard):  # of none a split gives one part still
                    break
                steps = SubsetNewton(shared, chosen[hard], penalty[hard], solutions[hard])
                steps.run(tolerance, max_iterations)
                solutions[hard], objective[hard], norm[hard] = steps.solution, steps.objective, steps.gradient_norm
                iterations[hard] += steps.iterations
                converged[hard] = steps.converged
        flops = shared.flops
    for place in (~converged).nonzero()[:, 0].tolist():
        members = [task for task, there in zip(tasks, chosen[place].tolist(), strict=True) if there]
        one = newton(members, float(penalty[place]), tolerance, max_iterations)
        solutions[place], objective[place], norm[place] = one.solution, one.objective, one.gradient_norm
        iterations[place] += one.iterations
        converged[place] = one.error <= max(tolerance, 1e-6)
        flops += one.flops
    order = torch.from_numpy(inverse.reshape(-1)).to(device)
    return Regressions(solutions[order], objective[order], norm[order], iterations[order], converged[order], flops)
