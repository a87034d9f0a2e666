"""Results do not depend on torch's default dtype."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from taskgroup_core.affinity.gauss_newton import GaussNewton
from taskgroup_core.affinity.grad_tae import GradTAE
from taskgroup_core.affinity.shared_rows import SharedRows
from taskgroup_core.affinity.subset_regressions import TaskRows, subset_regressions
from taskgroup_core.gradients.flat import FlatNetwork
from taskgroup_core.gradients.projections import ProjectionKind, make_projection
from taskgroup_core.problems.templates import Rendered
from taskgroup_core.problems.text_encoders import HashedWords
from taskgroup_core.runs.linearisation_parameters import LinearisationParameters
from taskgroup_core.runs.linearisation_study import WAYS, linearisation_study
from taskgroup_core.subsets import sample_subsets
from tests.small import small_problem

UnderBoth = Callable[[Callable[[], Tensor]], tuple[Tensor, Tensor]]
KINDS: tuple[ProjectionKind, ...] = ("gaussian", "rademacher", "sparse", "kronecker")


@pytest.fixture
def under_both() -> Iterator[UnderBoth]:
    """What a function returns under float32 and under float64 as the default; puts the default back."""
    before = torch.get_default_dtype()

    def run(function: Callable[[], Tensor]) -> tuple[Tensor, Tensor]:
        found = []
        for dtype in (torch.float32, torch.float64):
            torch.set_default_dtype(dtype)
            found.append(function())
        return found[0], found[1]

    yield run
    torch.set_default_dtype(before)


def same(both: tuple[Tensor, Tensor]) -> bool:
    return both[0].dtype == both[1].dtype and torch.allclose(*both, rtol=0, atol=0, equal_nan=True)


def rows() -> list[TaskRows]:
    """Tasks of all kinds, two of them with fewer rows than dimensions and large features."""
    generator = torch.Generator().manual_seed(0)
    tasks = []
    for kind, outputs, scale in (("binary", 1, 1), ("multiclass", 3, 1), ("regression", 1, 1), ("binary", 1, 100)):
        features = scale * torch.randn(5, outputs, 8, generator=generator, dtype=torch.float64)
        label = torch.tensor([0, 1, 0, 1, 1], dtype=torch.float64)
        tasks.append(TaskRows(kind, features, torch.zeros(5, outputs, dtype=torch.float64), label))
    return tasks


@pytest.mark.parametrize("C", [0.1, 1e3])
def test_regressions_of_subsets(under_both: UnderBoth, C: float) -> None:
    assert same(under_both(lambda: subset_regressions(rows(), sample_subsets(4, 2, 6, 0), C).solutions))


def test_hessians_of_subsets_and_their_factors(under_both: UnderBoth) -> None:
    member = torch.from_numpy(sample_subsets(4, 2, 6, 0))
    penalty = torch.logspace(-2, 2, 6, dtype=torch.float64)
    w = torch.randn(6, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert same(under_both(lambda: SharedRows(rows(), 0.1).factors(member, penalty)))
    assert same(under_both(lambda: SharedRows(rows(), 0.1).factors(member, -1e9 * penalty)))  # those that fail
    assert same(under_both(lambda: SharedRows(rows(), 0.1).hessians(w, member, penalty)))


@pytest.mark.parametrize("kind", KINDS)
def test_projections(under_both: UnderBoth, kind: ProjectionKind) -> None:
    flat = FlatNetwork(small_problem("sign").network(0).eval())
    for dtype in (torch.float32, torch.float64):
        units = torch.eye(5, dtype=dtype)
        assert same(under_both(lambda units=units: make_projection(kind, flat, 5, 0).lift(units)))


def test_estimates_from_a_network_in_single_precision(under_both: UnderBoth) -> None:
    problem, subsets = small_problem("sign"), sample_subsets(4, 2, 5, 0)
    network = problem.network(0).eval()
    for estimator in (GradTAE, GradTAE.as_released, GaussNewton):
        options = {} if estimator is GaussNewton else {"dimension": 10}

        def scores(estimator=estimator, options=options) -> Tensor:
            found = estimator(problem, [network], device="cpu", **options).scores(subsets)
            return torch.from_numpy(found.to_array().values)

        assert same(under_both(scores))


def test_random_directions_of_the_linearisation_study(under_both: UnderBoth) -> None:
    problem = small_problem("linear")
    network = problem.network(0)
    problem = replace(problem, build=lambda: deepcopy(network))
    asked = LinearisationParameters(subset_size=2, n_subsets=1, epochs=1, distances=(0.1,), stride=0.05)

    def errors() -> Tensor:
        record = linearisation_study(problem, asked, torch.device("cpu"), progress=False)
        return torch.from_numpy(np.stack([record.arrays[way] for way in WAYS]))

    assert same(under_both(errors))


def test_hashed_words(under_both: UnderBoth) -> None:
    text = Rendered("red then blue", {"a": ((0, 3),), "b": ((9, 13),)})
    assert same(under_both(lambda: HashedWords(8).encode([text], ("a", "b"))))
