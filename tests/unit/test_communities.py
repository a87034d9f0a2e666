import gzip
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from taskgroup_core.problems.communities import (
    CommunityGraph,
    community_problem,
    largest_communities,
    select_communities,
)
from taskgroup_core.problems.snap import load_snap

SNAP = Path(__file__).resolve().parents[3] / "shared" / "data" / "snap"
needs_snap = pytest.mark.skipif(not SNAP.is_dir(), reason=f"SNAP files are missing: no folder {SNAP}")


def ring(n_nodes=70, sizes=(30, 20, 20, 10)):
    """A ring with chords; community i is a run of nodes that overlaps the next."""
    nodes = np.arange(n_nodes)
    edges = np.concatenate([np.column_stack([nodes, (nodes + step) % n_nodes]) for step in (1, 2)])
    starts = np.cumsum((0, *sizes[:-1])) - 5 * np.arange(len(sizes))
    communities = tuple(np.arange(start, start + size) for start, size in zip(starts, sizes, strict=True))
    return CommunityGraph("ring", n_nodes, np.sort(edges, axis=1), communities, tuple("abcd"[: len(sizes)]))


@needs_snap
def test_amazon_has_the_counts_of_table_3():
    folder = SNAP / "communitygan"
    graph = load_snap(folder / "com-amazon_train.txt.gz", folder / "com-amazon.sampled.cmty.txt.gz", name="Amazon")
    graph = largest_communities(graph, 100)
    assert (graph.n_nodes, graph.n_directed_edges) == (3225, 20524)
    assert (graph.sizes.min(), graph.sizes.max()) == (61, 328)


@needs_snap
def test_dblp_has_the_counts_of_table_3():
    graph = load_snap(SNAP / "com-dblp.ungraph.txt.gz", SNAP / "com-dblp.top5000.cmty.txt.gz", name="DBLP")
    assert (graph.n_nodes, len(graph.edges), len(graph.communities)) == (317_080, 1_049_866, 5000)
    graph = largest_communities(graph, 100, ties=[434, 1573, 1759, 4870])
    assert (graph.n_nodes, graph.n_directed_edges, len(graph.communities)) == (57_368, 420_122, 100)
    assert (np.diff(graph.sizes) <= 0).all()


def test_snap_files_are_relabelled_and_cleaned(tmp_path):
    (tmp_path / "g.txt").write_text("# a comment\n# Nodes: 4\n70\t5\n5\t70\n9\t9\n9\t5\n123456789012\t9\n")
    with gzip.open(tmp_path / "c.txt.gz", "wt") as file:
        file.write("123456789012\t5\n70\t5\t70\n")
    graph = load_snap(tmp_path / "g.txt", tmp_path / "c.txt.gz", name="g")
    assert graph.n_nodes == 4
    assert graph.edges.tolist() == [[0, 1], [0, 2], [1, 3]]  # ids 5, 9, 70, 123456789012
    assert [members.tolist() for members in graph.communities] == [[0, 3], [0, 2]]
    assert graph.names == ("community 0", "community 1")
    assert graph.n_directed_edges == 6


def test_selection_is_the_induced_subgraph():
    graph = ring()
    chosen = select_communities(graph, [3, 1])
    union = np.union1d(graph.communities[3], graph.communities[1])
    expected = {(u, v) for u, v in graph.edges.tolist() if u in union and v in union}
    assert {tuple(union[list(edge)]) for edge in chosen.edges} == expected
    assert chosen.names == ("d", "b")
    assert [union[members].tolist() for members in chosen.communities] == [
        graph.communities[3].tolist(),
        graph.communities[1].tolist(),
    ]


def test_ties_at_the_cut():
    graph = ring()
    assert largest_communities(graph, 2).names == ("a", "b")
    assert largest_communities(graph, 2, ties=[2]).names == ("a", "c")
    assert largest_communities(graph, 3, ties=[2]).names == ("a", "b", "c")
    assert largest_communities(graph, 4).names == ("a", "b", "c", "d")


def problem(graph, **options):
    return community_problem(graph, n_features=8, width=16, **options)


def test_splits_have_the_shares_of_the_paper():
    graph = ring(n_nodes=600, sizes=(300, 100))
    made = problem(graph)
    for task, size in enumerate(graph.sizes):
        counts = {}
        for split in ("train", "val", "test"):
            label = getattr(made, split).of_tasks([task]).label
            counts[split] = (int(label.sum()), int((1 - label).sum()))
        outside = 600 - size
        assert counts["train"] == (round(0.1 * size), round(0.1 * outside))
        assert counts["val"] == (round(0.18 * size), round(0.18 * outside))
        assert counts["test"] == (round(0.72 * size), round(0.72 * outside))


def test_every_pair_is_in_one_split_with_the_right_label():
    graph = ring()
    made = problem(graph)
    seen = np.full((70, 4), np.nan)
    for split in ("train", "val", "test"):
        rows = getattr(made, split)
        assert np.isnan(seen[rows.input_index, rows.task_index]).all()
        seen[rows.input_index, rows.task_index] = rows.label
    expected = np.zeros((70, 4))
    for task, members in enumerate(graph.communities):
        expected[members, task] = 1
    assert np.array_equal(seen, expected)


def test_a_split_does_not_depend_on_the_other_tasks_or_their_order():
    graph = ring()
    fewer = CommunityGraph("ring", 70, graph.edges, graph.communities[2:0:-1], graph.names[2:0:-1])
    both, alone = problem(graph, seed=5), problem(fewer, seed=5)
    for split in ("train", "val", "test"):
        a, b = getattr(both, split).of_tasks([1]), getattr(alone, split).of_tasks([1])
        assert torch.equal(a.input_index, b.input_index)


def test_inputs_are_standardised_hops_and_the_network_reads_them():
    made = problem(ring(), hops=2)
    assert made.inputs.shape == (70, 3, 8)
    assert made.inputs.dtype == torch.float32
    assert made.inputs.mean(dim=0).abs().max() < 1e-5
    assert (made.inputs.std(dim=0, correction=0) - 1).abs().max() < 1e-4
    assert made.network(0).eval()(made.inputs).shape == (70, 4)


def test_a_constant_feature_stays_constant():
    regular = problem(ring(n_nodes=20, sizes=(9, 9)))  # its leading eigenvector is constant, but for rounding
    spread = regular.inputs.std(dim=0, correction=0)
    assert spread[:, 0].max() < 0.05
    assert spread[:, 1:].flatten().tolist() == pytest.approx([1] * 28, abs=1e-4)


def test_the_paper_s_network_has_the_paper_s_parameters():
    sizes = (3,) * 100
    graph = CommunityGraph(
        "many",
        300,
        np.column_stack([np.arange(299), np.arange(1, 300)]),
        tuple(np.arange(3 * i, 3 * i + 3) for i in range(len(sizes))),
        tuple(f"c{i}" for i in range(len(sizes))),
    )
    network = community_problem(graph).network(0)
    assert sum(parameter.numel() for parameter in network.parameters()) == 683_370


def test_same_seed_same_problem_and_it_pickles():
    first, second = problem(ring(), seed=1), pickle.loads(pickle.dumps(problem(ring(), seed=1)))
    assert torch.equal(first.inputs, second.inputs)
    assert torch.equal(first.train.input_index, second.train.input_index)
    for a, b in zip(first.network(3).parameters(), second.network(3).parameters(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(first.train.input_index, problem(ring(), seed=2).train.input_index)
