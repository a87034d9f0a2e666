"""The two operations of Autoformer: season and trend of series, and their auto-correlation."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional


def decompose(series: Tensor, kernel: int) -> tuple[Tensor, Tensor]:
    """Season and trend of series with shape (B, L, D): the trend is a moving average over `kernel` (odd) steps.

    At both ends the first and the last value are repeated.
    """
    half = kernel // 2
    ends = [series[:, :1].expand(-1, half, -1), series, series[:, -1:].expand(-1, half, -1)]
    trend = functional.avg_pool1d(torch.cat(ends, dim=1).mT, kernel, stride=1).mT
    return series - trend, trend


def auto_correlation(query: Tensor, key: Tensor, value: Tensor, factor: float) -> Tensor:
    """Mix the values at the k delays under which query and key agree best, with shape (B, L, D).

    The correlation of query and key at all delays, a mean over the D channels, comes from fast Fourier transforms;
    k = max(1, factor log L), rounded down, of its entries become weights by a softmax, and the value at t becomes the
    weighted sum of the values at t + delay, counted around the end.

    Parameters
    ----------
    query : with shape (B, L, D).
    key, value : with shape (B, S, D): zeros are added behind, or the end is left out, so that S = L.
    factor : of log L.
    """
    size = query.shape[1]
    key, value = (functional.pad(one, (0, 0, 0, size - one.shape[1])) for one in (key, value))
    spectrum = torch.fft.rfft(query, dim=1) * torch.fft.rfft(key, dim=1).conj()
    agreement = torch.fft.irfft(spectrum, n=size, dim=1).mean(dim=2)
    best, delay = agreement.topk(max(1, int(factor * math.log(size))), dim=1)
    place = (torch.arange(size, device=delay.device) + delay[..., None]) % size
    moved = (
        value[:, None]
        .expand(-1, place.shape[1], -1, -1)
        .gather(2, place[..., None].expand(*place.shape, value.shape[2]))
    )
    mixed: Tensor = (best.softmax(dim=1)[..., None, None] * moved).sum(dim=1)
    return mixed
