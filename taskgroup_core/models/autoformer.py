"""Autoformer: a transformer for series that takes trends off and looks for periods, with a decoder for each series."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from taskgroup_core.checks import check_whole
from taskgroup_core.errors import InputError
from taskgroup_core.models.auto_correlation import auto_correlation, decompose
from taskgroup_core.models.options import check_dropout


class _Attention(nn.Module):
    def __init__(self, width: int, factor: float) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.factor = factor

    def forward(self, query: Tensor, other: Tensor) -> Tensor:
        mixed: Tensor = self.out(auto_correlation(self.query(query), self.key(other), self.value(other), self.factor))
        return mixed


class _Neighbours(nn.Module):
    """A convolution over three steps, the first and the last being neighbours; without bias."""

    def __init__(self, n_inputs: int, n_outputs: int) -> None:
        super().__init__()
        self.mix = nn.Linear(3 * n_inputs, n_outputs, bias=False)

    def forward(self, series: Tensor) -> Tensor:
        mixed: Tensor = self.mix(torch.cat([series.roll(1, dims=1), series, series.roll(-1, dims=1)], dim=2))
        return mixed


class _Embedding(nn.Module):
    def __init__(self, n_marks: int, width: int, dropout: float) -> None:
        super().__init__()
        self.values, self.marks = _Neighbours(1, width), nn.Linear(n_marks, width, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, series: Tensor, marks: Tensor) -> Tensor:
        embedded: Tensor = self.dropout(self.values(series) + self.marks(marks))
        return embedded


class _Season(nn.Module):
    """Layer norm without what it leaves as the mean over time."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)

    def forward(self, series: Tensor) -> Tensor:
        normed: Tensor = self.norm(series)
        return normed - normed.mean(dim=1, keepdim=True)


def _perceptron(width: int, dropout: float) -> nn.Sequential:
    first, second = nn.Linear(width, 4 * width, bias=False), nn.Linear(4 * width, width, bias=False)
    return nn.Sequential(first, nn.GELU(), nn.Dropout(dropout), second, nn.Dropout(dropout))


class _EncoderLayer(nn.Module):
    def __init__(self, width: int, kernel: int, factor: float, dropout: float) -> None:
        super().__init__()
        self.attention, self.perceptron = _Attention(width, factor), _perceptron(width, dropout)
        self.dropout, self.kernel = nn.Dropout(dropout), kernel

    def forward(self, series: Tensor) -> Tensor:
        season, _ = decompose(series + self.dropout(self.attention(series, series)), self.kernel)
        return decompose(season + self.perceptron(season), self.kernel)[0]


class _Decoder(nn.Module):
    """The decoder of one series, of one layer: a forecast of its season, and of its trend in three parts."""

    def __init__(self, n_marks: int, width: int, kernel: int, factor: float, dropout: float) -> None:
        super().__init__()
        self.embedding = _Embedding(n_marks, width, dropout)
        self.itself, self.encoded = _Attention(width, factor), _Attention(width, factor)
        self.perceptron, self.dropout, self.kernel = _perceptron(width, dropout), nn.Dropout(dropout), kernel
        self.trend, self.norm, self.out = _Neighbours(width, 1), _Season(width), nn.Linear(width, 1)

    def forward(self, season: Tensor, trend: Tensor, marks: Tensor, encoded: Tensor) -> Tensor:
        series = self.embedding(season, marks)
        series, first = decompose(series + self.dropout(self.itself(series, series)), self.kernel)
        series, second = decompose(series + self.dropout(self.encoded(series, encoded)), self.kernel)
        series, third = decompose(series + self.perceptron(series), self.kernel)
        forecast: Tensor = trend + self.trend(first + second + third) + self.out(self.norm(series))
        return forecast


