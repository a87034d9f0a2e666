"""Forecasts of several series: a linear network that they share, and the naive forecasts to compare it with."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from taskgroup_core.checks import check_whole


class SeriesHeads(nn.Module):
    """One linear layer a series, each on its own hidden numbers; in one tensor, a row an output.

    Parameters
    ----------
    width : hidden numbers of a series.
    n_series : number of series, n.
    horizon : outputs of a series, H.
    """

    def __init__(self, width: int, n_series: int, horizon: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(width)  # as torch's linear layers start
        self.weight = nn.Parameter(torch.empty(n_series * horizon, width).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(n_series * horizon).uniform_(-bound, bound))
        self.n_series = n_series

    def forward(self, hidden: Tensor) -> Tensor:
        """Outputs with shape (B, n, H) of hidden numbers with shape (B, n, width)."""
        weight = self.weight.unflatten(0, (self.n_series, -1))
        outputs: Tensor = torch.einsum("bnw,nhw->bnh", hidden, weight) + self.bias.unflatten(0, (self.n_series, -1))
        return outputs


class LinearForecaster(nn.Module):
    """Each series is forecast from its own past by a linear map, and the maps of all series share their first factor.

    A window less its last value goes through a linear layer that all series share, then through one of the series'
    own; the last value is added again. So the map of a series has rank `width`, and what it looks at in the past is
    learnt together with the other series.

    Parameters
    ----------
    n_series : number of series, n: the first n channels of the inputs.
    look_back : steps of a window, L.
    horizon : steps of a forecast, H.
    width : numbers that the shared layer puts out.

    Raises
    ------
    InputError : a width below 1.

    References
    ----------
    Zeng et al., Are Transformers Effective for Time Series Forecasting?, 2023: NLinear.

    Deviations
    ----------
    NLinear is one linear map from L to H numbers, shared by all series or one a series; two factors are ours, so that
    there is something to share.
    """

    def __init__(self, n_series: int, look_back: int, horizon: int, width: int = 16) -> None:
        super().__init__()
        check_whole("width", width)
        self.n_series = n_series
        self.shared = nn.Linear(look_back, width)
        self.heads = SeriesHeads(width, n_series, horizon)

    def forward(self, inputs: Tensor) -> Tensor:
        """Forecasts with shape (B, n H), series by series, of windows with shape (B, L, channels)."""
        window = inputs[..., : self.n_series].mT
        last = window[..., -1:]
        forecasts: Tensor = self.heads(self.shared(window - last)) + last
        return forecasts.flatten(1)


def repeated(inputs: Tensor, n_series: int, horizon: int, period: int = 1) -> Tensor:
    """The naive forecast that every series repeats its last `period` steps, (B, n H): 1 for the last value.

    Parameters
    ----------
    inputs : windows with shape (B, L, channels), L at least `period`.
    n_series, horizon : as of `LinearForecaster`.
    period : in steps; a day for the same hour of the day before.
    """
    window = inputs[:, -period:, :n_series].mT
    return window.repeat(1, 1, -(-horizon // period))[..., :horizon].flatten(1)
