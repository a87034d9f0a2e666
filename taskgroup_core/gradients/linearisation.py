"""Taylor expansion of a network in its parameters."""

from __future__ import annotations

from torch import Tensor
from torch.func import jvp

from taskgroup_core.gradients.flat import FlatNetwork


def directional_derivative(flat: FlatNetwork, inputs: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
    """Outputs f, and grad f . v for every input and output at once, each with shape (B, n); forward mode.

    Parameters
    ----------
    flat : network with p parameters, expanded at its present ones.
    inputs : with shape (B, ...).
    direction : v, with shape (p,).
    """
    result = jvp(lambda theta: flat(theta, inputs), (flat.theta,), (direction,))
    return result[0], result[1]


def second_directional_derivative(flat: FlatNetwork, inputs: Tensor, direction: Tensor) -> Tensor:
    """Second derivative v . Hess f . v for every input and output, with shape (B, n): forward over forward mode."""

    def first(theta: Tensor) -> Tensor:
        derivative: Tensor = jvp(lambda inner: flat(inner, inputs), (theta,), (direction,))[1]
        return derivative

    second: Tensor = jvp(first, (flat.theta,), (direction,))[1]
    return second


def taylor(flat: FlatNetwork, inputs: Tensor, displacement: Tensor, order: int = 1) -> Tensor:
    """Taylor prediction of f at theta + displacement, with shape (B, n).

    Parameters
    ----------
    flat : network, expanded at its present parameters.
    inputs : with shape (B, ...).
    displacement : W - theta*, with shape (p,).
    order : 1 for GRAD-TAG's Eq. (2), 2 to add the term of its Remark 3.1.
    """
    outputs, slope = directional_derivative(flat, inputs, displacement)
    prediction = outputs + slope
    if order >= 2:
        prediction = prediction + 0.5 * second_directional_derivative(flat, inputs, displacement)
    return prediction


def residual_sum_of_squares(actual: Tensor, predicted: Tensor) -> float:
    """Squared norm of the residual over the squared norm of `actual`: the RSS of GRAD-TAG's Table 1.

    The norms run over all entries given, so that outputs near zero do not blow up the figure; the paper writes the
    ratio for one output and does not say how it averages.
    """
    return float((actual - predicted).square().sum() / actual.square().sum())
