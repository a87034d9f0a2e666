"""Gradients of every task's loss on single samples, and the L1 distances between them, in batched calls."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call, vjp, vmap

from taskgroup_core.tasks import Task
from taskgroup_core.training.joint import task_losses


def sample_gradients(
    network: nn.Module, names: list[str], tasks: tuple[Task, ...], inputs: Tensor, labels: Tensor, chosen: Tensor
) -> dict[str, Tensor]:
    """The gradients of some tasks' losses on single inputs, in one batched pass forward and one back.

    Parameters
    ----------
    network : in evaluation mode.
    names : parameters to differentiate for.
    tasks : the n tasks.
    inputs, labels : with shapes (R, ...) and (R, n), NaN where a label is missing.
    chosen : which tasks on each input, int64 with shape (R, k).

    Returns
    -------
    name -> gradients with shape (R, k, *shape of the parameter), 0 where the label is missing.
    """
    here = {name: value.detach() for name, value in network.named_parameters()}
    # Every input has a view of its own of the parameters, so that one backward pass keeps the inputs apart.
    apart = {name: here[name].expand(len(inputs), *here[name].shape) for name in names}

    def losses(moved: dict[str, Tensor], row: Tensor, known: Tensor) -> Tensor:
        return task_losses(functional_call(network, here | moved, (row[None],)).double(), known[None], tasks)

    value, pull = vjp(lambda moved: vmap(losses)(moved, inputs, labels), apart)[:2]
    basis = torch.eye(len(tasks), device=value.device, dtype=value.dtype)
    return {name: gradient.transpose(0, 1) for name, gradient in vmap(pull)(basis[chosen.T])[0].items()}


def l1_distances(points: Tensor) -> Tensor:
    """L1 distances within each of B sets of k points in p dimensions: from shape (B, k, p) to (B, k, k).

    A distance that rounding alone explains, one below 16 units in the last place of the points' norms, is 0: dividing
    by the largest of a row would make as much of it as of any other.
    """
    size = points.shape[1]
    distances = points.new_zeros(len(points), size, size)
    if size > 1:
        first, second = torch.triu_indices(size, size, 1, device=points.device)
        # `pdist` takes one set at a time, and is still an order of magnitude faster than `cdist` on many.
        found = torch.stack([torch.pdist(some, p=1) for some in points.contiguous()])
        norm = torch.linalg.vector_norm(points, 1, dim=2)
        rounding = 16 * torch.finfo(points.dtype).eps * (norm[:, first] + norm[:, second])
        distances[:, first, second] = found.where(found > rounding, torch.zeros_like(found))
    return distances + distances.mT
