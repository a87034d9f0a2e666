"""GradNorm: weights on the losses, learned so that all tasks train at similar rates."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from taskgroup_core.errors import InputError
from taskgroup_core.training.shared_parameters import Shared, shared_parameters


class GradNorm:
    """Weights w_i on the losses, moved so that the norm of each weighted gradient nears a target.

    With W a layer that all tasks share, G_i = |grad_W w_i L_i|, and r_i = (L_i / L_i(0)) / mean_j (L_j / L_j(0)), the
    weights descend on sum_i |G_i - mean_j G_j * r_i^alpha|, where the target counts as constant; then they are scaled
    to the sum n. The network follows the gradient of sum_i w_i L_i, with the weights from before that.

    Parameters
    ----------
    alpha : how strongly tasks are pulled back to a common rate of training, 0 or more. TAG searches 0.1 to 5.
    learning_rate : of the weights.
    shared : which parameters are shared, see `shared_parameters`; W is the last of them that is a matrix.

    Attributes
    ----------
    weights : w, with shape (n,), once a training has started.

    Raises
    ------
    InputError : a bad parameter, or (at the start of a training) a network with no shared matrix.

    References
    ----------
    Chen et al., GradNorm, ICML 2018, Equations (1) and (2), Algorithm 1. TAG and SCA compare with it.

    Deviations
    ----------
    1. The weights are moved by Adam, at a rate of their own, and kept from falling below 0; the algorithm leaves the
       rule open.
    2. L_i(0) is the loss on the first batch.
    """

    def __init__(self, alpha: float = 1.5, *, learning_rate: float = 0.025, shared: Shared | None = None) -> None:
        if not alpha >= 0:
            raise InputError("alpha", str(alpha), "Use 0 or a positive number.")
        if not learning_rate > 0:
            raise InputError("learning_rate", str(learning_rate), "Use a positive number.")
        self.alpha, self.learning_rate, self.shared = alpha, learning_rate, shared

    def start(self, network: nn.Module, n_outputs: int, n_tasks: int, /) -> Sequence[nn.Parameter]:
        """See `Weighting`; the weights are not handed out, because they have an optimiser of their own."""
        named = dict(network.named_parameters())
        matrices = [name for name in shared_parameters(network, n_outputs, self.shared) if named[name].ndim > 1]
        if not matrices:
            raise InputError("shared", "no shared matrix", "Give a network whose tasks share a layer with weights.")
        self._layer = named[matrices[-1]]
        self.weights = torch.ones(n_tasks, dtype=self._layer.dtype, device=self._layer.device)
        self._optimiser = torch.optim.Adam([self.weights], self.learning_rate)
        self._first: Tensor | None = None
        return ()

    def backward(self, losses: Tensor, _epoch: int, /) -> None:
        """See `Weighting`."""
        known = losses.detach()
        if self._first is None:
            self._first = known.clamp_min(torch.finfo(known.dtype).tiny)
        norms = torch.stack([torch.autograd.grad(loss, self._layer, retain_graph=True)[0].norm() for loss in losses])
        (self.weights * losses).sum().backward()
        weighted = self.weights * norms  # G
        rate = known / self._first
        target = weighted.mean() * (rate / rate.mean()) ** self.alpha
        self.weights.grad = torch.sign(weighted - target) * norms
        self._optimiser.step()
        self.weights.clamp_(min=0).mul_(len(losses) / self.weights.sum())
