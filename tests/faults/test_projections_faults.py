"""Bad input to the projections of gradients: one clear error each."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from taskgroup_core.errors import InputError
from taskgroup_core.gradients.flat import FlatNetwork
from taskgroup_core.gradients.projection import (
    GaussianProjection,
    IdentityProjection,
    RademacherProjection,
    projected_gradients,
)
from taskgroup_core.gradients.projections import make_projection
from taskgroup_core.gradients.sparse_projection import SparseProjection

FLAT = FlatNetwork(nn.Linear(3, 2).eval())


@pytest.mark.parametrize("dimension", [0, -1, 2.5, True, "200"])
@pytest.mark.parametrize("kind", ["gaussian", "rademacher", "sparse", "kronecker"])
def test_a_dimension_that_is_no_positive_integer(kind: str, dimension: object) -> None:
    with pytest.raises(InputError, match="positive integer") as caught:
        make_projection(kind, FLAT, dimension, 0)  # type: ignore[arg-type]
    assert caught.value.argument == "dimension"


@pytest.mark.parametrize("kind", ["gaussian", "rademacher", "sparse", "kronecker"])
def test_a_dimension_that_is_missing(kind: str) -> None:
    with pytest.raises(InputError, match="Give d, or choose kind 'none'"):
        make_projection(kind, FLAT, None, 0)  # type: ignore[arg-type]


def test_a_dimension_without_projection() -> None:
    with pytest.raises(InputError, match="Leave it None"):
        make_projection("none", FLAT, 5, 0)


@pytest.mark.parametrize(
    ("kind", "hint"),
    [("gausian", "Did you mean 'gaussian'"), ("sparce", "Did you mean 'sparse'"), ("Kronecker", "'kronecker'")],
)
def test_a_misspelt_kind_is_told_the_nearest(kind: str, hint: str) -> None:
    with pytest.raises(InputError, match=hint):
        make_projection(kind, FLAT, 5, 0)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["fourier", 3, None])
def test_an_unknown_kind_is_told_all(kind: object) -> None:
    with pytest.raises(InputError, match="Use one of gaussian, rademacher, sparse, kronecker, none"):
        make_projection(kind, FLAT, 5, 0)  # type: ignore[arg-type]


@pytest.mark.parametrize("make", [GaussianProjection, RademacherProjection, SparseProjection])
def test_no_parameters(make: type[GaussianProjection]) -> None:
    with pytest.raises(InputError, match="positive integer") as caught:
        make(0, 5, 0)
    assert caught.value.argument == "n_parameters"
    with pytest.raises(InputError, match="positive integer"):
        IdentityProjection(0)


@pytest.mark.parametrize("nonzeros", [0, 6, 2.0, True])
def test_nonzeros_that_do_not_fit(nonzeros: object) -> None:
    with pytest.raises(InputError, match="Use an integer from 1 to d = 5"):
        SparseProjection(10, 5, 0, nonzeros)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["gaussian", "rademacher", "sparse", "kronecker"])
def test_a_bad_seed(kind: str) -> None:
    with pytest.raises(InputError, match="non-negative integer"):
        make_projection(kind, FLAT, 5, -1)  # type: ignore[arg-type]


def test_training_mode() -> None:
    with pytest.raises(InputError, match="training mode"):
        make_projection("kronecker", FlatNetwork(nn.Linear(3, 2)), 5, 0)


def test_an_unknown_route_and_a_projection_for_another_network() -> None:
    inputs, index = torch.zeros(2, 3), torch.zeros(2, dtype=torch.int64)
    with pytest.raises(InputError, match="Use one of auto, forward, reverse, layered"):
        projected_gradients(FLAT, make_projection("gaussian", FLAT, 5, 0), inputs, index, index, "backward")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="one of 9 parameters for a network of 8"):
        projected_gradients(FLAT, GaussianProjection(9, 5, 0), inputs, index, index)
