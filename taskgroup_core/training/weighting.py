"""How the losses of several tasks become one gradient: what a weighting is, and those the papers compare with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor, nn

from taskgroup_core.errors import InputError
from taskgroup_core.training.grad_norm import GradNorm
from taskgroup_core.training.gradient_aggregation import GradientAggregation
from taskgroup_core.training.loss_scalarisation import LossScalarisation


class Weighting(Protocol):
    """What `joint_training` asks of one; an object may serve one training after another."""

    def start(self, network: nn.Module, n_outputs: int, n_tasks: int, /) -> Sequence[nn.Parameter]:
        """Forget the training before; return parameters of its own, for the recipe's optimiser to train.

        Parameters
        ----------
        network : on its device, with its initial weights.
        n_outputs : columns of its output.
        n_tasks : losses that there will be.
        """

    def backward(self, losses: Tensor, epoch: int, /) -> None:
        """Fill the gradients of the network, which are cleared, from the losses with shape (n,) of one batch."""


WEIGHTINGS: Mapping[str, Callable[..., Weighting]] = {
    "uncertainty weights": LossScalarisation.uncertainty_weights,
    "dynamic weight average": LossScalarisation.dynamic_weight_average,
    "GradNorm": GradNorm,
    "PCGrad": GradientAggregation.pcgrad,
    "Nash-MTL": GradientAggregation.nash_mtl,
}


def make_weighting(name: str, **settings: Any) -> Weighting:
    """A weighting that the four papers name.

    Parameters
    ----------
    name : one of `WEIGHTINGS`. Uncertainty weights, GradNorm and PCGrad are compared with by TAG, Principled task
        grouping and SCA, Nash-MTL by the last two; TAG also names dynamic weight average.
    settings : as of its class method, or of `GradNorm`.

    Raises
    ------
    InputError : an unknown name.
    MissingExtra : torchjd is not installed, where the first two and PCGrad are taken from.
    """
    if name not in WEIGHTINGS:
        raise InputError("name", repr(name), f"Use one of {', '.join(WEIGHTINGS)}.")
    return WEIGHTINGS[name](**settings)
