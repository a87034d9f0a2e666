"""What all estimators of the package have in common, on one small problem."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from itertools import combinations

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

from taskgroup_core.affinity.boosted import boosted_affinity, boosted_subsets
from taskgroup_core.affinity.full_training import FullTraining
from taskgroup_core.affinity.gauss_newton import GaussNewton
from taskgroup_core.affinity.grad_tae import GradTAE, meta_initialisations
from taskgroup_core.affinity.gradient_cosine import GradientCosineAffinity
from taskgroup_core.affinity.higher_order import higher_order_affinity
from taskgroup_core.affinity.lookahead import LookaheadAffinity
from taskgroup_core.affinity.pair_average import PairAverage
from taskgroup_core.affinity.pairwise import pairwise_affinity
from taskgroup_core.affinity.sample_convergence import SampleConvergenceAffinity
from taskgroup_core.affinity.surrogate import SurrogateAffinity
from taskgroup_core.affinity.transfer_gain import TransferGainAffinity
from taskgroup_core.algorithm import MultitaskAlgorithm
from taskgroup_core.errors import InputError
from taskgroup_core.examples import Examples
from taskgroup_core.problems.planted import planted_problem
from taskgroup_core.problems.problem import Problem
from taskgroup_core.subsets import all_subsets, pairs, singletons
from taskgroup_core.tasks import Task
from taskgroup_core.training.recipe import Recipe
from tests.estimators import relabelled

RECIPE = Recipe(epochs=8, batch_size=1000, learning_rate=0.02)  # one batch an epoch: the order of the rows is nothing
ROWS = 30
ORDER = [2, 0, 3, 1]


@cache
def problem(dtype: torch.dtype = torch.float64) -> Problem:
    base = planted_problem(
        2, tasks_per_family=2, n_examples=5 * ROWS, n_features=5, width=6, conflict=0.5, common_inputs=True
    )
    splits = (base.train, base.val, base.test)
    return Problem(base.name, base.tasks, base.inputs.to(dtype), *splits, lambda: base.build().to(dtype))


def trained(given: Problem) -> FullTraining:
    return FullTraining(given, RECIPE, 0, "cpu")


def estimated(given: Problem) -> GradTAE:
    meta, _ = meta_initialisations(given, RECIPE, 1, 0, "cpu")
    return GradTAE(given, meta, dimension=None, C=1.0, device="cpu")


def published(given: Problem) -> GradTAE:
    meta, _ = meta_initialisations(given, RECIPE, 1, 0, "cpu")
    return GradTAE.as_published(given, meta, C=1.0, dimension=20, device="cpu")


def released(given: Problem) -> GradTAE:
    meta, _ = meta_initialisations(given, RECIPE, 1, 0, "cpu")
    return GradTAE.as_released(given, meta, C=1.0, dimension=20, device="cpu")


def newton(given: Problem) -> GaussNewton:
    meta, _ = meta_initialisations(given, RECIPE, 1, 0, "cpu")
    return GaussNewton(given, meta, C=0.1, device="cpu")


def averaged(given: Problem) -> PairAverage:
    return PairAverage(trained(given).scores(pairs(given.n_tasks)))


ALGORITHMS: dict[str, Callable[[Problem], MultitaskAlgorithm]] = {
    "full training": trained,
    "GRAD-TAE": estimated,
    "GRAD-TAE as published": published,
    "GRAD-TAE as released": released,
    "Gauss-Newton": newton,
    "HOA": averaged,
}


def from_pairs(algorithm: Callable[[Problem], MultitaskAlgorithm], given: Problem) -> xr.DataArray:
    return pairwise_affinity(algorithm(given).scores(pairs(4))["negative_loss"])


def from_all(algorithm: Callable[[Problem], MultitaskAlgorithm], given: Problem) -> xr.DataArray:
    return higher_order_affinity(algorithm(given).scores(all_subsets(4))["negative_loss"])


def boosted(given: Problem) -> xr.DataArray:
    return boosted_affinity(trained(given).scores(boosted_subsets(4, 3, 2, 0))["negative_loss"])


def surrogate(given: Problem) -> xr.DataArray:
    prior = LookaheadAffinity(RECIPE, 0, "cpu", every=2).affinity(given)
    known = {"target": 1e-2, "source": 1e-4, "pair": 1e-4, "noise": 1e-4}
    scores = trained(given).scores(pairs(4))["negative_loss"]
    return SurrogateAffinity(prior, variances=known).fit(scores).affinity_


def collected(make: type, given: Problem, **options: object) -> xr.DataArray:
    return make(RECIPE, 0, "cpu", every=2, **options).affinity(given)


def converged(given: Problem, **options: object) -> xr.DataArray:
    return SampleConvergenceAffinity(ROWS, 0, "cpu", **options).affinity(given)


ESTIMATORS: dict[str, Callable[[Problem], xr.DataArray]] = {
    "pairwise": partial(from_pairs, trained),
    "higher-order": partial(from_all, trained),
    "GRAD-TAE, pairwise": partial(from_pairs, estimated),
    "GRAD-TAE, higher-order": partial(from_all, estimated),
    "GRAD-TAE as published": partial(from_pairs, published),
    "GRAD-TAE as released": partial(from_pairs, released),
    "Gauss-Newton, pairwise": partial(from_pairs, newton),
    "Gauss-Newton, higher-order": partial(from_all, newton),
    "HOA": partial(from_all, averaged),
    "BoostMTL": boosted,
    "surrogate": surrogate,
    "TAG": partial(collected, LookaheadAffinity),
    "TAG, optimiser step": partial(collected, LookaheadAffinity, step="optimiser"),
    "TAG, validation batch": partial(collected, LookaheadAffinity, split="val"),
    "transfer gain": partial(collected, TransferGainAffinity),
    "transfer gain, optimiser step": partial(collected, TransferGainAffinity, step="optimiser"),
    "gradient cosine": partial(collected, GradientCosineAffinity),
    "SCA": converged,
    "SCA, equal heads": partial(converged, equal_heads=True),
}


@cache
def affinity(name: str, dtype: torch.dtype = torch.float64) -> xr.DataArray:
    return ESTIMATORS[name](problem(dtype))


@pytest.mark.parametrize("name", ESTIMATORS)
def test_every_affinity_is_target_by_source_with_the_tasks_names(name: str) -> None:
    found = affinity(name)
    assert found.dims == ("target", "source") and np.isfinite(found.values).all()
    for dim in found.dims:
        assert found[dim].values.tolist() == list(problem().task_names)
    assert found.attrs["method"]


@pytest.mark.parametrize("names", list(combinations(ESTIMATORS, 2)), ids=" | ".join)
def test_no_two_estimators_return_the_same_matrix_up_to_unit_and_level(names: tuple[str, str]) -> None:
    off = ~np.eye(4, dtype=bool)
    for keep in (np.ones((4, 4), dtype=bool), off):
        first, second = (affinity(name).values[keep] for name in names)
        assert abs(np.corrcoef(first, second)[0, 1]) < 1 - 1e-6


# BoostMTL draws subsets of numbered tasks, and a projection weights of numbered parameters; as released, rows of the
# last tasks are not fitted; equal heads start from the first task's weights, whichever task that is.
NUMBERED = ("BoostMTL", "GRAD-TAE as published", "GRAD-TAE as released", "SCA, equal heads")


@pytest.mark.parametrize("name", [name for name in ESTIMATORS if name not in NUMBERED])
def test_relabelled_tasks_have_the_same_affinities(name: str) -> None:
    assert_relabelled(ESTIMATORS[name](relabelled(problem(), ORDER)), affinity(name), ORDER)


def assert_relabelled(moved: xr.DataArray, plain: xr.DataArray, order: list[int]) -> None:
    expected = plain.values[np.ix_(order, order)]
    assert np.allclose(moved.values, expected, rtol=1e-4, atol=1e-4 * np.ptp(expected))


def test_relabelled_tasks_have_the_same_affinities_by_the_same_subsets_of_boostmtl() -> None:
    drawn = boosted_subsets(4, 3, 2, 0).reshape(-1, 2, 4)
    pair_of = [tuple(np.flatnonzero(pair)) for pair in pairs(4)]  # one number for a task alone
    before = [pair_of.index(tuple(sorted(ORDER[task] for task in pair))) for pair in pair_of]
    moved = drawn[before][:, :, ORDER].reshape(-1, 4)
    scores = trained(relabelled(problem(), ORDER)).scores(moved)["negative_loss"]
    assert_relabelled(boosted_affinity(scores), affinity("BoostMTL"), ORDER)


def test_relabelled_tasks_behind_the_first_have_the_same_affinities_from_equal_heads() -> None:
    order = [0, 3, 1, 2]
    moved = converged(relabelled(problem(), order), equal_heads=True)
    assert_relabelled(moved, affinity("SCA, equal heads"), order)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_single_precision_gives_nearly_the_same(name: str) -> None:
    double, single = affinity(name).values, affinity(name, torch.float32).values
    assert np.allclose(single, double, atol=0.01 * np.ptp(double))


@pytest.mark.parametrize("name", ALGORITHMS)
def test_duplicated_subsets_and_subsets_of_one(name: str) -> None:
    algorithm = ALGORITHMS[name](problem())
    subsets = np.vstack([singletons(4), pairs(4)[4:6], pairs(4)[4:6], singletons(4)])
    scores = algorithm.scores(subsets)["negative_loss"].values
    assert np.array_equal(scores[4:6], scores[6:8], equal_nan=True)
    assert np.array_equal(scores[:4], scores[8:], equal_nan=True)
    assert np.array_equal(np.isfinite(scores), subsets)
    if name == "full training":
        alone = algorithm.flops
        algorithm.scores(subsets)
        assert algorithm.flops == alone  # equal subsets are trained once


@cache
def apart() -> Problem:
    base = problem()
    splits = (base.train, base.val, base.test)
    return Problem("apart", base.tasks, base.inputs, *splits, lambda: nn.Linear(5, 4, bias=False).double())


def without_prior(given: Problem) -> xr.DataArray:
    """A prior that tells partners apart would be believed."""
    return SurrogateAffinity().fit(trained(given).scores(pairs(4))["negative_loss"]).affinity_


# Adam forgets that the mean over two tasks' labels halves the gradient, up to its epsilon.
@pytest.mark.parametrize(
    ("estimate", "allowed"),
    [
        (partial(from_pairs, trained), 1e-4),
        (partial(from_all, trained), 1e-4),
        (partial(from_all, averaged), 1e-4),
        (boosted, 1e-4),
        (without_prior, 1e-4),
        (partial(from_pairs, estimated), 1e-5),
        (partial(from_all, estimated), 1e-5),
        (partial(from_pairs, newton), 1e-4),
        (partial(from_all, newton), 1e-4),
    ],
    ids=[
        "pairwise",
        "higher-order",
        "HOA",
        "BoostMTL",
        "surrogate",
        "GRAD-TAE, pairwise",
        "GRAD-TAE, higher-order",
        "Gauss-Newton, pairwise",
        "Gauss-Newton, higher-order",
    ],
)
def test_tasks_that_share_no_parameter_have_no_partner(
    estimate: Callable[[Problem], xr.DataArray], allowed: float
) -> None:
    values = estimate(apart()).values
    assert np.ptp(values, axis=1).max() < allowed < np.ptp(values, axis=0).min()


@pytest.mark.parametrize("make", [LookaheadAffinity, TransferGainAffinity, GradientCosineAffinity])
def test_tasks_that_share_no_parameter_are_refused_where_shared_ones_are_looked_at(make: type) -> None:
    with pytest.raises(InputError, match="shared"):
        collected(make, apart())


def test_tasks_that_share_no_parameter_have_no_common_optimum_for_a_sample() -> None:
    with pytest.raises(InputError, match="shared"):
        converged(apart())


@pytest.mark.parametrize("split", ["train", "val", "test"])
@pytest.mark.parametrize("fault", ["no label", "one class"])
def test_a_task_that_cannot_be_learnt_or_scored_is_refused_by_the_problem(split: str, fault: str) -> None:
    base = problem()
    splits = {name: getattr(base, name) for name in ("train", "val", "test")}
    rows = splits[split]
    if fault == "no label":
        splits[split] = rows.of_tasks([0, 1, 3])
    else:
        constant = torch.where(rows.task_index == 2, torch.ones_like(rows.label), rows.label)
        splits[split] = Examples(rows.input_index, rows.task_index, constant)
    with pytest.raises(InputError, match=base.tasks[2].name) as caught:
        Problem(base.name, base.tasks, base.inputs, *splits.values(), base.build)
    assert caught.value.argument == split


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_a_multiclass_task_with_one_class_is_refused_and_with_two_of_three_is_not(split: str) -> None:
    base = planted_problem(2, tasks_per_family=1, n_examples=150, n_features=5, kind="multiclass", classes=3)
    rows = getattr(base, split)
    label = torch.where(rows.task_index == 1, rows.label.clamp(min=1), rows.label)
    two = replace(base, **{split: replace(rows, label=label)})
    assert getattr(two, split).of_tasks([1]).label.unique().tolist() == [1, 2]
    one = replace(rows, label=torch.where(rows.task_index == 1, torch.full_like(label, 2), label))
    with pytest.raises(InputError, match=f"^{split}: found one class only for task '{base.tasks[1].name}'"):
        replace(base, **{split: one})


@cache
def regressions(constant: tuple[int, ...]) -> Problem:
    """Regression tasks, some of them with the label 0.25 for every input of every split."""
    base = planted_problem(
        2, tasks_per_family=2, n_examples=5 * ROWS, n_features=5, width=6, kind="regression", common_inputs=True
    )

    def flat(split: Examples) -> Examples:
        chosen = torch.isin(split.task_index, torch.tensor(constant))
        return replace(split, label=torch.where(chosen, 0.25, split.label.double()))

    splits = {name: flat(getattr(base, name)) for name in ("train", "val", "test")}
    return replace(base, inputs=base.inputs.double(), build=lambda: base.build().double(), **splits)


# As released, an intercept is fitted, which only binary tasks have.
@pytest.mark.parametrize("name", [name for name in ESTIMATORS if name != "GRAD-TAE as released"])
def test_a_regression_task_with_constant_labels_has_finite_affinities(name: str) -> None:
    values = ESTIMATORS[name](regressions((2,))).values
    assert np.isfinite(values).all() and np.ptp(values) > 0


def test_tasks_whose_labels_are_all_the_same_have_the_documented_affinities() -> None:
    alike = regressions((0, 1, 2, 3))
    assert (converged(alike, equal_heads=True).values == 1).all()  # Eq. (17) would divide 0 by 0
    assert np.diag(collected(GradientCosineAffinity, alike).values) == pytest.approx(1)
    assert (np.diag(collected(TransferGainAffinity, alike).values) == 0).all()
    scores = trained(alike).scores(pairs(4))
    assert (scores["score"].values[scores["member"].values] == 0).all()


def test_a_regression_task_with_constant_validation_labels_scores_zero() -> None:
    base = problem(torch.float32)
    tasks = tuple(Task(task.name, "regression", "r2") for task in base.tasks)
    flat = Examples(base.val.input_index, base.val.task_index, torch.full_like(base.val.label, 0.25))
    constant = Problem("constant", tasks, base.inputs, base.train, flat, base.test, base.build)
    scores = trained(constant).scores(pairs(4))
    assert (scores["score"].values[scores["member"].values] == 0).all()  # no variance to explain, and none explained
