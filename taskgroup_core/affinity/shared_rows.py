"""Gradients and Hessians of many regressions at once that share their rows: blocked products, task by task."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor
from torch.linalg import cholesky, cholesky_ex, solve_triangular
from torch.nn.functional import embedding_bag

from taskgroup_core.affinity.newton import newton
from taskgroup_core.affinity.task_rows import TaskRows


class SharedRows:
    """The rows of all tasks, and what every subset takes from one Newton model at the joint solution.

    Coordinates u = L^T w, with L L^T the Hessian of all tasks together at their joint solution, make the Hessians of
    the subsets comparable to the identity, which is what lets the early steps run in single precision.

    Parameters
    ----------
    tasks : rows of n tasks with one dimension d.
    penalty : a typical factor of |w|^2 / 2.
    """

    def __init__(self, tasks: Sequence[TaskRows], penalty: float) -> None:
        self.tasks = tasks
        self.count = tasks[0].features.new_tensor([float(len(task)) for task in tasks])
        self.features = [task.features.flatten(0, 1) for task in tasks]
        self.offsets = [task.offset.flatten() for task in tasks]
        joint = newton(tasks, penalty, 0.1, 3)  # anywhere near will do
        outputs = [offset + x @ joint.solution for offset, x in zip(self.offsets, self.features, strict=True)]
        self.root = cholesky(joint.hessian)
        eye = torch.eye(len(self.root), dtype=self.root.dtype, device=self.root.device)
        self.whiten = solve_triangular(self.root, eye, upper=False)  # rows: w = u @ whiten, u = w @ root
        self.small_features = [(x @ self.whiten.T).float() for x in self.features]
        self.small_offsets = [offset.float() for offset in self.offsets]
        curved = [
            task.hessian(output.float(), x).flatten()
            for task, output, x in zip(tasks, outputs, self.small_features, strict=True)
        ]
        # The penalty's own Hessian is one more row: a weighted sum of rows is then a subset's Hessian.
        self.curvature = torch.stack([*curved, (self.whiten @ self.whiten.T).float().flatten()])
        self.start = joint.solution
        residuals = [task.residual(output[None]) for task, output in zip(tasks, outputs, strict=True)]
        self.gradients = torch.cat([r @ x for r, x in zip(residuals, self.features, strict=True)])  # of summed losses
        self.flops = joint.flops + sum(4 * x.numel() * len(eye) for x in self.features)

    @cached_property
    def _binary_features(self) -> Tensor:
        binary = [x for task, x in zip(self.tasks, self.small_features, strict=True) if task.kind == "binary"]
        return torch.cat([*binary, self.small_features[0][:0]])

    @cached_property
    def _sizes(self) -> list[Tensor]:
        return [x.square().sum(dim=1).float() for x in self.features]

    def _with_task(self, member: Tensor) -> tuple[Tensor, ...]:
        """For each task the subsets that hold it."""
        task, subset = member.T.nonzero(as_tuple=True)
        subsets: tuple[Tensor, ...] = subset.split(torch.bincount(task, minlength=len(self.tasks)).tolist())
        return subsets

    def factors(self, member: Tensor, penalty: Tensor) -> Tensor:
        """Cholesky factors in single precision of the subsets' Hessians at the joint solution, (m, d, d)."""
        subset, task = member.nonzero(as_tuple=True)
        bags = member.sum(dim=1) + 1
        total = member.double() @ self.count
        ends = bags.cumsum(0) - 1
        index = torch.full((int(bags.sum()),), len(self.tasks), device=member.device)
        weight = torch.empty(len(index), dtype=torch.float32, device=member.device)
        place = torch.arange(len(subset), device=member.device) + subset
        index[place], weight[place], weight[ends] = task, (1 / total[subset]).float(), penalty.float()
        hessians = embedding_bag(index, self.curvature, ends - bags + 1, mode="sum", per_sample_weights=weight)
        dimension = len(self.whiten)
        factor: Tensor
        factor, failed = cholesky_ex(hessians.view(-1, dimension, dimension))
        # Beyond single precision: the joint Hessian, which is the identity here, still gives a descent direction.
        factor[failed > 0] = torch.eye(dimension, dtype=factor.dtype, device=factor.device)
        self.flops += len(member) * (dimension**3 // 3) + len(index) * 2 * dimension**2
        return factor

    def hessians(self, w: Tensor, member: Tensor, penalty: Tensor) -> Tensor:
        """The subsets' Hessians at their own w, in single precision and coordinates u, with shape (m, d, d)."""
        own = self.curvature[-1].view(self.whiten.shape)  # the penalty's
        total, point = (member.double() @ self.count).float(), (w @ self.root).float()
        hessians = own.new_zeros(len(w), *own.shape)
        curvatures = own.new_zeros(len(w), len(self._binary_features))
        columns = iter(curvatures.split([len(task) for task in self.tasks if task.kind == "binary"], dim=1))
        for task, matrix, offset, size, index in zip(
            self.tasks, self.small_features, self.small_offsets, self._sizes, self._with_task(member), strict=True
        ):
            outputs = torch.addmm(offset, point[index], matrix.T)
            if task.kind == "binary":
                curvature = task.curvature(outputs)
                # What is left out adds up to the penalty at most, in every direction.
                next(columns)[index] = curvature.masked_fill_(curvature * size < penalty[index, None], 0)
            else:
                for place, output in zip(index.tolist(), outputs, strict=True):
                    hessians[place] += task.hessian(output, matrix)
            self.flops += len(index) * 2 * matrix.numel() * (1 + len(own))
        for hessian, curvature in zip(hessians, curvatures, strict=True):
            counts = curvature.nonzero()[:, 0]
            features = self._binary_features[counts]
            hessian.addmm_(features.T, curvature[counts, None] * features)
        return hessians.div_(total[:, None, None]).add_(penalty.float()[:, None, None] * own)

    def objective(self, w: Tensor, member: Tensor, penalty: Tensor) -> tuple[Tensor, Tensor]:
        """Of each subset the mean loss with its penalty at w, with shape (m,), and the gradient, with shape (m, d)."""
        losses, total = torch.zeros_like(w[:, 0]), member.double() @ self.count
        gradient = self.gradient(w, member, losses) / total[:, None] + penalty[:, None] * w
        return losses / total + 0.5 * penalty * w.square().sum(dim=1), gradient

    def gradient(self, w: Tensor, member: Tensor, losses: Tensor | None = None) -> Tensor:
        """Gradient of the summed loss, one row a subset, at w (float64) or, in single precision, at u.

        One task after the other serves all its subsets with two matrix products. `losses`, with shape (m,), is
        filled where given.
        """
        double = w.dtype == torch.float64
        matrices, offsets = (self.features, self.offsets) if double else (self.small_features, self.small_offsets)
        gradient = torch.zeros_like(w)
        for rows, matrix, offset, index in zip(self.tasks, matrices, offsets, self._with_task(member), strict=True):
            output = torch.addmm(offset, w[index], matrix.T)
            if losses is not None:
                losses.index_add_(0, index, rows.loss(output))
            gradient.index_add_(0, index, rows.residual(output) @ matrix)
            self.flops += 4 * len(index) * matrix.numel()
        return gradient
