"""Gradients of single outputs with respect to all parameters, one row an example."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.func import grad, vmap

from taskgroup_core.gradients.flat import FlatNetwork


def per_example_gradients(flat: FlatNetwork, inputs: Tensor, output_index: Tensor) -> Tensor:
    """Gradient of output `output_index[e]` for input e with respect to the parameters, with shape (E, p).

    Holds E x p numbers: callers give it slices. Reverse mode under `vmap`, so that no graph is kept.

    Parameters
    ----------
    flat : network with p parameters.
    inputs : with shape (E, ...).
    output_index : which output, int64 with shape (E,).

    References
    ----------
    GRAD-TAG, section 3.2: g_i, the gradient of the network's output (for a binary task, of the logit).
    """

    def output(theta: Tensor, row: Tensor, task: Tensor) -> Tensor:
        # A product with a one-hot vector, because vmap cannot index with a batched number cheaply.
        chosen = torch.arange(width, device=row.device) == task
        return (flat(theta, row.unsqueeze(0))[0] * chosen).sum()

    theta = flat.theta
    with torch.no_grad():
        width = flat(theta, inputs[:1]).shape[1]
    gradients: Tensor = vmap(grad(output), in_dims=(None, 0, 0))(theta, inputs, output_index)
    return gradients
