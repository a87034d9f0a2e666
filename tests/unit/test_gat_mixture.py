"""SCA's grouper: attention and mixture on affinities with known families, and the rules of soft membership."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from taskgroup_core.errors import InputError, MissingExtra
from taskgroup_core.grouping import gat_mixture
from taskgroup_core.grouping.gat_mixture import GATMixtureGrouper
from taskgroup_core.grouping.soft_groups import soft_groups

FAMILIES = np.kron(np.eye(3), np.ones((3, 3))) + 0.05 * np.random.default_rng(0).random((9, 9))


@pytest.mark.parametrize("options", [{"neighbours": 2}, {"edge_weights": True}])
def test_planted_families_come_out(options: dict[str, object]) -> None:
    found = GATMixtureGrouper(3, restarts=4, **options).fit(FAMILIES)  # type: ignore[arg-type]
    assert found.groups_ == ((0, 1, 2), (3, 4, 5), (6, 7, 8))
    assert found.served_by_ == (0, 0, 0, 1, 1, 1, 2, 2, 2) and found.labels_.tolist() == list(found.served_by_)
    assert found.embedding_.shape == (9, 18) and found.responsibilities_.shape == (9, 3)
    assert found.silhouettes_.shape == (4,) and found.silhouettes_.max() > 0.9 and "Best of 4 runs" in found.status_
    np.testing.assert_allclose(found.responsibilities_.sum(axis=1), 1)


def test_the_same_seed_gives_the_same_bits_and_leaves_the_global_generator_alone() -> None:
    state = torch.random.get_rng_state()
    first, second = (GATMixtureGrouper(2, restarts=2, epochs=5).fit(FAMILIES) for _ in range(2))
    assert np.array_equal(first.embedding_, second.embedding_)
    assert torch.equal(state, torch.random.get_rng_state())
    other = GATMixtureGrouper(2, restarts=2, epochs=5, random_state=1).fit(FAMILIES)
    assert not np.array_equal(first.embedding_, other.embedding_)


def test_training_rebuilds_the_rows_better() -> None:
    def error(epochs: int) -> float:
        found = GATMixtureGrouper(3, epochs=epochs, learning_rate=0.02, restarts=1).fit(FAMILIES)
        solution = np.linalg.lstsq(found.embedding_, FAMILIES, rcond=1e-3)[0]
        return float(((found.embedding_ @ solution - FAMILIES) ** 2).sum())

    assert error(200) < error(1)


@pytest.mark.parametrize("options", [{"neighbours": 2}, {"edge_weights": True}, {"activation": "none"}])
def test_options_change_the_embedding(options: dict[str, object]) -> None:
    plain = GATMixtureGrouper(3, restarts=1, epochs=5).fit(FAMILIES)
    other = GATMixtureGrouper(3, restarts=1, epochs=5, **options).fit(FAMILIES)  # type: ignore[arg-type]
    assert not np.allclose(plain.embedding_, other.embedding_)


def test_edges_run_from_the_most_affine_sources_to_their_target() -> None:
    affinity = np.array([[9.0, 1, 5], [2, 9, 0], [3, 4, 9]])
    edges, weights = gat_mixture._edges(affinity, 1)
    assert edges.tolist() == [[2, 0, 1], [0, 1, 2]] and weights[:, 0].tolist() == [5, 2, 4]
    assert gat_mixture._edges(affinity, None)[0].shape == (2, 6)


def test_one_group_and_as_many_groups_as_tasks() -> None:
    assert GATMixtureGrouper(1, restarts=1, epochs=1).fit(FAMILIES).groups_ == (tuple(range(9)),)
    with pytest.raises(InputError, match="one task"):
        GATMixtureGrouper(1).fit([[1.0]])
    each = GATMixtureGrouper(9, restarts=1, epochs=1, singletons="keep").fit(FAMILIES)
    assert sum(map(len, each.groups_)) == 9


def test_soft_membership_overlaps_above_the_threshold() -> None:
    responsibilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.55, 0.45], [0.1, 0.9], [0.0, 1.0]])
    soft = soft_groups(responsibilities, 0.4, "keep")
    assert soft.groups == ((0, 1, 2), (2, 3, 4)) and soft.served_by == (0, 0, 0, 1, 1)
    assert soft_groups(responsibilities, 0.5, "keep").groups == ((0, 1, 2), (3, 4))


def test_singletons_are_merged_copied_or_kept() -> None:
    responsibilities = np.array([[1.0, 0, 0], [0.9, 0.1, 0], [0, 0.8, 0.2], [0.1, 0, 0.9], [0, 0.1, 0.9]])
    assert soft_groups(responsibilities, 0.5, "keep").groups == ((0, 1), (2,), (3, 4))
    merged = soft_groups(responsibilities, 0.5, "merge")
    assert merged.groups == ((0, 1), (2, 3, 4)) and merged.served_by == (0, 0, 1, 1, 1)
    copied = soft_groups(responsibilities, 0.5, "copy")
    assert copied.groups == ((0, 1), (2, 3, 4), (3, 4)) and copied.served_by == (0, 0, 1, 2, 2)


def test_all_singletons_end_in_pairs_or_more() -> None:
    merged = soft_groups(np.eye(4) * 0.7 + 0.1, 0.5, "merge")
    assert min(map(len, merged.groups)) >= 2 and sum(map(len, merged.groups)) == 4


def test_overlapping_groups_have_no_labels() -> None:
    found = GATMixtureGrouper(3, threshold=1e-3, neighbours=2, regularisation=0.3, restarts=1).fit(FAMILIES)
    assert sum(map(len, found.groups_)) > 9 and found.labels_ is None
    sharp = GATMixtureGrouper(3, threshold=1.0, neighbours=2, regularisation=0.3, restarts=1).fit(FAMILIES)
    assert sum(map(len, sharp.groups_)) == 9 and sharp.labels_ is not None


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"n_groups": 10}, "n_groups"),
        ({"n_groups": 2, "threshold": 0}, "threshold"),
        ({"n_groups": 2, "singletons": "drop"}, "singletons"),
        ({"n_groups": 2, "neighbours": 9}, "neighbours"),
        ({"n_groups": 2, "covariance": "round"}, "covariance"),
        ({"n_groups": 2, "activation": "relu"}, "activation"),
        ({"n_groups": 2, "regularisation": -1}, "regularisation"),
        ({"n_groups": 2, "epochs": 0}, "epochs"),
        ({"n_groups": 2, "learning_rate": 0}, "learning_rate"),
        ({"n_groups": 2, "restarts": 0}, "restarts"),
        ({"n_groups": 2, "random_state": -1}, "random_state"),
    ],
)
def test_bad_arguments(options: dict[str, object], named: str) -> None:
    with pytest.raises(InputError, match=named):
        GATMixtureGrouper(**options).fit(FAMILIES)  # type: ignore[arg-type]


def test_an_absent_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "torch_geometric.nn", None)
    with pytest.raises(MissingExtra, match="graph"):
        GATMixtureGrouper(2).fit(FAMILIES)
