"""A perceptron with one hidden layer that all tasks share."""

from __future__ import annotations

from torch import nn

from taskgroup_core.checks import check_whole


def perceptron(n_features: int, width: int, n_outputs: int) -> nn.Sequential:
    """A hidden layer of rectified neurons, then one linear layer with all heads.

    Parameters
    ----------
    n_features : columns of the inputs, which have shape (B, n_features).
    width : hidden neurons.
    n_outputs : columns of the output.

    Raises
    ------
    InputError : a width below 1.
    """
    check_whole("width", width)
    return nn.Sequential(nn.Linear(n_features, width), nn.ReLU(), nn.Linear(width, n_outputs))
