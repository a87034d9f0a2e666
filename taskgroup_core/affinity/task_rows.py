"""The training examples of a task in the projected space, and the loss of a linear model on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import one_hot, softplus

from taskgroup_core.errors import InputError
from taskgroup_core.tasks import Kind


@dataclass(frozen=True)
class TaskRows:
    """The training examples of one task in the projected space.

    The task's outputs at w are offset + features w. The loss is the one the networks are trained with: logistic and
    cross-entropy in nats, the squared error as it is (without a half), and its mean over the K numbers of a label.

    Parameters
    ----------
    kind : of the task; it decides the loss.
    features : projected gradients of each output, float64 with shape (E_t, K, d); K = 1 for binary tasks.
    offset : outputs of the network at theta*, with shape (E_t, K); zeros to leave them out.
    label : 0 or 1, class index 0 to K - 1, or a number, with shape (E_t,); K > 1 numbers have the shape (E_t, K).

    Raises
    ------
    InputError : other shapes, features that are not float64 (float32 cannot certify a minimum: convert, do not lose
        the digits unseen), no example, NaN or infinity, labels out of range.
    """

    kind: Kind
    features: Tensor
    offset: Tensor
    label: Tensor

    def __post_init__(self) -> None:
        if self.features.ndim != 3 or self.features.dtype != torch.float64:
            found = f"{self.features.dtype} with shape {tuple(self.features.shape)}"
            raise InputError("features", found, "Give float64 with shape (examples, outputs, d).")
        count, outputs, _ = self.features.shape
        wrong = self.offset.shape != (count, outputs) or self.offset.dtype != torch.float64
        numbers = (outputs,) if self.kind == "regression" and outputs > 1 else ()
        if not count or wrong or self.label.shape != (count, *numbers):
            found = (
                f"{count} examples, {self.offset.dtype} {tuple(self.offset.shape)}, labels {tuple(self.label.shape)}"
            )
            raise InputError(
                "offset, label", found, "Give an example or more, float64 offsets per output, one label each."
            )
        if self.kind != "regression" and (outputs != 1) != (self.kind == "multiclass"):
            raise InputError("features", f"{outputs} outputs of a {self.kind} task", "Only classes have outputs each.")
        if not all(torch.isfinite(values).all() for values in (self.features, self.offset, self.label)):
            raise InputError("features, offset, label", "NaN or infinity", "Check the examples and the network.")
        classes = {"binary": 2, "multiclass": outputs}.get(self.kind)
        if classes and not torch.isin(self.label, torch.arange(classes).to(self.label)).all():
            raise InputError("label", f"values other than 0 to {classes - 1}", "Recode the labels.")

    def __len__(self) -> int:
        return len(self.label)

    def residual(self, output: Tensor) -> Tensor:
        """Derivative of the loss in the outputs, both with shape (m, E_t * K) for m models; overwrites `output`."""
        if self.kind == "binary":
            return output.sigmoid_().sub_(self.label)
        if self.kind == "regression":
            return output.sub_(self.label.flatten()).mul_(2 / self.offset.shape[1])
        classes = self.offset.shape[1]
        share = output.view(-1, len(self), classes).softmax(dim=2)
        return share.sub_(one_hot(self.label.long(), classes)).view(output.shape)

    def loss(self, output: Tensor) -> Tensor:
        """Summed loss of m models, with shape (m,), from outputs with shape (m, E_t * K)."""
        if self.kind == "binary":
            return (softplus(output) - self.label * output).sum(dim=1)
        if self.kind == "regression":
            return (output - self.label.flatten()).square().sum(dim=1) / self.offset.shape[1]
        by_class = output.view(-1, *self.offset.shape)
        chosen = by_class.gather(2, self.label.long().expand(len(by_class), -1)[..., None])[..., 0]
        return (by_class.logsumexp(dim=2) - chosen).sum(dim=1)

    def curvature(self, output: Tensor) -> Tensor:
        """Second derivative of a binary task's loss in the output."""
        share = output.sigmoid()
        return share * (1 - share)

    def hessian(self, output: Tensor, features: Tensor, least: Tensor | None = None) -> Tensor:
        """Second derivative of the summed loss at outputs (E_t * K,), in coordinates with `features` (E_t * K, d).

        A binary task leaves out examples on which the loss's own second derivative in the output is below `least`,
        with shape (E_t,): where labels are nearly separated, few count.
        """
        if self.kind == "regression":
            return (2 / self.offset.shape[1]) * features.T @ features
        if self.kind == "binary":
            curvature = self.curvature(output)
            if least is not None:
                counts = curvature >= least
                features, curvature = features[counts], curvature[counts]
            return features.T @ (curvature[:, None] * features)
        share = output.view(self.offset.shape).softmax(dim=1)
        mean = torch.einsum("ek,ekd->ed", share, features.view(*share.shape, -1))
        return features.T @ (share.reshape(-1, 1) * features) - mean.T @ mean


def joined(rows: Sequence[TaskRows]) -> list[TaskRows]:
    """The same examples with tasks of one kind and as many outputs made one, in the order of their first."""
    alike: dict[tuple[Kind, int, int], list[TaskRows]] = {}
    for task in rows:
        alike.setdefault((task.kind, task.features.shape[1], task.label.ndim), []).append(task)
    return [
        TaskRows(
            kind,
            torch.cat([task.features for task in tasks]),
            torch.cat([task.offset for task in tasks]),
            torch.cat([task.label for task in tasks]),
        )
        for (kind, *_), tasks in alike.items()
    ]


def check_rows(rows: Sequence[TaskRows]) -> int:
    """Return d, the dimension all tasks share.

    Raises
    ------
    InputError : no task, or features of several dimensions.
    """
    dimensions = sorted({task.features.shape[2] for task in rows})
    if len(dimensions) != 1:
        raise InputError("rows", f"features with dimensions {dimensions}", "Project all tasks to the same d.")
    return dimensions[0]
