"""Rectifiers with one learned slope, for a pass forward and many backward: on a CPU torch's are not vectorised."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from taskgroup_core.affinity.dense_layers import changed_outputs


@contextmanager
def vectorised_rectifiers(network: nn.Module) -> Iterator[None]:
    """Within, `nn.PReLU` layers of one slope on a CPU have vectorised gradients.

    Parameters
    ----------
    network : may be called with other tensors for its slopes, but not with other values of them.
    """
    rectifiers = {
        name: (module, float(module.weight.detach()))
        for name, module in network.named_modules()
        if type(module) is nn.PReLU and module.num_parameters == 1 and module.weight.is_cpu
    }

    def rectified(name: str, inputs: Tensor, _outputs: Tensor) -> Tensor:
        module, slope = rectifiers[name]
        # The slope as a number serves the inputs' gradient; what is added is 0, and has the slope's gradient.
        return leaky_relu(inputs, slope) + (module.weight - slope) * inputs.detach().clamp_max(0)

    with changed_outputs(network, rectifiers, rectified):
        yield