class Autoformer(nn.Module):
    """Every series is forecast from its own past: the encoder is shared, each series has a decoder of its own.

    Parameters
    ----------
    n_series : number of series, n.
    n_marks : calendar marks of a step. The channels of the inputs are the n series, their marks, and the marks of the
        step that lies `horizon` later (see `series_problem`).
    horizon : steps of a forecast, H, at most those of a window.
    label_length : last steps of a window that a decoder reads along with the forecast's.
    width : channels of every layer, D.
    layers : of the encoder.
    kernel : steps of the moving average, odd.
    factor : of log L, see `auto_correlation`.
    dropout : probability.

    Raises
    ------
    InputError : a width or a number of layers below 1, an even kernel, or a dropout outside [0, 1).

    References
    ----------
    Wu et al., Autoformer: Decomposition Transformers with Auto-Correlation for Long-Term Series Forecasting, 2021,
    Eq. (1) to (7); Principled task grouping, Appendix C.2, for one decoder a task.

    Deviations
    ----------
    1. Delays are chosen for each window by itself, in training too, as the released code does in evaluation. In
       training it takes those that are best on average over the batch, and then the rows of a batch influence each
       other. The code averages correlations over heads, so that heads make no difference: there are none.
    2. Four calendar marks in place of five: minute and hour are one number.
    3. One layer in each decoder. The principled paper shares "a majority of components": here the encoder and its
       embedding are shared, decoders and their embeddings are not.
    4. The defaults are small: the paper has 512 channels, and 2 encoder layers.
    """

    def __init__(
        self,
        n_series: int,
        n_marks: int,
        horizon: int,
        *,
        label_length: int = 48,
        width: int = 16,
        layers: int = 2,
        kernel: int = 25,
        factor: float = 1.0,
        dropout: float = 0.05,
    ) -> None:
        super().__init__()
        for name, value in {"width": width, "layers": layers, "kernel": kernel}.items():
            check_whole(name, value)
        if kernel % 2 == 0:
            raise InputError("kernel", str(kernel), "Use an odd number of steps.")
        check_dropout(dropout)
        self.n_series, self.n_marks, self.horizon = n_series, n_marks, horizon
        self.label_length, self.kernel = label_length, kernel
        self.embedding = _Embedding(n_marks, width, dropout)
        self.encoder = nn.Sequential(
            *(_EncoderLayer(width, kernel, factor, dropout) for _ in range(layers)), _Season(width)
        )
        self.decoders = nn.ModuleList(_Decoder(n_marks, width, kernel, factor, dropout) for _ in range(n_series))

    def forward(self, inputs: Tensor) -> Tensor:
        """Forecasts with shape (B, n H), series by series, of windows with shape (B, L, n + 2 marks)."""
        window, marks, ahead = inputs.split([self.n_series, self.n_marks, self.n_marks], dim=2)
        series = window.mT.flatten(0, 1)[..., None]  # one row a window and series: the encoder sees one at a time
        encoded = self.encoder(self.embedding(series, marks.repeat_interleave(self.n_series, dim=0)))
        season, trend = decompose(series, self.kernel)
        begun = slice(series.shape[1] - self.label_length, None)
        ahead = torch.cat([marks[:, begun], ahead[:, -self.horizon :]], dim=1)
        mean = series.mean(dim=1, keepdim=True).expand(-1, self.horizon, -1)
        trend = torch.cat([trend[:, begun], mean], dim=1)
        season = torch.cat([season[:, begun], torch.zeros_like(mean)], dim=1)
        parts = (one.unflatten(0, (-1, self.n_series)).unbind(dim=1) for one in (season, trend, encoded))
        forecasts = [
            decoder(own, level, ahead, past)[:, -self.horizon :, 0]
            for decoder, own, level, past in zip(self.decoders, *parts, strict=True)
        ]
        return torch.cat(forecasts, dim=1)


def shared_by_series(name: str) -> bool:
    """Whether the parameter of this name belongs to all series of an `Autoformer`: all but the decoders'."""
    return not name.startswith("decoders.")
