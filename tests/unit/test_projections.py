"""Random projections of gradients against plain loops and against the matrices they stand for."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from taskgroup_core.flops import counted
from taskgroup_core.gradients.factors import FactoredGradients, OuterProducts
from taskgroup_core.gradients.flat import FlatNetwork
from taskgroup_core.gradients.kronecker_projection import KroneckerProjection
from taskgroup_core.gradients.projection import Projection, Route, projected_gradients
from taskgroup_core.gradients.projections import ProjectionKind, make_projection
from taskgroup_core.gradients.sparse_projection import SparseProjection
from taskgroup_core.models.sign import Sign

KINDS = ("gaussian", "rademacher", "sparse", "kronecker")
ROUTES: tuple[Route, ...] = ("auto", "forward", "reverse", "layered")


class Convolutional(nn.Module):
    """Convolution, normalisation with fixed statistics, a slope for each channel."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv1d(2, 3, 3), nn.BatchNorm1d(3), nn.PReLU(3), nn.Flatten(), nn.Linear(9, 4))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.body(inputs)


class Words(nn.Module):
    """Linear layers at several positions; an attention whose weights reach no linear layer; a tied embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(4, 6)
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)
        self.inner = nn.Linear(6, 6)
        self.tied = nn.Linear(6, 4, bias=False)
        self.tied.weight = self.embedding.weight

    def forward(self, inputs: Tensor) -> Tensor:
        tokens = self.embedding(inputs)
        mixed = self.attention(tokens, tokens, tokens, need_weights=False)[0]
        return self.tied(self.inner(mixed + tokens).tanh()).sum(dim=1)


class Recurrent(nn.Module):
    """One layer called twice, a bare matrix, a frozen layer, a layer that is never called, a penalty on a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.step, self.unused, self.frozen = nn.Linear(5, 5), nn.Linear(5, 2), nn.Linear(5, 5)
        self.frozen.requires_grad_(False)
        self.matrix = nn.Parameter(torch.randn(4, 5))
        self.squared = nn.Linear(5, 4)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.frozen(self.step(self.step(inputs).tanh()).tanh())
        return functional.linear(hidden, self.matrix) + self.squared(hidden) * self.squared.weight.square().sum()


CASES = {
    "sign": (lambda: Sign(2, 5, 6, 4), lambda: torch.randn(7, 2, 5, dtype=torch.float64)),
    "linear": (lambda: nn.Linear(5, 4, bias=False), lambda: torch.randn(7, 5, dtype=torch.float64)),
    "convolution": (Convolutional, lambda: torch.randn(7, 2, 5, dtype=torch.float64)),
    "words": (Words, lambda: torch.randint(4, (7, 3))),
    "recurrent": (Recurrent, lambda: torch.randn(7, 5, dtype=torch.float64)),
}


def build(name: str) -> tuple[FlatNetwork, Tensor, Tensor, Tensor]:
    """Network, inputs and the examples on them: from one to four labels an input, not in order."""
    torch.manual_seed(0)
    network, inputs = CASES[name]
    flat = FlatNetwork(network().double().eval())
    rows, columns = (torch.rand(7, 4) < 0.5).nonzero(as_tuple=True)
    order = torch.randperm(len(rows))
    return flat, inputs(), rows[order], columns[order]


def one_by_one(flat: FlatNetwork, inputs: Tensor, input_index: Tensor, output_index: Tensor) -> Tensor:
    """Gradients with shape (E, p) by a loop over the examples."""
    parameters = [parameter for parameter in flat.network.parameters() if parameter.requires_grad]
    rows = []
    for row, column in zip(input_index, output_index, strict=True):
        output = flat.network(inputs[row : row + 1])[0, column]
        gradients = torch.autograd.grad(output, parameters, allow_unused=True)
        pairs = zip(gradients, parameters, strict=True)
        rows.append(torch.cat([(torch.zeros_like(p) if g is None else g).reshape(-1) for g, p in pairs]))
    return torch.stack(rows)


def matrix_of(projection: Projection) -> Tensor:
    """P with shape (p, d)."""
    return projection.lift(torch.eye(projection.dimension, dtype=torch.float64)).T


def close(ours: Tensor, expected: Tensor) -> bool:
    return float((ours - expected).norm()) <= 1e-10 * float(expected.norm())


@pytest.mark.parametrize("kind", (*KINDS, "none"))
@pytest.mark.parametrize("name", CASES)
def test_every_route_gives_the_loop_times_the_matrix(name: str, kind: ProjectionKind) -> None:
    flat, inputs, input_index, output_index = build(name)
    projection = make_projection(kind, flat, None if kind == "none" else 37, seed=3)
    expected = one_by_one(flat, inputs, input_index, output_index) @ matrix_of(projection)
    for route in ROUTES:
        if (name, route) != ("words", "forward"):  # torch has no forward mode of its fused attention
            assert close(projected_gradients(flat, projection, inputs, input_index, output_index, route), expected)
    sliced = projected_gradients(flat, projection, inputs, input_index, output_index, "layered", budget=1500)
    assert close(sliced, expected)


