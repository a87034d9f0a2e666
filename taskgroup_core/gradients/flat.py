"""A network as a function of one flat parameter vector."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate

import torch
from torch import Tensor, nn
from torch.func import functional_call

from taskgroup_core.errors import InputError


class FlatNetwork:
    """f_theta with all trainable parameters in one vector theta, in the order of `named_parameters`.

    Parameters
    ----------
    network : any module in evaluation mode; buffers are kept as they are.

    Raises
    ------
    InputError : a network in training mode (dropout would make its gradients random), or without parameters.
    """

    def __init__(self, network: nn.Module) -> None:
        if network.training:
            raise InputError("network", "training mode", "Call network.eval() first: dropout makes gradients random.")
        self.network = network
        self._shapes = {k: v.shape for k, v in network.named_parameters() if v.requires_grad}
        if not self._shapes:
            raise InputError("network", "no trainable parameter", "Give a network that can be trained.")
        self._sizes = [shape.numel() for shape in self._shapes.values()]

    @property
    def n_parameters(self) -> int:
        """Number of trainable parameters, p."""
        return sum(self._sizes)

    @property
    def shapes(self) -> dict[str, torch.Size]:
        """Shape of each trainable parameter by name, in the order of theta."""
        return dict(self._shapes)

    @property
    def spans(self) -> dict[str, slice]:
        """Where each trainable parameter lies in theta."""
        ends = accumulate(self._sizes)
        return {k: slice(end - size, end) for k, size, end in zip(self._shapes, self._sizes, ends, strict=True)}

    @property
    def theta(self) -> Tensor:
        """A copy of the present parameters, with shape (p,)."""
        named = dict(self.network.named_parameters())
        return torch.cat([named[name].detach().reshape(-1) for name in self._shapes])

    def unflatten(self, theta: Tensor) -> dict[str, Tensor]:
        """Named parameters from a vector with shape (p,)."""
        parts = theta.split(self._sizes)
        return {name: part.view(shape) for (name, shape), part in zip(self._shapes.items(), parts, strict=True)}

    def __call__(self, theta: Tensor, inputs: Tensor) -> Tensor:
        """Outputs with shape (B, n) under the parameters `theta` with shape (p,)."""
        outputs: Tensor = functional_call(self.network, self.unflatten(theta), (inputs,))
        return outputs

    def at(self, theta: Tensor) -> Callable[[Tensor], Tensor]:
        """The function from inputs to outputs under `theta`."""
        return lambda inputs: self(theta, inputs)
