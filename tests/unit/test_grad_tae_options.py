"""GRAD-TAE's options and presets: what the released code does, the projections, and what all of it costs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from taskgroup_core.affinity.grad_tae import GradTAE, meta_initialisations
from taskgroup_core.affinity.regression_rows import first_share
from taskgroup_core.affinity.subset_scores import network_scores
from taskgroup_core.affinity.task_rows import TaskRows
from taskgroup_core.affinity.updates import changed, head_entries
from taskgroup_core.gradients.flat import FlatNetwork
from taskgroup_core.subsets import sample_subsets
from taskgroup_core.training.recipe import Recipe
from tests.small import small_problem

SUBSETS = sample_subsets(4, 2, 5, 0)


@pytest.fixture(scope="module")
def case():
    problem = small_problem("sign")
    meta, _ = meta_initialisations(problem, Recipe(epochs=3), 2, 0, "cpu")
    return problem, meta


def rows_of(estimator: GradTAE, subset: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    members = [estimator._linearised[0].train[task] for task in np.flatnonzero(subset)]
    features = torch.cat([rows.features[:, 0] for rows in members])
    return features.numpy(), torch.cat([rows.label for rows in members]).numpy()


@pytest.mark.parametrize("C", [0.01, 1.0])
def test_the_intercept_is_fitted_and_dropped_as_scikit_learns(case, C: float) -> None:
    problem, meta = case
    plain = GradTAE(problem, meta[:1], dimension=8, C=C, offset=False, device="cpu")
    ours = GradTAE(problem, meta[:1], dimension=8, C=C, offset=False, intercept="fitted and dropped", device="cpu")
    found = ours._regress(ours._linearised[0].train, SUBSETS)
    for row, subset in enumerate(SUBSETS):
        direct = LogisticRegression(C=C, solver="newton-cholesky", tol=1e-12).fit(*rows_of(plain, subset))
        assert found[row].numpy() == pytest.approx(direct.coef_[0], rel=1e-3, abs=1e-6)
    without = plain._regress(plain._linearised[0].train, SUBSETS)
    assert not np.allclose(found, without, rtol=1e-2)


@pytest.mark.parametrize("share", [0.8, 0.5, 0.1])
def test_a_share_of_the_rows_is_what_a_fit_of_those_rows_is(case, share: float) -> None:
    problem, meta = case
    whole = GradTAE(problem, meta[:1], dimension=8, C=1.0, offset=False, device="cpu")
    part = GradTAE(problem, meta[:1], dimension=8, C=1.0, offset=False, fit_share=share, device="cpu")
    found = part._regress(part._linearised[0].train, SUBSETS)
    for row, subset in enumerate(SUBSETS):
        features, label = rows_of(whole, subset)
        kept = int(share * len(label))
        direct = LogisticRegression(C=1.0, fit_intercept=False, solver="newton-cholesky", tol=1e-12)
        direct.fit(features[:kept], label[:kept])
        assert found[row].numpy() == pytest.approx(direct.coef_[0], rel=1e-4, abs=1e-6)


def test_a_cut_keeps_the_first_tasks() -> None:
    rows = [
        TaskRows("binary", torch.full((size, 1, 1), size).double(), torch.zeros(size, 1).double(), torch.zeros(size))
        for size in (4, 6, 10)
    ]
    member = np.array([[1, 1, 1], [1, 0, 1], [0, 1, 0], [1, 1, 1]], dtype=bool)
    cut, left = first_share(rows, member, 0.5)
    kept = [[(int(cut[i].features[0]), len(cut[i])) for i in np.flatnonzero(subset)] for subset in left]
    assert kept == [[(4, 4), (6, 6)], [(4, 4), (10, 3)], [(6, 3)], [(4, 4), (6, 6)]]
    assert len(cut) == 5  # the three tasks, and what two cuts left
    assert first_share(rows[:1], member[1:2, :1], 0.1)[1].tolist() == [[False, True]]  # one row at least


def test_frozen_heads_and_a_given_length_change_the_update_only(case) -> None:
    _, meta = case
    flat = FlatNetwork(meta[0])
    heads = head_entries(flat)
    assert int(heads.sum()) == sum(p.numel() for name, p in meta[0].named_parameters() if name.startswith("heads."))
    updates = torch.randn(3, flat.n_parameters)
    frozen = changed(flat, updates, frozen_heads=True, norm=None)
    assert not frozen[:, heads].any() and torch.equal(frozen[:, ~heads], updates[:, ~heads])
    scaled = changed(flat, updates, frozen_heads=False, norm=0.1)
    torch.testing.assert_close(scaled.norm(dim=1), (0.1 * flat.theta.norm()).expand(3))
    torch.testing.assert_close(scaled / scaled.norm(dim=1, keepdim=True), updates / updates.norm(dim=1, keepdim=True))
    assert torch.equal(changed(flat, torch.zeros_like(updates), False, 0.1), torch.zeros_like(updates))


def test_every_option_changes_the_scores(case) -> None:
    problem, meta = case
    given = {"dimension": 8, "C": 0.1, "device": "cpu"}
    plain = GradTAE(problem, meta[:1], **given).scores(SUBSETS)
    for option in (
        {"projection": "rademacher"},
        {"projection": "sparse"},
        {"projection": "kronecker"},
        {"evaluation": "linear"},
        {"evaluation": "quadratic"},
        {"offset": False},
        {"intercept": "fitted and dropped"},
        {"fit_share": 0.8},
        {"frozen_heads": True},
        {"solution_norm": 0.1},
    ):
        other = GradTAE(problem, meta[:1], **given, **option).scores(SUBSETS)
        assert not np.allclose(other.negative_loss, plain.negative_loss, equal_nan=True), option


def test_the_presets_are_their_settings(case) -> None:
    problem, meta = case
    published = GradTAE.as_published(problem, meta, dimension=6, device="cpu", seed=3)
    assert (published.C, published.offset, published.projection, published.fit_share) == (np.inf, True, "gaussian", 1)
    assert published.evaluation == "network" and published.dimension == 6 and published.seed == 3
    assert GradTAE.as_published(problem, meta[:1], device="cpu").dimension == 200
    released = GradTAE.as_released(problem, meta[:1], dimension=8, device="cpu").scores(SUBSETS)
    by_hand = GradTAE(
        problem,
        meta[:1],
        projection="rademacher",
        dimension=8,
        C=0.01,
        offset=False,
        intercept="fitted and dropped",
        fit_share=0.8,
        frozen_heads=True,
        device="cpu",
    ).scores(SUBSETS)
    assert released.equals(by_hand)


def test_the_ensemble_is_the_mean_of_its_members(case) -> None:
    problem, meta = case
    both = GradTAE(problem, meta, dimension=None, device="cpu", meta_flops=7)
    alone = [GradTAE(problem, [one], dimension=None, device="cpu") for one in meta]
    expected = np.mean([one.scores(SUBSETS).score.values for one in alone], axis=0)
    np.testing.assert_allclose(both.scores(SUBSETS).score.values, expected, equal_nan=True)
    assert both.flops == 7 + sum(one.flops for one in alone)


def test_many_networks_in_one_pass_score_as_one_at_a_time(case) -> None:
    problem, meta = case
    flat = FlatNetwork(meta[0])
    updates = 0.1 * torch.randn(len(SUBSETS), flat.n_parameters, generator=torch.Generator().manual_seed(0))
    slices = []

    def displacements(part: slice) -> torch.Tensor:
        slices.append(len(updates[part]))
        return updates[part]

    single, flops = network_scores(problem, "val", flat, displacements, SUBSETS, budget=1)
    assert slices == [1] * len(SUBSETS)
    together, same = network_scores(problem, "val", flat, displacements, SUBSETS)
    assert slices[len(SUBSETS) :] == [len(SUBSETS)]
    for metric, values in single.items():
        np.testing.assert_allclose(together[metric], values, rtol=1e-5, equal_nan=True)
    used = len(problem.table("val")[0])
    assert flops == same == len(SUBSETS) * used * problem.row_flops[0]


def test_the_cost_of_a_subset_is_counted(case) -> None:
    problem, meta = case
    costs = {}
    for evaluation in ("network", "linear", "quadratic"):
        estimator = GradTAE(problem, meta[:1], dimension=8, device="cpu", evaluation=evaluation)
        before = estimator.flops
        estimator.scores(SUBSETS)
        once = estimator.flops - before
        estimator.scores(SUBSETS)
        assert estimator.flops - before == 2 * once
        costs[evaluation] = once, before
    regressions = costs["linear"][0] - sum(
        2 * 8 * int((problem.val.task_index == task).sum()) for subset in SUBSETS for task in np.flatnonzero(subset)
    )
    n_parameters = FlatNetwork(meta[0]).n_parameters
    forward = len(problem.table("val")[0]) * problem.row_flops[0]
    # Beside the regressions: lifting is a product with P, then comes the network.
    assert costs["network"][0] == regressions + len(SUBSETS) * (2 * 8 * n_parameters + forward)
    assert costs["quadratic"][0] > costs["network"][0] > costs["linear"][0]
    assert costs["linear"][1] > costs["network"][1] == costs["quadratic"][1]  # validation gradients, once
