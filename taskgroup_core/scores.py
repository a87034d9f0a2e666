"""Scores of one task's predictions: higher is better."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional

from taskgroup_core.tasks import Task


def f1(output: Tensor, label: Tensor) -> float:
    """F1 of the positive class at logit 0, in [0, 1]; 0 where nothing is predicted right.

    The mean of it over tasks is the macro F1 of GRAD-TAG's section 5.1.2.
    """
    predicted, actual = output > 0, label > 0.5
    hits = int((predicted & actual).sum())
    return 2 * hits / max(1, int(predicted.sum()) + int(actual.sum()))


def accuracy(output: Tensor, label: Tensor) -> float:
    """Share of labels predicted right at logit 0, in [0, 1]."""
    return float(((output > 0) == (label > 0.5)).double().mean())


def r2(output: Tensor, label: Tensor) -> float:
    """One minus the squared error over the labels' variance: at most 1, 0 for the mean, no lower bound."""
    spread = (label - label.mean()).square().sum().clamp_min(torch.finfo(label.dtype).tiny)
    return float(1 - (output - label).square().sum() / spread)


SCORES: Mapping[str, Callable[[Tensor, Tensor], float]] = {"f1": f1, "accuracy": accuracy, "r2": r2}


def elementwise_loss(output: Tensor, label: Tensor, tasks: tuple[Task, ...]) -> Tensor:
    """Loss of every entry, with the shape (B, n) of `output`: logistic (in nats) or squared error, by task kind.

    Parameters
    ----------
    output : logits of binary tasks, predictions of regression tasks, with shape (B, n).
    label : labels with shape (B, n), no NaN.
    tasks : the n tasks of the columns.
    """
    binary = torch.tensor([task.kind == "binary" for task in tasks], device=output.device)
    if bool(binary.all()):
        return functional.binary_cross_entropy_with_logits(output, label, reduction="none")
    logistic = functional.softplus(output) - label * output
    return torch.where(binary, logistic, (output - label).square())
