"""Forecasting networks: decomposition and auto-correlation against plain loops, and what each series reads."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from taskgroup_core.models.auto_correlation import auto_correlation, decompose
from taskgroup_core.models.autoformer import Autoformer, shared_by_series
from taskgroup_core.models.forecaster import LinearForecaster, repeated
from taskgroup_core.training.network_probes import rows_mix
from taskgroup_core.training.shared_parameters import shared_parameters
from taskgroup_core.training.stackable import why_not_stackable


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_the_trend_is_a_moving_average_with_repeated_ends(kernel: int) -> None:
    series = drawn(2, 7, 3)
    season, trend = decompose(series, kernel)
    for t in range(7):
        near = [min(max(t + shift, 0), 6) for shift in range(-(kernel // 2), kernel // 2 + 1)]
        wanted = sum(series[:, place] for place in near) / kernel
        torch.testing.assert_close(trend[:, t], wanted)
    torch.testing.assert_close(season + trend, series)


@pytest.mark.parametrize(("length", "other", "factor"), [(8, 8, 1.0), (9, 9, 2.0), (8, 5, 1.0), (6, 9, 1.5)])
def test_auto_correlation_against_loops(length: int, other: int, factor: float) -> None:
    query, key, value = drawn(2, length, 3), drawn(2, other, 3, seed=1), drawn(2, other, 3, seed=2)
    found = auto_correlation(query, key, value, factor)
    k = max(1, int(factor * math.log(length)))
    for row in range(2):
        keys, values = np.zeros((length, 3)), np.zeros((length, 3))
        keys[: min(length, other)] = key[row, :length]
        values[: min(length, other)] = value[row, :length]
        agreement = [
            np.mean([sum(float(query[row, (t + d) % length, c]) * keys[t, c] for t in range(length)) for c in range(3)])
            for d in range(length)
        ]
        best = sorted(range(length), key=lambda d: -agreement[d])[:k]
        weights = np.exp([agreement[d] for d in best])
        weights /= weights.sum()
        wanted = np.zeros((length, 3))
        for weight, d in zip(weights, best, strict=True):
            for t in range(length):
                wanted[t] += weight * values[(t + d) % length]
        np.testing.assert_allclose(found[row].numpy(), wanted, atol=1e-12)


def test_a_period_is_the_delay_that_is_found() -> None:
    wave = torch.sin(2 * math.pi * torch.arange(48).double() / 12)[None, :, None]
    mixed = auto_correlation(wave, wave, wave, 0.3)  # one delay: a multiple of the period
    torch.testing.assert_close(mixed, wave, atol=1e-9, rtol=0)


def networks() -> dict[str, nn.Module]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = {
            "linear": LinearForecaster(3, 12, 4, width=5),
            "autoformer": Autoformer(3, 4, 4, label_length=6, width=8, layers=1, kernel=5, dropout=0.1),
        }
    return {name: network.double().eval() for name, network in made.items()}


@pytest.mark.parametrize("name", ["linear", "autoformer"])
def test_a_forecast_depends_on_its_own_series_only(name: str) -> None:
    network, inputs = networks()[name], drawn(5, 12, 11)
    plain = network(inputs).unflatten(1, (3, 4))
    changed = inputs.clone()
    changed[:, :, 1] = drawn(5, 12, seed=4)
    moved = network(changed).unflatten(1, (3, 4))
    assert torch.equal(plain[:, [0, 2]], moved[:, [0, 2]])
    assert not torch.isclose(plain[:, 1], moved[:, 1]).any()


def test_the_linear_forecaster_is_one_matrix_a_series_and_the_last_value() -> None:
    network, inputs = networks()["linear"], drawn(5, 12, 3)
    for series in range(3):
        window, rows = inputs[:, :, series], slice(4 * series, 4 * series + 4)
        weight, bias = network.heads.weight[rows], network.heads.bias[rows]
        hidden = (window - window[:, -1:]) @ network.shared.weight.T + network.shared.bias
        wanted = hidden @ weight.T + bias + window[:, -1:]
        torch.testing.assert_close(network(inputs)[:, rows], wanted)


def test_an_autoformer_with_silent_layers_forecasts_the_mean() -> None:
    network, inputs = networks()["autoformer"], drawn(5, 12, 11)
    for decoder in network.decoders:
        for layer in (decoder.out, decoder.trend.mix):
            nn.init.zeros_(layer.weight)
        nn.init.zeros_(decoder.out.bias)
    forecast = network(inputs).unflatten(1, (3, 4))
    torch.testing.assert_close(forecast, inputs[:, :, :3].mean(dim=1)[..., None].expand(-1, -1, 4))


def test_the_calendar_of_the_forecast_is_read() -> None:
    network, inputs = networks()["autoformer"], drawn(2, 12, 11)
    changed = inputs.clone()
    changed[:, :8, 7:] += 1  # marks that lie `horizon` later, of steps before the forecast: known from the window
    assert torch.equal(network(inputs), network(changed))
    changed[:, 8:, 7:] += 1
    assert not torch.isclose(network(inputs), network(changed)).any()


@pytest.mark.parametrize("name", ["linear", "autoformer"])
def test_networks_can_be_stacked_and_rows_do_not_mix(name: str) -> None:
    inputs = drawn(4, 12, 11).float()
    one, other = networks()[name].float(), networks()[name].float()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1.1)
    assert why_not_stackable([one, other], inputs, True) is None
    assert not rows_mix(one, inputs)


def test_what_is_shared() -> None:
    linear, autoformer = networks().values()
    assert shared_parameters(linear, 12) == ["shared.weight", "shared.bias"]
    shared = shared_parameters(autoformer, 12, shared_by_series)
    assert {name.split(".")[0] for name in shared} == {"embedding", "encoder"}


def test_naive_forecasts() -> None:
    inputs = torch.arange(12.0).view(1, 6, 2)
    assert repeated(inputs, 2, 3).tolist() == [[10, 10, 10, 11, 11, 11]]
    assert repeated(inputs, 1, 5, period=2).tolist() == [[8, 10, 8, 10, 8]]
