"""A network linearised at a meta-initialisation: its outputs and projected gradients, task by task."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from taskgroup_core.affinity.task_rows import TaskRows
from taskgroup_core.flops import counted
from taskgroup_core.gradients.flat import FlatNetwork
from taskgroup_core.gradients.projection import Projection, projected_gradients
from taskgroup_core.problems.problem import Problem, Split
from taskgroup_core.scores import present


@dataclass(frozen=True)
class Linearised:
    """One meta-initialisation, ready for regressions.

    Parameters
    ----------
    flat : the network.
    projection : P.
    train : what a regression reads of each task.
    scored : the same of the examples that are scored; empty where the network itself is evaluated.
    flops : operations that the gradients took.
    """

    flat: FlatNetwork
    projection: Projection
    train: list[TaskRows]
    scored: list[TaskRows]
    flops: int


def linearise(
    problem: Problem,
    flat: FlatNetwork,
    projection: Projection,
    change: Callable[[TaskRows], TaskRows],
    scored: Split | None,
) -> Linearised:
    """Algorithm 1, lines 2 to 4: project the gradient of every training example, and of the scored split.

    Parameters
    ----------
    problem : n tasks of any kinds.
    flat : the network on its device, with the tasks' outputs.
    projection : from its p parameters to d dimensions.
    change : applied to the training rows of every task.
    scored : the split whose scores are read off the linearisation, None where the network is evaluated.
    """
    parts, flops = counted(
        lambda: [linearised_rows(problem, flat, projection, split) for split in ("train", scored) if split]
    )
    return Linearised(flat, projection, [change(rows) for rows in parts[0]], parts[1] if scored else [], flops)


def linearised_rows(problem: Problem, flat: FlatNetwork, projection: Projection, split: Split) -> list[TaskRows]:
    """What the linearised network needs to know of one split, task by task.

    Returns
    -------
    One `TaskRows` a task: for its E examples and K outputs the projected gradients with shape (E, K, d), the outputs
    f at theta* with shape (E, K), and the labels, see `TaskRows`; float64, on the network's device.
    """
    place = flat.theta.device
    used, labels = problem.table(split)
    inputs = problem.inputs[used].to(place)
    rows = [column.nonzero()[:, 0] for column in present(labels).T]
    columns = [problem.columns([task]) for task in range(problem.n_tasks)]
    input_index = torch.cat([i.repeat_interleave(len(k)) for i, k in zip(rows, columns, strict=True)]).to(place)
    output_index = torch.cat([k.repeat(len(i)) for i, k in zip(rows, columns, strict=True)]).to(place)
    with torch.no_grad():
        outputs = flat(flat.theta, inputs)[input_index, output_index].double()
    features = projected_gradients(flat, projection, inputs, input_index, output_index).double()
    sizes = [len(i) * len(k) for i, k in zip(rows, columns, strict=True)]
    return [
        TaskRows(task.kind, g.view(len(i), -1, g.shape[1]), f.view(len(i), -1), label[i].double().to(place))
        for task, i, g, f, label in zip(
            problem.tasks, rows, features.split(sizes), outputs.split(sizes), labels.unbind(dim=1), strict=True
        )
    ]
