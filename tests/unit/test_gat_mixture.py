"""SCA's grouper: attention and mixture on affinities with known families, and the rules of soft membership."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from sklearn.metrics import silhouette_score

from taskgroup_core.errors import InputError, MissingExtra
from taskgroup_core.grouping.gat_mixture import GATMixtureGrouper
from taskgroup_core.grouping.graph_attention import attention_embeddings, standardised, task_graph
from taskgroup_core.grouping.soft_groups import membership_silhouette, soft_groups
from taskgroup_core.matrices import FloatArray

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


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"self_loops": False, "neighbours": 2},
        {"neighbours": 3, "edge_weights": True},
        {"self_loops": False, "edge_weights": True, "standardise": True},
        {"neighbours": 1, "activation": "none"},
        {"edge_weights": True, "activation": "none", "standardise": True},
    ],
)
def test_the_library_trains_to_the_same_embeddings(options: dict[str, object]) -> None:
    pytest.importorskip("torch_geometric")
    affinity = FAMILIES + 0.3 * np.random.default_rng(1).standard_normal((9, 9))
    given = {"epochs": 20, "learning_rate": 1e-2, **options}
    ours, theirs = (
        attention_embeddings(affinity, [(3, 0), (3, 1)], layers=layers, **given)  # type: ignore[arg-type]
        for layers in ("dense", "torch_geometric")
    )
    assert np.isfinite(ours).all() and ours.shape == theirs.shape == (2, 9, 18)
    np.testing.assert_allclose(theirs, ours, rtol=0, atol=1e-9)
    untrained = attention_embeddings(affinity, [(3, 0)], **{**given, "epochs": 0})  # type: ignore[arg-type]
    assert np.abs(ours[0] - untrained[0]).max() > 1e-2


def test_with_the_library_the_groups_are_the_same_and_so_are_two_runs() -> None:
    pytest.importorskip("torch_geometric")
    state = torch.random.get_rng_state()
    plain, *library = (
        GATMixtureGrouper(3, neighbours=2, restarts=2, epochs=30, layers=layers).fit(FAMILIES)
        for layers in ("dense", "torch_geometric", "torch_geometric")
    )
    assert torch.equal(state, torch.random.get_rng_state())
    assert library[0].groups_ == plain.groups_ and np.array_equal(library[0].embedding_, library[1].embedding_)
    np.testing.assert_allclose(library[0].silhouettes_, plain.silhouettes_, atol=1e-6)


def test_absent_library(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("torch_geometric", "torch_geometric.nn"):
        monkeypatch.setitem(sys.modules, name, None)
    assert GATMixtureGrouper(2, restarts=1, epochs=1).fit(FAMILIES).groups_
    with pytest.raises(MissingExtra, match=r"taskgroup_core\[graph\]"):
        GATMixtureGrouper(2, layers="torch_geometric").fit(FAMILIES)


def test_no_network_sees_another() -> None:
    alone = attention_embeddings(FAMILIES, [(5, 1)], neighbours=2, epochs=5)
    among = attention_embeddings(FAMILIES, [(5, 0), (5, 1), (6, 1)], neighbours=2, epochs=5)
    np.testing.assert_allclose(among[1:2], alone, atol=1e-6)
    assert np.abs(among[0] - among[1]).max() > 1e-2


def test_without_weights_and_on_the_complete_graph_attention_nearly_merges_the_tasks() -> None:
    def spread(points: FloatArray) -> float:
        return float(((points - points.mean(axis=0)) ** 2).sum() / (points**2).sum())

    merged, apart = (attention_embeddings(FAMILIES, [(0, 0)], neighbours=k)[0] for k in (None, 2))
    assert spread(merged) < 0.02 < 0.3 < spread(apart)


def test_standardised_rows_have_columns_of_one_scale() -> None:
    values = np.array([[1.0, 7.0, 2.0], [3.0, 7.0, -4.0], [5.0, 7.0, 100.0]])
    found = standardised(values)
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(found.std(axis=0), [1, 0, 1])
    assert np.all(np.diff(found[:, 0]) > 0)


def test_embeddings_at_hand_are_clustered_like_those_of_fit() -> None:
    grouper = GATMixtureGrouper(3, neighbours=2, restarts=2)
    whole = grouper.fit(FAMILIES).responsibilities_
    embeddings = attention_embeddings(FAMILIES, [(0, 0), (0, 1)], neighbours=2)
    assert np.array_equal(grouper.fit_embeddings(FAMILIES, embeddings).responsibilities_, whole)
    with pytest.raises(InputError, match="embeddings"):
        grouper.fit_embeddings(FAMILIES, embeddings[:1])
    with pytest.raises(InputError, match="embeddings: found NaN"):
        grouper.fit_embeddings(FAMILIES, embeddings * np.nan)


def test_the_silhouette_of_disjoint_groups_is_scikit_learns_and_overlap_costs() -> None:
    generator = np.random.default_rng(1)
    points, labels = generator.standard_normal((12, 3)), np.arange(12) % 4 % 3
    labels[0] = 3  # a group of one counts 0
    disjoint = labels[:, None] == np.arange(4)
    assert membership_silhouette(points, disjoint) == pytest.approx(silhouette_score(points, labels))
    line = np.array([[0.0], [1.0], [10.0], [11.0]])
    apart = np.array([[1, 0], [1, 0], [0, 1], [0, 1]], dtype=bool)
    shared = apart | (np.arange(4) == 1)[:, None]  # the second point is in both: it counts 0
    # The first point: a = 1 to its mate, b the mean of 1, 10 and 11. The third: a the mean of 1 and 9, b of 10 and 9.
    by_hand = (1 - 1 / (22 / 3)) + (1 - 5 / 9.5) + (1 - 5.5 / 10.5)
    assert membership_silhouette(line, apart) == pytest.approx(silhouette_score(line, [0, 0, 1, 1]))
    assert membership_silhouette(line, shared) == pytest.approx(by_hand / 4)
    assert membership_silhouette(line, np.ones((4, 2), dtype=bool)) == 0


@pytest.mark.parametrize(
    "options",
    [
        {"neighbours": 2},
        {"edge_weights": True},
        {"self_loops": False},
        {"activation": "none"},
        {"standardise": True},
    ],
)
def test_options_change_the_embedding(options: dict[str, object]) -> None:
    plain = GATMixtureGrouper(3, restarts=1, epochs=5).fit(FAMILIES)
    other = GATMixtureGrouper(3, restarts=1, epochs=5, **options).fit(FAMILIES)  # type: ignore[arg-type]
    assert not np.allclose(plain.embedding_, other.embedding_)


def test_edges_run_from_the_most_affine_sources_to_their_target() -> None:
    affinity = np.array([[9.0, 1, 5], [2, 9, 0], [3, 4, 9]])
    graph = task_graph(affinity, 1, edge_weights=True, self_loops=False)
    assert graph.edge.tolist() == [[False, False, True], [True, False, False], [False, True, False]]
    assert graph.weight is not None and np.array_equal(graph.weight[graph.edge], [5, 2, 4])
    assert np.array_equal(graph.weight.diagonal(), [5, 2, 4])  # a loop has the mean of its target's edges
    whole = task_graph(affinity, None, edge_weights=False, self_loops=True)
    assert whole.edge.all() and whole.weight is None


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


def test_every_component_with_members_makes_a_group_and_equal_groups_stay() -> None:
    # The third component is most responsible for no task, and responsible for all by 0.4.
    third = np.array([[0.5, 0.1, 0.4], [0.5, 0.1, 0.4], [0.1, 0.5, 0.4], [0.1, 0.5, 0.4]])
    soft = soft_groups(third, 0.4, "keep")
    assert soft.groups == ((0, 1), (0, 1, 2, 3), (2, 3)) and soft.served_by == (0, 0, 2, 2)
    assert soft_groups(third, 0.45, "keep").groups == ((0, 1), (2, 3))
    alike = soft_groups(np.array([[0.6, 0.4], [0.4, 0.6]]), 0.3, "keep")
    assert alike.groups == ((0, 1), (0, 1)) and alike.served_by == (0, 1)


def test_a_copy_is_of_the_group_as_it_was() -> None:
    # The first task is nearest to the second, which is alone too and nearest to the pair.
    chain = np.array([[0.6, 0.4, 0.0], [0.0, 0.6, 0.4], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    for order in (chain, chain[:, ::-1]):
        assert soft_groups(order, 0.5, "copy").groups == ((0, 1), (1, 2, 3), (2, 3))


def test_all_singletons_end_in_pairs_or_more() -> None:
    merged = soft_groups(np.eye(4) * 0.7 + 0.1, 0.5, "merge")
    assert min(map(len, merged.groups)) >= 2 and sum(map(len, merged.groups)) == 4


# Two groups on a line, and a task in the middle that wide Gaussians share.
LINE = np.array([[0.0], [0.1], [0.2], [2.6], [5.0], [5.1], [5.2]])[None]


def test_one_component_and_one_for_each_task_have_no_silhouette() -> None:
    for k in (1, 7):
        grouper = GATMixtureGrouper(k, singletons="keep", regularisation=1e-6, restarts=1)
        grouper.fit_embeddings(np.eye(7), 10 * np.eye(7)[None])
        assert len(grouper.groups_) == k and grouper.silhouettes_.tolist() == [-1]
        assert grouper.status_ == f"Best of 1 runs, no silhouette; groups: {k} of {k}."


def test_overlapping_groups_have_no_labels() -> None:
    soft = GATMixtureGrouper(2, threshold=0.1, regularisation=1.0, restarts=1).fit_embeddings(np.eye(7), LINE)
    assert soft.groups_ == ((0, 1, 2, 3), (3, 4, 5, 6)) and soft.labels_ is None
    sharp = GATMixtureGrouper(2, threshold=1.0, regularisation=1.0, restarts=1).fit_embeddings(np.eye(7), LINE)
    assert sum(map(len, sharp.groups_)) == 7 and sharp.labels_ is not None


def test_of_overlapping_groups_the_silhouette_may_be_of_all_members() -> None:
    def silhouettes(word: str) -> FloatArray:
        grouper = GATMixtureGrouper(2, threshold=0.1, silhouette=word, regularisation=1.0, restarts=1)
        return grouper.fit_embeddings(np.eye(7), LINE).silhouettes_

    assert silhouettes("served") == pytest.approx(silhouette_score(LINE[0], [0, 0, 0, 0, 1, 1, 1]), abs=0.01)
    shared = np.array([[1, 0]] * 3 + [[1, 1]] + [[0, 1]] * 3, dtype=bool)
    assert silhouettes("members") == pytest.approx(membership_silhouette(LINE[0], shared))


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"n_groups": 10}, "n_groups"),
        ({"n_groups": 2, "threshold": 0}, "threshold"),
        ({"n_groups": 2, "threshold": None}, "threshold"),
        ({"n_groups": 2, "neighbours": 1.5}, "neighbours: found 1.5. Use an integer from 1 to 8"),
        ({"n_groups": 2, "restarts": "a"}, "restarts"),
        ({"n_groups": 2, "epochs": 2.0}, "epochs"),
        ({"n_groups": 2, "learning_rate": np.inf}, "learning_rate"),
        ({"n_groups": 2, "regularisation": np.inf}, "regularisation"),
        ({"n_groups": 2, "singletons": "drop"}, "singletons"),
        ({"n_groups": 2, "neighbours": 9}, "neighbours"),
        ({"n_groups": 2, "covariance": "round"}, "covariance"),
        ({"n_groups": 2, "activation": "relu"}, "activation"),
        ({"n_groups": 2, "layers": "pyg"}, "layers"),
        ({"n_groups": 2, "silhouette": "mean"}, "silhouette"),
        ({"n_groups": 2, "self_loops": 1}, "self_loops"),
        ({"n_groups": 2, "standardise": "yes"}, "standardise"),
        ({"n_groups": 2, "edge_weights": None}, "edge_weights"),
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