def test_only_weights_of_linear_layers_stay_in_factors() -> None:
    def factored(name: str) -> set[str]:
        flat, inputs, rows, columns = build(name)
        parts = FactoredGradients(flat, inputs[:1])(inputs[rows], columns)
        assert [part.span for part in parts] == list(flat.spans.values())
        expected = one_by_one(flat, inputs, rows, columns)
        assert close(torch.cat([part.form() for part in parts], dim=1), expected)
        names = {span.start: name for name, span in flat.spans.items()}
        return {names[part.span.start] for part in parts if isinstance(part, OuterProducts)}

    assert factored("linear") == {"weight"}
    assert factored("convolution") == {"body.4.weight"}
    assert factored("words") == {"inner.weight"}  # not the tied one, nor those that attention takes in whole
    assert factored("recurrent") == {"step.weight", "matrix"}  # not the one that is squared, nor the one never called


def test_operations_without_forward_mode_are_gone_around() -> None:
    flat, inputs, _, _ = build("words")
    input_index, output_index = torch.ones(7, 4).nonzero(as_tuple=True)
    projection = make_projection("gaussian", flat, 5, seed=0)
    with pytest.raises(NotImplementedError, match="forward AD"):
        projected_gradients(flat, projection, inputs, input_index, output_index, "forward")
    expected = one_by_one(flat, inputs, input_index, output_index) @ matrix_of(projection)
    assert close(projected_gradients(flat, projection, inputs, input_index, output_index), expected)


