"""TAG's encoder: its size, its scaling of bytes, and that it can be stacked and differentiated like any network."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import conv2d

from taskgroup_core.errors import InputError
from taskgroup_core.gradients.flat import FlatNetwork
from taskgroup_core.gradients.per_example import per_example_gradients
from taskgroup_core.models.residual import EPSILON, Residual
from taskgroup_core.training.fit import fit
from taskgroup_core.training.recipe import Recipe
from taskgroup_core.training.stacked import fit_many
from tests.pictures import picture_problem

RECIPE = Recipe(epochs=3, batch_size=16, learning_rate=0.01, keep="best")


def pictures(n: int = 5, size: int = 16) -> Tensor:
    return torch.randint(256, (n, 3, size, size), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)


def test_tags_network_has_the_parameters_of_its_released_code() -> None:
    network = Residual(9)
    convolutions = 9 * 3 * 64 + 2 * 9 * 64 * 64
    assert sum(value.numel() for value in network.parameters()) == convolutions + 3 * 2 * 64 + 9 * (15 * 15 * 64 + 1)
    assert network.eval()(pictures(2, 64)).shape == (2, 9)


@pytest.mark.parametrize("size", [8, 9, 15, 16, 33])
def test_any_size_from_8_pixels(size: int) -> None:
    assert Residual(2, size, 3).eval()(pictures(4, size)).shape == (4, 2)


def test_the_network_is_what_its_description_says() -> None:
    network = Residual(2, 16, 4).eval().double()
    for part in (network.stem_norm, network.first_norm, network.second_norm):
        part.running_mean.uniform_(-1, 1)
        part.running_var.uniform_(0.5, 2)

    def normed(x: Tensor, part: torch.nn.BatchNorm2d) -> Tensor:
        scale = part.weight / (part.running_var + EPSILON).sqrt()
        return (x - part.running_mean[:, None, None]) * scale[:, None, None] + part.bias[:, None, None]

    x = pictures(3).double() / 255
    x = normed(conv2d(x, network.stem.weight, padding=1), network.stem_norm).clamp_min(0)
    windows = x.unfold(2, 3, 2).unfold(3, 3, 2)
    x = windows.amax(dim=(4, 5))
    y = normed(conv2d(x, network.first.weight, padding=1), network.first_norm).clamp_min(0)
    y = (normed(conv2d(y, network.second.weight, padding=1), network.second_norm) + x).clamp_min(0)
    side = y.shape[-1] // 2
    y = y[..., : 2 * side, : 2 * side].reshape(3, 4, side, 2, side, 2).mean(dim=(3, 5))
    expected = y.flatten(1) @ network.heads.weight.T + network.heads.bias
    assert torch.allclose(network(pictures(3)), expected)


def test_bytes_and_floats_are_the_same_pictures() -> None:
    network = Residual(3, 16, 4).eval()
    assert torch.equal(network(pictures()), network(pictures().float()))
    assert network.double()(pictures()).dtype == torch.float64
    assert network.half()(pictures()).dtype == torch.float16


def test_a_stack_trains_the_networks_that_training_alone_gives() -> None:
    problem = picture_problem()
    subsets = [[0], [1, 2], [0, 1, 2, 3], [3]]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        together = fit_many(problem, subsets, RECIPE, [0, 1, 2, 3], "cpu")
    for subset, seed, found in zip(subsets, range(4), together, strict=True):
        alone = fit(problem, subset, RECIPE, seed, "cpu")
        assert np.allclose(found.losses, alone.losses, rtol=1e-4)
        assert np.allclose(found.validation_losses, alone.validation_losses, rtol=1e-3)
        for name, value in alone.network.state_dict().items():
            assert torch.allclose(found.network.state_dict()[name], value, rtol=1e-2, atol=1e-4), name


def test_gradients_of_single_pictures_are_those_of_a_plain_loop() -> None:
    network = Residual(3, 16, 4).double().eval()
    index = torch.tensor([0, 2, 1, 1, 0])
    found = per_example_gradients(FlatNetwork(network), pictures(), index)
    for row, picture, output in zip(found, pictures(), index, strict=True):
        plain = torch.autograd.grad(network(picture[None])[0, output], list(network.parameters()))
        assert torch.allclose(row, torch.cat([part.reshape(-1) for part in plain]))


@pytest.mark.parametrize(("argument", "options"), [("size", {"size": 7}), ("width", {"width": 0})])
def test_sizes_out_of_range(argument: str, options: dict[str, int]) -> None:
    with pytest.raises(InputError, match=f"{argument}: found"):
        Residual(2, **options)
