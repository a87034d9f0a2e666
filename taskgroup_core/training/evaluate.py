"""Scores of a trained network on one split."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from taskgroup_core.matrices import FloatArray
from taskgroup_core.problems.problem import Problem, Split
from taskgroup_core.scores import SCORES, elementwise_loss, present
from taskgroup_core.training.row_parts import in_parts


def evaluate(
    outputs: Callable[[Tensor], Tensor],
    problem: Problem,
    split: Split,
    subset: Sequence[int],
    device: torch.device,
) -> dict[str, FloatArray]:
    """Score the tasks of `subset`: "score" (each task's own metric) and "negative_loss", each with shape (n,).

    Parameters
    ----------
    outputs : network in evaluation mode, or any function from inputs to outputs with shape (B, n_outputs).
    problem, split : where the examples come from.
    subset : task indices; the other entries of the result are NaN.
    device : where `outputs` expects its inputs.
    """
    used, labels = problem.table(split)
    with torch.no_grad():
        output = in_parts(lambda part: outputs(part.to(device)), problem.inputs[used]).cpu()
    result = {name: np.full(problem.n_tasks, np.nan) for name in ("score", "negative_loss")}
    there = present(labels)
    for index in subset:
        task, rows = problem.tasks[index], there[:, index]
        prediction, label = output[:, problem.columns([index])][rows], labels[rows, index]
        scored = prediction if task.n_outputs > 1 else prediction[:, 0]
        result["score"][index] = SCORES[task.metric](scored, label)
        result["negative_loss"][index] = -float(elementwise_loss(prediction, label[:, None], (task,)).mean())
    return result
