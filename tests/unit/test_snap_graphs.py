"""SNAP's graphs and BlogCatalog: the paper's counts, their registry entries, and the memory that loading takes."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from scipy import sparse
from scipy.io import savemat

from taskgroup_core.affinity.grad_tae import GradTAE, meta_initialisations
from taskgroup_core.affinity.higher_order import higher_order_affinity
from taskgroup_core.problems.blogcatalog import blogcatalog_problem, load_blogcatalog
from taskgroup_core.problems.catalogue import catalogue
from taskgroup_core.problems.communities import (
    CommunityGraph,
    community_problem,
    largest_communities,
    select_communities,
)
from taskgroup_core.problems.inventory import check_file
from taskgroup_core.problems.snap import load_snap
from taskgroup_core.problems.snap_graphs import ALL_OF_DBLP, GRAPHS, MANY_TASKS, snap_graph, snap_problem
from taskgroup_core.runs.provenance import ROOT
from taskgroup_core.subsets import sample_subsets
from taskgroup_core.training.recipe import Recipe
from tests.memory import peak

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
needs_data = pytest.mark.skipif(not SHARED.is_dir(), reason=f"real data are missing: no folder {SHARED}")


def held_bytes(graph: CommunityGraph) -> int:
    return graph.edges.nbytes + sum(members.nbytes for members in graph.communities)


def write_snap(folder: Path, stem: str, graph: nx.Graph, communities: list[list[int]]) -> None:
    texts = {
        f"{stem}.ungraph.txt.gz": "# toy\n" + "".join(f"{u}\t{v}\n" for u, v in graph.edges),
        f"{stem}.top5000.cmty.txt.gz": "".join("\t".join(map(str, nodes)) + "\n" for nodes in communities),
    }
    for name, text in texts.items():
        (folder / name).write_bytes(gzip.compress(text.encode()))


@needs_data
@pytest.mark.parametrize("name", ["snap", "blogcatalog"])
def test_checksums_of_the_registry_are_those_of_the_files(name: str) -> None:
    known = [file for file in catalogue()[name].files if file.sha256]
    assert len(known) == {"snap": 5, "blogcatalog": 1}[name]
    assert {check_file(file, SHARED / name / file.name) for file in known} == {("right", "")}


@needs_data
def test_the_tie_of_youtube_gives_the_papers_nodes() -> None:
    path = SHARED / "snap" / GRAPHS["youtube"].communities
    with gzip.open(path, "rt") as file:
        found = [set(map(int, line.split())) for line in file]
    cut = sorted(map(len, found))[-100]
    above = set().union(*(members for members in found if len(members) > cut))
    at_cut = {line: len(above | members) for line, members in enumerate(found) if len(members) == cut}
    assert sum(len(members) > cut for members in found) == 99
    assert at_cut == {541: 16_793, 633: 16_751, 1039: 16_797, 2968: 16_739}
    assert GRAPHS["youtube"].ties == (633,)


def test_a_graph_by_name_and_its_problem(tmp_path: Path) -> None:
    planted = nx.planted_partition_graph(6, 20, 0.5, 0.02, seed=1)
    communities = [list(range(20 * i, 20 * i + 20 - i)) for i in range(6)]
    write_snap(tmp_path, "com-orkut", planted, communities)
    graph = snap_graph("orkut", n_tasks=3, folder=tmp_path)
    assert graph.name == "Orkut" and graph.sizes.tolist() == [20, 19, 18]
    inside = planted.subgraph([node for nodes in communities[:3] for node in nodes])
    assert (graph.n_nodes, len(graph.edges)) == (inside.number_of_nodes(), inside.number_of_edges())
    problem = snap_problem("orkut", n_tasks=3, folder=tmp_path, n_features=8, width=8)
    assert problem.task_names == ["community 0", "community 1", "community 2"]


def test_five_hundred_tasks(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    ring = nx.cycle_graph(800)
    communities = [sorted(generator.choice(800, 6, replace=False).tolist()) for _ in range(MANY_TASKS + 20)]
    write_snap(tmp_path, "com-orkut", ring, communities)
    problem = snap_problem("orkut", n_tasks=MANY_TASKS, folder=tmp_path, n_features=4, width=4, hops=1)
    assert problem.n_tasks == 500 and problem.network(0)(problem.inputs[:2]).shape == (2, 500)


def write_all_of_dblp(folder: Path, graph: nx.Graph, communities: list[list[int]], **more: object) -> None:
    write_snap(folder, "com-dblp", graph, [])
    text = json.dumps({"communities": communities, "algorithm": None, **more})
    (folder / ALL_OF_DBLP).write_bytes(gzip.compress(text.encode()))


def test_all_communities_of_dblp_by_name(tmp_path: Path) -> None:
    planted = nx.planted_partition_graph(6, 20, 0.5, 0.02, seed=1)
    communities = [list(range(20 * i, 20 * i + 20 - i)) for i in range(6)]
    write_all_of_dblp(tmp_path, planted, [communities[4], [*communities[0][::-1], 3, 3], communities[2]])
    graph = snap_graph("dblp-all", n_tasks=2, folder=tmp_path)
    assert graph.name == "DBLP, all communities" and graph.names == ("community 1", "community 2")
    assert graph.sizes.tolist() == [20, 18]
    write_snap(tmp_path, "com-dblp", planted, [communities[4], communities[0], communities[2]])
    text = snap_graph("dblp", n_tasks=2, folder=tmp_path)
    assert np.array_equal(graph.edges, text.edges)
    assert all(map(np.array_equal, graph.communities, text.communities))


@needs_data
def test_the_stand_in_for_orkut_has_the_counts_of_the_card() -> None:
    """All communities of DBLP, the 500 largest of them, and the memory that loading takes."""
    files = [SHARED / "snap" / name for name in (GRAPHS["dblp-all"].edges, GRAPHS["dblp-all"].communities)]
    graph, most = peak(lambda: load_snap(*files, name="DBLP"))
    assert (len(graph.communities), graph.sizes.sum()) == (13_477, 719_820)
    assert held_bytes(graph) < most < 1.6 * held_bytes(graph)
    chosen = largest_communities(graph, MANY_TASKS)
    counts = (chosen.n_nodes, chosen.n_directed_edges, int(chosen.sizes.min()), int(chosen.sizes.max()))
    assert all(f"{count:,} " in " ".join(CARD.split()) for count in counts)
    assert np.sort(graph.sizes)[-MANY_TASKS - 1] < chosen.sizes.min()  # no tie at the cut
    assert len({members.tobytes() for members in chosen.communities}) == MANY_TASKS


@needs_data
def test_five_hundred_real_tasks_train_and_have_an_affinity() -> None:
    """DBLP's communities 101 to 600 by size: as many tasks as in the paper's run on Orkut, on a graph that is cheap."""
    graph = snap_graph("dblp", n_tasks=100 + MANY_TASKS, folder=SHARED / "snap")
    graph = select_communities(graph, range(100, 100 + MANY_TASKS))
    problem = community_problem(graph, n_features=8, hops=1, width=8, positives=0.4, negatives=0.01, validation=0.05)
    meta, _ = meta_initialisations(problem, Recipe(epochs=2, batch_size=500), 1, 0, "cpu")
    estimate = GradTAE(problem, meta, dimension=4, evaluation="linear", device="cpu")
    affinity = higher_order_affinity(estimate.scores(sample_subsets(MANY_TASKS, 20, 40, 0))["negative_loss"])
    assert affinity.shape == (MANY_TASKS, MANY_TASKS)
    together = affinity.notnull().values
    assert (together == together.T).all() and MANY_TASKS < together.sum() < 40 * 20**2
    own = np.diag(affinity.values)
    # A task that nothing was learnt of has minus the logarithm of 2.
    assert np.isfinite(own).sum() > 300 and np.nanmean(own) > -np.log(2)


def test_edges_are_cleaned_as_a_set_would(tmp_path: Path) -> None:
    generator = np.random.default_rng(3)
    pairs = generator.integers(0, 400, (40_000, 2)) ** 3  # several blocks, loops, both directions, far apart ids
    (tmp_path / "g.txt").write_text("".join(f"{u}\t{v}\n" for u, v in pairs))
    (tmp_path / "c.txt").write_text("1\t8\n")
    graph = load_snap(tmp_path / "g.txt", tmp_path / "c.txt", name="g")
    number = {node: position for position, node in enumerate(sorted(set(pairs.ravel().tolist())))}
    expected = {tuple(sorted((number[u], number[v]))) for u, v in pairs.tolist() if u != v}
    assert [tuple(edge) for edge in graph.edges.tolist()] == sorted(expected)


def test_loading_takes_less_than_twice_the_graph(tmp_path: Path) -> None:
    rows = (f"{node}\t{(node + step) % 30_000}\n" for step in range(1, 11) for node in range(30_000))
    (tmp_path / "g.txt").write_text("".join(rows))
    (tmp_path / "c.txt").write_text("1\t2\t3\n")
    graph, most = peak(lambda: load_snap(tmp_path / "g.txt", tmp_path / "c.txt", name="g"))
    assert len(graph.edges) == 300_000
    assert held_bytes(graph) < most < 2 * held_bytes(graph)


@needs_data
def test_blogcatalog_has_the_published_counts_and_takes_less_than_twice_its_matrices() -> None:
    graph, most = peak(lambda: load_blogcatalog(folder=SHARED / "blogcatalog"))
    assert (graph.n_nodes, len(graph.edges), len(graph.communities)) == (10_312, 333_983, 39)
    assert (graph.sizes.sum(), graph.sizes.min(), graph.sizes.max()) == (14_476, 8, 1623)
    entries = 2 * len(graph.edges) + graph.sizes.sum()  # of both matrices: a number and an index for each
    assert most < 2 * (8 + 4) * entries


def test_blogcatalogs_format(tmp_path: Path) -> None:
    graph = nx.barbell_graph(8, 2)
    member = sparse.csc_matrix(np.eye(18)[:, :1] + (np.arange(18)[:, None] < 7) * (np.eye(18)[:, :1] == 0))
    group = sparse.hstack([member, sparse.csc_matrix((np.arange(18) > 9).astype(float)[:, None])])
    network = nx.to_scipy_sparse_array(graph, dtype=float, format="csc")
    savemat(tmp_path / "blogcatalog.mat", {"network": sparse.csc_matrix(network), "group": group})
    found = load_blogcatalog(folder=tmp_path)
    assert [tuple(edge) for edge in found.edges.tolist()] == sorted(tuple(sorted(edge)) for edge in graph.edges)
    assert [nodes.tolist() for nodes in found.communities] == [list(range(7)), list(range(10, 18))]
    assert found.names == ("group 0", "group 1")
    problem = blogcatalog_problem(folder=tmp_path, n_features=4, width=4)
    assert (problem.n_tasks, len(problem.inputs)) == (2, 18)


CARD = (ROOT / "book" / "data_communities.md").read_text(encoding="utf-8")


def card_row(name: str) -> list[str]:
    (row,) = [line for line in CARD.splitlines() if line.startswith(f"| {name} |")]
    return [cell.strip().replace(",", "") for cell in row.strip("|").split("|")][1:]


@needs_data
@pytest.mark.parametrize("name", ["amazon", "dblp", "youtube"])
def test_counts_of_the_card(name: str) -> None:
    file_name = GRAPHS[name].communities
    with gzip.open(SHARED / "snap" / file_name, "rt") as file:
        found = [tuple(sorted(map(int, line.split()))) for line in file]
    largest = sorted(found, key=len)[-100:]
    if name == "amazon":  # there the cut is no tie, and the nodes do not depend on a choice
        assert str(len(set().union(*largest))) == card_row("Amazon")[2]
    counts = [len(found), len(set(found)), len(set(largest)), f"{len(largest[0])} to {len(largest[-1])}"]
    assert card_row(f"`{file_name}`") == [str(count) for count in counts]


@needs_data
def test_the_published_subgraph_of_amazon_is_the_cards() -> None:
    folder = SHARED / "snap" / "communitygan"
    graph = load_snap(folder / "com-amazon_train.txt.gz", folder / "com-amazon.sampled.cmty.txt.gz", name="Amazon")
    assert card_row("Amazon")[2:4] == [str(graph.n_nodes), str(graph.n_directed_edges)]
    assert card_row("Amazon")[:2] == card_row("Amazon")[2:4]
    assert len({members.tobytes() for members in graph.communities}) == 61


@needs_data
def test_blogcatalogs_groups_hardly_overlap_as_the_card_says() -> None:
    graph = load_blogcatalog(folder=SHARED / "blogcatalog")
    memberships = np.bincount(np.concatenate(graph.communities), minlength=graph.n_nodes)
    told = (f"{count:,}" for count in (graph.n_nodes, len(graph.edges), memberships.sum(), (memberships == 1).sum()))
    assert all(f"{count} " in CARD for count in told)
    assert memberships.min() == 1
