"""The tasks' gradients of the shared parameters combined into one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from taskgroup_core.errors import MissingExtra
from taskgroup_core.training.nash_bargaining import NashBargaining
from taskgroup_core.training.shared_parameters import Shared, shared_parameters

Aggregator = Callable[[Tensor], Tensor]


class GradientAggregation:
    """Shared parameters follow a combination of the tasks' gradients, heads the gradient of their own task.

    Parameters
    ----------
    make : called at the start of a training, returns a function from the tasks' gradients, with shape (n, p), to one,
        with shape (p,): `NashBargaining`, or an aggregator of TorchJD, as `torchjd.aggregation.MGDA`.
    shared : which parameters are shared, see `shared_parameters`.
    """

    def __init__(self, make: Callable[[], Aggregator], shared: Shared | None = None) -> None:
        self.make, self.shared = make, shared

    @classmethod
    def pcgrad(cls, shared: Shared | None = None) -> GradientAggregation:
        """The sum of the gradients, each without its components against others, in an order that is drawn.

        References
        ----------
        Yu et al., Gradient surgery for multi-task learning, NeurIPS 2020, Algorithm 1.

        Raises
        ------
        MissingExtra : torchjd is not installed.
        """
        try:
            from torchjd.aggregation import PCGrad
        except ImportError as error:
            raise MissingExtra("torchjd", "mtl") from error
        return cls(PCGrad, shared)

    @classmethod
    def nash_mtl(cls, max_norm: float = 1.0, every: int = 1, shared: Shared | None = None) -> GradientAggregation:
        """The bargaining solution of Nash, see `NashBargaining`."""
        NashBargaining(max_norm, every)  # refuses bad numbers at once
        return cls(lambda: NashBargaining(max_norm, every), shared)

    def start(self, network: nn.Module, n_outputs: int, _n_tasks: int, /) -> Sequence[nn.Parameter]:
        """See `Weighting`."""
        names = set(shared_parameters(network, n_outputs, self.shared))
        trained = {name: value for name, value in network.named_parameters() if value.requires_grad}
        self._together = [value for name, value in trained.items() if name in names]
        self._heads = [value for name, value in trained.items() if name not in names]
        self._aggregate = self.make()
        return ()

    def backward(self, losses: Tensor, _epoch: int, /) -> None:
        """See `Weighting`."""
        parameters = [*self._together, *self._heads]
        rows, last = [], len(losses) - 1
        for index, loss in enumerate(losses):
            gradients = torch.autograd.grad(loss, parameters, retain_graph=index < last, materialize_grads=True)
            rows.append(torch.cat([gradient.flatten() for gradient in gradients]))
        jacobian = torch.stack(rows)
        n_shared = sum(value.numel() for value in self._together)
        combined = torch.cat([self._aggregate(jacobian[:, :n_shared]), jacobian[:, n_shared:].sum(dim=0)])
        sizes = [value.numel() for value in parameters]
        for value, part in zip(parameters, combined.split(sizes), strict=True):
            value.grad = part.view_as(value)
