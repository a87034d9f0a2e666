"""Scores of one task's predictions: higher is better."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional

from taskgroup_core.tasks import Task, output_columns


def f1(output: Tensor, label: Tensor) -> float:
    """F1 of the positive class at logit 0, in [0, 1]; 0 where nothing is predicted right.

    The mean of it over tasks is the macro F1 of GRAD-TAG's section 5.1.2.
    """
    predicted, actual = output > 0, label > 0.5
    hits = int((predicted & actual).sum())
    return 2 * hits / max(1, int(predicted.sum()) + int(actual.sum()))


def accuracy(output: Tensor, label: Tensor) -> float:
    """Share of labels predicted right, in [0, 1]: at logit 0 for outputs (B,), by the largest logit for (B, K)."""
    predicted = output > 0 if output.ndim == 1 else output.argmax(dim=1)
    return float((predicted == label).double().mean())


def macro_f1(output: Tensor, label: Tensor) -> float:
    """Mean over the classes among `label` of the F1 of each against the rest, in [0, 1]; logits with shape (B, K)."""
    predicted = output.argmax(dim=1)
    each = [f1((predicted == present).float() - 0.5, (label == present).float()) for present in label.unique()]
    return sum(each) / len(each)


def r2(output: Tensor, label: Tensor) -> float:
    """One minus the squared error over the labels' variance: at most 1, 0 for the mean, no lower bound.

    Labels of H numbers count as H labels. Where all labels are equal there is no variance: 1 if every prediction is
    exact, else 0, as scikit-learn has it.
    """
    error, spread = float((output - label).square().sum()), float((label - label.mean()).square().sum())
    flat = label.flatten()
    # The mean of equal numbers may differ from them in the last digit, which is no variance.
    if spread > 0 and not bool((flat == flat[:1]).all()):
        return 1 - error / spread
    return float(error == 0)


def negative_mae(output: Tensor, label: Tensor) -> float:
    """Minus the mean absolute error over all numbers, in the unit of the labels: at most 0."""
    return -float((output - label).abs().double().mean())


SCORES: Mapping[str, Callable[[Tensor, Tensor], float]] = {
    "f1": f1,
    "accuracy": accuracy,
    "macro_f1": macro_f1,
    "r2": r2,
    "negative_mae": negative_mae,
}


def present(labels: Tensor) -> Tensor:
    """Which labels of a table are there, boolean with shape (u, n).

    Parameters
    ----------
    labels : with shape (u, n), or (u, n, H) where a label is H numbers; NaN where missing.
    """
    # A label is there as a whole or not at all: `Examples` has no NaN.
    return ~(labels if labels.ndim == 2 else labels[..., 0]).isnan()


def elementwise_loss(output: Tensor, label: Tensor, tasks: tuple[Task, ...]) -> Tensor:
    """Loss of every label, with shape (..., n): logistic or cross-entropy (in nats) or squared error, by kind.

    Of a label of H numbers it is the mean of the H squared errors.

    Parameters
    ----------
    output : the tasks' columns side by side (see `output_columns`): logits of binary and multiclass tasks,
        predictions of regression tasks, with shape (..., number of outputs).
    label : labels with shape (..., n), or (..., n, H) where each is H numbers; no NaN.
    tasks : the n tasks.
    """
    kinds = {task.kind for task in tasks}
    if kinds == {"regression"} and tasks[0].n_outputs > 1:
        return (output.reshape(label.shape) - label).square().mean(dim=-1)
    if kinds == {"binary"}:
        # Torch gives the losses the labels' precision, not the outputs'.
        return functional.binary_cross_entropy_with_logits(output, label.to(output.dtype), reduction="none")
    if "multiclass" in kinds:
        each = zip(tasks, output_columns(tasks), label.unbind(dim=-1), strict=True)
        return torch.stack([_loss_of_task(output[..., columns], known, task) for task, columns, known in each], dim=-1)
    binary = torch.tensor([task.kind == "binary" for task in tasks], device=output.device)
    logistic = functional.softplus(output) - label * output
    return torch.where(binary, logistic, (output - label).square())


def _loss_of_task(output: Tensor, label: Tensor, task: Task) -> Tensor:
    if task.kind == "multiclass":
        chosen = label.long().unsqueeze(-1)
        return -functional.log_softmax(output, dim=-1).gather(-1, chosen).squeeze(-1)
    return elementwise_loss(output, label.unsqueeze(-1), (task,)).squeeze(-1)
