"""Floating-point operations, counted by torch's own counter."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

T = TypeVar("T")


def count_flops(function: Callable[[], object]) -> int:
    """Run `function` once and return the operations torch counted in it (a multiply-add is two).

    Matrix products, convolutions and attention are counted, forward, backward and forward-mode alike;
    elementwise work is not, which is also how papers in the field count. Of a sparse matrix the entries that are stored
    are counted.
    """
    counter = FlopCounterMode(display=False)
    counter.flop_registry[torch.ops.aten.mm] = _product_flops
    with counter:
        function()
    return int(counter.get_total_flops())


def _product_flops(left: Tensor, right: Tensor, *_: object, **__: object) -> int:
    # torch's own formula reads the shapes only, and takes a sparse matrix for a dense one.
    stored = left.values() if left.layout is torch.sparse_csr else left
    return 2 * stored.numel() * right.shape[1]


def counted(function: Callable[[], T]) -> tuple[T, int]:
    """What `function` returns, and the operations torch counted in it (see `count_flops`)."""
    results: list[T] = []
    flops = count_flops(lambda: results.append(function()))
    return results[0], flops


def network_flops(network: nn.Module, row: Tensor) -> tuple[int, int]:
    """Operations per input row of (a forward pass, a forward and a backward pass).

    Parameters
    ----------
    network : in any mode; its parameters' gradients are left untouched.
    row : one input with shape (1, ...), on the network's device.
    """
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    training = network.training
    network.eval()

    def both() -> None:
        torch.autograd.grad(network(row).sum(), parameters, allow_unused=True)

    with torch.no_grad():
        forward = count_flops(lambda: network(row))
    with torch.enable_grad():
        forward_backward = count_flops(both)
    network.train(training)
    return forward, forward_backward
