import numpy as np
import pytest
import torch
from torch import nn

from taskgroup_core.errors import InputError
from taskgroup_core.gradients.flat import FlatNetwork
from taskgroup_core.gradients.linearisation import (
    directional_derivative,
    residual_sum_of_squares,
    second_directional_derivative,
    taylor,
)
from taskgroup_core.gradients.per_example import per_example_gradients
from taskgroup_core.gradients.projection import GaussianProjection, IdentityProjection, projected_gradients
from taskgroup_core.models.sign import Sign


@pytest.fixture
def case():
    torch.manual_seed(0)
    network = Sign(2, 5, 8, 3).double().eval()
    inputs = torch.randn(20, 2, 5, dtype=torch.float64)
    input_index = torch.arange(20).repeat_interleave(2)
    output_index = torch.randint(0, 3, (40,))
    return FlatNetwork(network), inputs, input_index, output_index


def gradients_by_backward(network, inputs, output_index):
    rows = []
    for row, task in zip(inputs, output_index, strict=True):
        network.zero_grad()
        network(row[None])[0, task].backward()
        rows.append(torch.cat([p.grad.reshape(-1).clone() for p in network.parameters()]))
    return torch.stack(rows)


def test_the_flat_network_is_the_network(case):
    flat, inputs, _, _ = case
    assert flat.n_parameters == len(flat.theta)
    assert torch.equal(flat(flat.theta, inputs), flat.network(inputs))
    zeros = flat(torch.zeros_like(flat.theta), inputs)
    assert torch.equal(zeros, torch.zeros_like(zeros))


def test_per_example_gradients_are_those_of_one_backward_pass_each(case):
    flat, inputs, input_index, output_index = case
    ours = per_example_gradients(flat, inputs[input_index], output_index)
    assert torch.allclose(ours, gradients_by_backward(flat.network, inputs[input_index], output_index), atol=1e-12)


def test_derivatives_agree_with_finite_differences(case):
    flat, inputs, _, _ = case
    direction = torch.randn_like(flat.theta)
    step = 1e-5
    plus, minus = (flat(flat.theta + sign * step * direction, inputs) for sign in (1, -1))
    outputs, slope = directional_derivative(flat, inputs, direction)
    assert torch.allclose(slope, (plus - minus) / (2 * step), rtol=1e-5, atol=1e-7)
    step = 1e-4
    plus, minus = (flat(flat.theta + sign * step * direction, inputs) for sign in (1, -1))
    bend = second_directional_derivative(flat, inputs, direction)
    assert torch.allclose(bend, (plus - 2 * outputs + minus) / step**2, rtol=1e-3, atol=1e-3)


def test_taylor_errors_shrink_with_their_order(case):
    flat, inputs, _, _ = case
    direction = torch.randn_like(flat.theta)

    def error(order, size):
        actual = flat(flat.theta + size * direction, inputs)
        return float((actual - taylor(flat, inputs, size * direction, order)).norm())

    # Halving the step divides the error by about 4 at order 1 and by about 8 at order 2.
    assert error(1, 2e-4) / error(1, 1e-4) == pytest.approx(4, rel=0.05)
    assert error(2, 2e-4) / error(2, 1e-4) == pytest.approx(8, rel=0.05)


def test_a_linear_model_has_no_linearisation_error():
    torch.manual_seed(1)
    flat = FlatNetwork(nn.Linear(6, 3).double().eval())
    inputs, displacement = torch.randn(30, 6, dtype=torch.float64), 10 * torch.randn(21, dtype=torch.float64)
    actual = flat(flat.theta + displacement, inputs)
    assert residual_sum_of_squares(actual, taylor(flat, inputs, displacement)) < 1e-28


def test_both_routes_equal_the_product_with_the_whole_matrix(case):
    flat, inputs, input_index, output_index = case
    projection = GaussianProjection(flat.n_parameters, 40, seed=3)
    matrix = torch.cat([block for _, block in projection.blocks(flat.theta)], dim=1)
    assert matrix.shape == (flat.n_parameters, 40)
    expected = gradients_by_backward(flat.network, inputs[input_index], output_index) @ matrix
    for route in ("forward", "reverse", "layered", "auto"):
        ours = projected_gradients(flat, projection, inputs, input_index, output_index, route)
        assert torch.allclose(ours, expected, atol=1e-10), route
    sliced = projected_gradients(flat, projection, inputs, input_index, output_index, "reverse", budget=10_000)
    assert torch.allclose(sliced, expected, atol=1e-10)
    solutions = torch.randn(5, 40, dtype=torch.float64)
    assert torch.allclose(projection.lift(solutions), solutions @ matrix.T, atol=1e-12)


def test_the_projection_repeats_and_has_the_papers_variance():
    like = torch.zeros(1)
    first, second, other = (
        torch.cat([block for _, block in GaussianProjection(500, 70, seed).blocks(like)], dim=1) for seed in (0, 0, 1)
    )
    assert torch.equal(first, second) and not torch.equal(first, other)
    assert float(first.var()) == pytest.approx(1 / 70, rel=0.03)  # 35,000 draws: standard error 0.8 %


def test_projection_error_falls_with_the_square_root_of_d():
    vectors = torch.nn.functional.normalize(torch.randn(30, 2000, generator=torch.Generator().manual_seed(0)))
    exact = vectors @ vectors.T

    def error(dimension):
        squares = []
        for seed in range(5):
            small = GaussianProjection(2000, dimension, seed).project(vectors)
            squares.append(((small @ small.T - exact) ** 2).mean())
        return float(torch.stack(squares).mean().sqrt())

    # Var <Pu, Pv> = (|u|^2 |v|^2 + <u, v>^2) / d: about 1/d for unit vectors that are nearly orthogonal.
    assert error(64) == pytest.approx((1 + float((exact**2).mean())) ** 0.5 / 8, rel=0.1)
    assert error(64) / error(256) == pytest.approx(2, rel=0.15)


def test_the_identity_projects_onto_everything(case):
    flat, inputs, input_index, output_index = case
    projection = IdentityProjection(flat.n_parameters)
    exact = per_example_gradients(flat, inputs[input_index], output_index)
    for route in ("forward", "reverse"):
        ours = projected_gradients(flat, projection, inputs, input_index, output_index, route)
        assert torch.allclose(ours, exact, atol=1e-12)
    assert torch.allclose(projection.lift(exact), exact)


def test_bad_input():
    with pytest.raises(InputError, match="training mode"):
        FlatNetwork(nn.Linear(2, 1))
    with pytest.raises(InputError, match="no trainable parameter"):
        FlatNetwork(nn.ReLU().eval())
    with pytest.raises(InputError, match="positive"):
        GaussianProjection(10, 0, 0)


def test_gradients_do_not_depend_on_numpys_or_torchs_global_state(case):
    flat, *_ = case
    projection = GaussianProjection(flat.n_parameters, 8, 0)
    first = projection.lift(torch.eye(8, dtype=torch.float64))
    np.random.seed(1)
    torch.manual_seed(99)
    assert torch.equal(first, projection.lift(torch.eye(8, dtype=torch.float64)))
