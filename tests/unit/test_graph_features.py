import networkx as nx
import numpy as np
import pytest

from taskgroup_core.errors import InputError
from taskgroup_core.problems.graph_features import check_edges, hop_features, pagerank_features

GRAPH = nx.connected_watts_strogatz_graph(40, 6, 0.3, seed=1)
EDGES = np.array(GRAPH.edges)
DENSE = nx.to_numpy_array(GRAPH, nodelist=range(40))


def similarity(alpha):
    scale = np.diag(DENSE.sum(axis=1) ** -0.5)
    return (1 - alpha) * np.linalg.inv(np.eye(40) - alpha * scale @ DENSE @ scale)


def test_all_columns_rebuild_personalised_pagerank():
    features = pagerank_features(EDGES, 40, n_features=40)
    assert np.abs(features @ features.T - similarity(0.85)).max() < 1e-3  # the tolerance of the power iteration


def test_pagerank_of_networkx_is_the_same_similarity():
    features = pagerank_features(EDGES, 40, n_features=40, alpha=0.6).astype(np.float64)
    rank = nx.pagerank(GRAPH, alpha=0.6, personalization={3: 1.0}, tol=1e-12)
    degree = DENSE.sum(axis=1)
    ours = features[3] @ features.T * np.sqrt(degree / degree[3])
    assert ours == pytest.approx([rank[node] for node in range(40)], abs=1e-3)


def test_few_columns_are_close_to_the_best_approximation():
    features = pagerank_features(EDGES, 40, n_features=8).astype(np.float64)
    values = np.sort(np.linalg.eigvalsh(similarity(0.85)))[::-1]
    best = np.sqrt((values[8:] ** 2).sum())
    assert np.linalg.norm(features @ features.T - similarity(0.85)) < 1.01 * best


def test_features_depend_on_the_seed_only_through_the_sketch():
    first, again = (pagerank_features(EDGES, 40, n_features=8, seed=3) for _ in range(2))
    assert np.array_equal(first, again)
    other = pagerank_features(EDGES, 40, n_features=8, seed=4)
    assert not np.array_equal(first, other)
    assert first[:, 0] == pytest.approx(other[:, 0], abs=1e-3)  # the leading eigenvector, with its sign
    assert (first[np.abs(first).argmax(axis=0), np.arange(8)] > 0).all()


def test_hops_are_powers_of_the_normalised_adjacency_with_loops():
    features = np.random.default_rng(0).standard_normal((40, 5))
    loops = DENSE + np.eye(40)
    scale = np.diag(loops.sum(axis=1) ** -0.5)
    operator = scale @ loops @ scale
    hops = hop_features(EDGES, 40, features, 3)
    assert hops.shape == (40, 4, 5)
    for hop in range(4):
        assert hops[:, hop] == pytest.approx(np.linalg.matrix_power(operator, hop) @ features, abs=1e-6)


def test_an_isolated_node_keeps_its_features_and_reaches_nobody():
    hops = hop_features([[0, 1]], 3, np.eye(3), 2)
    assert hops[2, 2].tolist() == [0, 0, 1]
    features = pagerank_features([[0, 1]], 3, n_features=3)
    assert np.abs(features[2] @ features[:2].T).max() < 1e-6


def test_edges_are_put_in_order():
    assert check_edges([[3, 1], [0, 2]], 4).tolist() == [[0, 2], [1, 3]]


@pytest.mark.parametrize(
    ("edges", "found"),
    [
        ([[0, 1, 2]], "shape"),
        ([[0.0, 1.0]], "float64"),
        ([[0, 9]], "nodes 0 to 9"),
        ([[-1, 1]], "nodes -1"),
        ([[1, 1]], "itself"),
        ([[0, 1], [1, 0]], "twice"),
    ],
)
def test_bad_edges(edges, found):
    with pytest.raises(InputError, match=found):
        check_edges(edges, 3)


@pytest.mark.parametrize("bad", [{"n_features": 0}, {"n_features": 41}, {"alpha": 0.0}, {"alpha": 1.0}])
def test_bad_pagerank_arguments(bad):
    with pytest.raises(InputError, match=next(iter(bad))):
        pagerank_features(EDGES, 40, **{"n_features": 8, **bad})


@pytest.mark.parametrize(
    ("features", "hops", "found"),
    [(np.ones((39, 2)), 1, "features"), (np.full((40, 2), np.nan), 1, "NaN"), (np.ones((40, 2)), -1, "hops")],
)
def test_bad_hop_arguments(features, hops, found):
    with pytest.raises(InputError, match=found):
        hop_features(EDGES, 40, features, hops)
