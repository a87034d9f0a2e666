"""Scores of many subsets at once, from outputs of the network or of its linearisation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.func import vmap

from taskgroup_core.affinity.task_rows import TaskRows
from taskgroup_core.flops import counted
from taskgroup_core.gradients.flat import FlatNetwork
from taskgroup_core.gradients.linearisation import taylor
from taskgroup_core.matrices import FloatArray
from taskgroup_core.problems.problem import Problem, Split
from taskgroup_core.scores import SCORES, elementwise_loss, present
from taskgroup_core.subsets import Subsets
from taskgroup_core.tasks import Task
from taskgroup_core.training.row_parts import in_parts

Values = dict[str, FloatArray]
ORDER = {"network": None, "linear": 1, "quadratic": 2}  # of the Taylor expansion that is scored


def score_task(task: Task, output: Tensor, label: Tensor) -> tuple[list[float], list[float]]:
    """Score and negative mean loss of one task in each of S subsets.

    Parameters
    ----------
    output : with shape (S, E, K).
    label : with shape (E,), or (E, K) where each is K numbers; no NaN.
    """
    output, label = output.cpu(), label.to("cpu", output.dtype)
    known = label[:, None].expand(len(output), len(label), 1, *label.shape[1:])
    loss = elementwise_loss(output, known, (task,)).mean(dim=(1, 2))
    scored = output if task.n_outputs > 1 else output[..., 0]
    return [SCORES[task.metric](one, label) for one in scored], (-loss).tolist()


def linear_scores(problem: Problem, rows: Sequence[TaskRows], solutions: Tensor, member: Subsets) -> Values:
    """Scores of the outputs f + g~ w: no forward pass, no vector of p numbers.

    Parameters
    ----------
    rows : projected gradients g~ and outputs f of the scored examples of each task, see `linearised_rows`.
    solutions : w of each subset, with shape (m, d).
    member : with shape (m, n).
    """
    values = _empty(member)
    for task, part in enumerate(rows):
        inside = member[:, task]
        if inside.any():
            weights = solutions[torch.from_numpy(inside).to(solutions.device)]
            output = part.offset + torch.einsum("ekd,sd->sek", part.features, weights)
            values["score"][inside, task], values["negative_loss"][inside, task] = score_task(
                problem.tasks[task], output, part.label
            )
    return values


def network_scores(
    problem: Problem,
    split: Split,
    flat: FlatNetwork,
    displacements: Callable[[slice], Tensor],
    member: Subsets,
    order: int | None = None,
    budget: int = 2**26,
) -> tuple[Values, int]:
    """Scores of the networks with parameters theta* + v, some of them in one forward pass; and the operations it took.

    Parameters
    ----------
    displacements : from a slice of the m subsets to their v, with shape (subsets, p).
    member : with shape (m, n).
    order : of a Taylor expansion around theta* to score in place of the network; None for the network.
    budget : bytes that parameters and outputs of the networks in one pass may take; one is taken in any case.
    """
    used, labels = problem.table(split)
    theta = flat.theta
    inputs = problem.inputs[used].to(theta.device)
    rows = [column.nonzero()[:, 0] for column in present(labels).T]
    size = max(1, budget // (theta.element_size() * (2 * len(theta) + len(used) * problem.n_outputs)))
    values, flops = _empty(member), 0

    def forward(displacement: Tensor) -> Tensor:
        def scored(rows: Tensor) -> Tensor:
            return flat(theta + displacement, rows) if order is None else taylor(flat, rows, displacement, order)

        return in_parts(scored, inputs)

    for start in range(0, len(member), size):
        part = slice(start, start + size)
        with torch.no_grad():
            outputs, cost = counted(partial(vmap(forward), displacements(part).to(theta)))
        outputs, flops = outputs.cpu(), flops + cost
        for task in np.flatnonzero(member[part].any(axis=0)).tolist():
            inside = np.flatnonzero(member[part, task])
            output = outputs[inside][:, rows[task]][..., problem.columns([task])]
            scored = score_task(problem.tasks[task], output, labels[rows[task], task])
            values["score"][start + inside, task], values["negative_loss"][start + inside, task] = scored
    return values, flops


def _empty(member: Subsets) -> Values:
    return {name: np.full(member.shape, np.nan) for name in ("score", "negative_loss")}