@pytest.mark.parametrize("dimension", [1, 3, 40, 700])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["sign", "words"])
def test_projecting_is_adjoint_to_lifting_for_any_d(name: str, kind: ProjectionKind, dimension: int) -> None:
    flat, *_ = build(name)
    projection = make_projection(kind, flat, dimension, seed=1)
    assert (projection.n_parameters, projection.dimension) == (flat.n_parameters, dimension)
    g, w = torch.randn(6, flat.n_parameters).double(), torch.randn(5, dimension).double()
    projected, lifted = projection.project(g), projection.lift(w)
    assert projected.shape == (6, dimension) and lifted.shape == (5, flat.n_parameters)
    assert torch.allclose(projected @ w.T, g @ lifted.T, atol=1e-10)
    matrix = projection.project(torch.eye(flat.n_parameters, dtype=torch.float64))
    assert torch.allclose(matrix, matrix_of(projection), atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_decides_the_matrix(kind: ProjectionKind) -> None:
    flat, *_ = build("sign")
    first, again, other = (matrix_of(make_projection(kind, flat, 40, seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)
    torch.manual_seed(99)
    assert torch.equal(first, matrix_of(make_projection(kind, flat, 40, 0)))
    single = make_projection(kind, flat, 40, 0).lift(torch.eye(40)).T
    assert single.dtype == torch.float32 and torch.allclose(single.double(), first, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("kind", ["gaussian", "rademacher"])
def test_a_larger_d_adds_columns(kind: ProjectionKind) -> None:
    flat, *_ = build("sign")
    small, large = (matrix_of(make_projection(kind, flat, d, 0)) * d**0.5 for d in (33, 80))
    assert torch.allclose(small, large[:, :33], rtol=1e-6)


def test_the_entries_of_sign_and_sparse_matrices() -> None:
    flat, *_ = build("sign")
    signs = matrix_of(make_projection("rademacher", flat, 50, 0))
    assert torch.allclose(signs.abs(), torch.full_like(signs, 50**-0.5), rtol=1e-6)
    assert abs(float(signs.sign().mean())) < 5 / signs.numel() ** 0.5
    for nonzeros in (1, 4, 7):
        matrix = matrix_of(SparseProjection(7000, 7, 0, nonzeros))
        assert ((matrix != 0).sum(dim=1) == nonzeros).all()
        used = matrix[matrix != 0]
        assert torch.allclose(used.abs(), torch.full_like(used, nonzeros**-0.5), rtol=1e-6)
        assert abs(float(used.sign().mean())) < 5 / len(used) ** 0.5
        # The columns of a row are drawn without preference: each holds a share s / d of the rows.
        share = (matrix != 0).double().mean(dim=0)
        assert (share - nonzeros / 7).abs().max() <= 5 * math.sqrt(nonzeros / 7 * (1 - nonzeros / 7) / 7000)
    assert ((matrix_of(make_projection("sparse", flat, 3, 0)) != 0).sum(dim=1) == 3).all()  # no room for four


@pytest.mark.parametrize("nonzeros", [1, 4])
@pytest.mark.parametrize("name", CASES)
def test_a_sparse_projection_costs_its_entries_only(name: str, nonzeros: int) -> None:
    flat, inputs, rows, columns = build(name)
    projection = SparseProjection(flat.n_parameters, 37, 0, nonzeros)
    entries = nonzeros * flat.n_parameters
    _, whole = counted(lambda: projection.project(torch.ones(6, flat.n_parameters)))
    assert whole == 2 * entries * 6
    parts, _ = counted(lambda: FactoredGradients(flat, inputs[:1])(inputs[rows], columns))
    # Sums of several products, and no others, are formed by matrix products.
    sums = [part for part in parts if isinstance(part, OuterProducts) and part.signals.shape[1] > 1]
    _, forming = counted(lambda: [part.form() for part in sums])
    _, by_parts = counted(lambda: projection.project_parts(parts))
    assert by_parts == forming + 2 * entries * len(rows)


def products(kind: ProjectionKind, flat: FlatNetwork, u: Tensor, v: Tensor, dimension: int, draws: int) -> Tensor:
    """<P'u, P'v> for many P."""
    pair = torch.stack([u, v])
    both = [make_projection(kind, flat, dimension, seed).project(pair) for seed in range(draws)]
    return torch.stack([one[0] @ one[1] for one in both])


@pytest.mark.parametrize("kind", KINDS)
def test_inner_products_are_unbiased_with_the_variance_that_is_documented(kind: ProjectionKind) -> None:
    flat = FlatNetwork(nn.Sequential(nn.Linear(4, 5), nn.PReLU(), nn.Linear(5, 3)).eval())
    generator = torch.Generator().manual_seed(0)
    u, noise = torch.randn(2, flat.n_parameters, dtype=torch.float64, generator=generator)
    u[0] *= 5  # one entry with much of the length, as gradients have
    v = u + noise
    draws, d = 1500, 8
    found = products(kind, flat, u, v, d, draws)
    lengths, inner = float(u.square().sum() * v.square().sum()), float(u @ v)
    repeated = 0.0 if kind == "gaussian" else float((u * v).square().sum())
    variance = (lengths + inner**2 - 2 * repeated) / d
    bound = (9 * lengths - inner**2) / d
    limit = bound if kind == "kronecker" else variance
    assert abs(float(found.mean()) - inner) < 4 * math.sqrt(limit / draws)
    if kind == "kronecker":
        assert float(found.var()) < bound
    else:
        assert float(found.var()) == pytest.approx(variance, rel=0.25)


def test_the_variance_of_one_outer_product_by_kronecker_columns() -> None:
    flat = FlatNetwork(nn.Linear(12, 9, bias=False).eval())
    s, t = torch.randn(2, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    a, b = torch.randn(2, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

    def fourth(x: Tensor, y: Tensor) -> float:
        """E <alpha, x>^2 <alpha, y>^2 for a vector alpha of signs."""
        return float(x @ x * (y @ y) + 2 * (x @ y) ** 2 - 2 * (x * y).square().sum())

    for x, y in (((s, a), (t, b)), ((s, a), (s, a))):
        u, v = torch.outer(*x).flatten(), torch.outer(*y).flatten()
        found = products("kronecker", flat, u, v, 10, 1500)
        variance = (fourth(x[0], y[0]) * fourth(x[1], y[1]) - float(u @ v) ** 2) / 10
        assert abs(float(found.mean() - u @ v)) < 4 * math.sqrt(variance / 1500)
        assert float(found.var()) == pytest.approx(variance, rel=0.25)


def test_single_precision_follows_double_precision() -> None:
    flat, inputs, input_index, output_index = build("sign")
    single = FlatNetwork(Sign(2, 5, 6, 4).eval())
    single.network.load_state_dict(flat.network.state_dict())
    for kind in KINDS:
        exact = projected_gradients(flat, make_projection(kind, flat, 20, 0), inputs, input_index, output_index)
        ours = projected_gradients(
            single, make_projection(kind, single, 20, 0), inputs.float(), input_index, output_index
        )
        assert ours.dtype == torch.float32
        assert float((ours - exact).norm()) < 1e-5 * float(exact.norm())


def test_a_kronecker_projection_of_a_network_without_linear_layers_is_dense() -> None:
    flat = FlatNetwork(nn.Sequential(nn.Conv1d(2, 3, 2), nn.PReLU()).eval())
    matrix = matrix_of(KroneckerProjection(flat, 6, 0))
    assert torch.allclose(matrix.abs(), torch.full_like(matrix, 6**-0.5), rtol=1e-6)
