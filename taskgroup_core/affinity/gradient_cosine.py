"""Gradient cosine similarity: whether two tasks pull the shared parameters the same way."""

from __future__ import annotations

import torch
from torch import Tensor

from taskgroup_core.affinity.collected import CollectedAffinity
from taskgroup_core.affinity.task_gradients import gradient_flops, task_gradients
from taskgroup_core.problems.problem import Problem
from taskgroup_core.training.epochs import Moment


class GradientCosineAffinity(CollectedAffinity):
    """T[j, i], the mean over steps of the cosine between the gradients of L_i and L_j for the shared parameters.

    Symmetric, with ones on the diagonal.

    Parameters
    ----------
    recipe : how all tasks are trained together.
    seed : decides the initialisation, the order of the inputs and the dropout.
    device : where to train.
    every : interval between two collections, in steps.
    window : part of the training in which to collect: "all", the "first", "middle" or "final" quarter of its steps,
        or two shares of it, as (0, 0.5).
    shared : which parameters are shared, see `shared_parameters`.

    Attributes
    ----------
    flops : operations spent so far, the training included.
    trace_ : the cosines of every collection, dims ("step", "target", "source"), with the coordinate "epoch".

    Raises
    ------
    InputError : see `CollectedAffinity.affinity`.

    References
    ----------
    The baseline CS of Fifty et al., Efficiently Identifying Task Groupings for Multi-Task Learning, 2021, section 5.1.

    Deviations
    ----------
    1. The paper says no more than that pairs of gradients are compared by their cosine: the gradients of the shared
       parameters, on the batch of the step, averaged like TAG's affinity, are our reading.
    2. The gradients are taken in evaluation mode, as for TAG, so that dropout is not a part of the difference.
    3. Steps at which a task has no label in the batch, or a gradient of exactly 0, do not count for that task.
    """

    method = "gradient cosine"

    def _measure(self, problem: Problem, moment: Moment, names: list[str]) -> Tensor:
        self.flops += gradient_flops(problem.row_flops, moment.labels)
        gradients, _ = task_gradients(moment.network, names, problem.tasks, moment.inputs, moment.labels)
        rows = torch.cat([gradient.flatten(1) for gradient in gradients.values()], dim=1)
        # A zero vector has no direction: 0 / 0 marks it as not measured.
        unit = rows / rows.norm(dim=1, keepdim=True)
        cosines: Tensor = unit @ unit.T
        return cosines.clamp(-1, 1)
