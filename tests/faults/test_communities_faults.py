import gzip

import numpy as np
import pytest

from taskgroup_core.errors import DataError, InputError
from taskgroup_core.problems.communities import (
    CommunityGraph,
    community_problem,
    largest_communities,
    select_communities,
)
from taskgroup_core.problems.snap import load_snap

EDGES = "# Undirected graph\n0\t1\n1\t2\n2\t3\n"


def graph(*communities, n_nodes=12):
    nodes = np.arange(n_nodes - 1)
    members = tuple(np.array(list(range(*c))) for c in communities)
    return CommunityGraph("path", n_nodes, np.column_stack([nodes, nodes + 1]), members, tuple("abc"[: len(members)]))


def load(folder, edges=EDGES, communities="0\t1\n2\t3\n"):
    (folder / "g.ungraph.txt").write_text(edges)
    (folder / "g.cmty.txt").write_text(communities)
    return load_snap(folder / "g.ungraph.txt", folder / "g.cmty.txt", name="g")


@pytest.mark.parametrize(
    ("edges", "line"),
    [
        ("# c\n0\t1\n1\t2\t3\n", 3),
        ("0\t1\n\n5\n", 2),
        ("0\t1\n1 2\n", 2),
        ("0\t1\n1\tx\n", 2),
        ("0\t1\n-1\t2\n", 2),
        ("0\t1\n1.5\t2\n", 2),
        (f"0\t1\n{'1' * 5000}\t2\n", 2),
        ("0\n1\n", 1),
        ("0\t1\t2\n", 1),
    ],
)
def test_a_malformed_edge_names_file_and_line(tmp_path, edges, line):
    with pytest.raises(DataError, match=rf"g\.ungraph\.txt, line {line}: found"):
        load(tmp_path, edges=edges)


@pytest.mark.parametrize("row", ["0\tx", "", "0 1", "-1", "1\t\t2", "1" * 5000])
def test_a_malformed_community_names_file_and_line(tmp_path, row):
    with pytest.raises(DataError, match=r"g\.cmty\.txt, line 2: found"):
        load(tmp_path, communities=f"0\t1\n{row}\n2\t3\n")


def test_a_community_of_unknown_nodes(tmp_path):
    with pytest.raises(DataError, match=r"line 2: found node 7, which is not in g\.ungraph\.txt"):
        load(tmp_path, communities="0\t1\n2\t7\n")


@pytest.mark.filterwarnings("ignore:loadtxt")
@pytest.mark.parametrize("empty", [{"edges": ""}, {"edges": "# only a comment\n"}, {"communities": ""}])
def test_empty_files(tmp_path, empty):
    with pytest.raises(DataError, match="found no "):
        load(tmp_path, **empty)


def test_missing_file(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        load_snap(tmp_path / "none.txt", tmp_path / "none.txt", name="g")
    with pytest.raises(DataError, match="found a folder"):
        load_snap(tmp_path, tmp_path, name="g")


@pytest.mark.parametrize("damage", ["cut", "flip", "plain"])
def test_damaged_gzip(tmp_path, damage):
    text = "".join(f"{node}\t{node + 1}\n" for node in range(5000)).encode()
    packed = bytearray(gzip.compress(text))
    if damage == "flip":
        packed[len(packed) // 2] ^= 0xFF
    content = {"cut": packed[: len(packed) // 2], "flip": packed, "plain": text}[damage]
    (tmp_path / "g.txt.gz").write_bytes(bytes(content))
    (tmp_path / "c.txt").write_text("0\t1\n")
    with pytest.raises(DataError, match=r"g\.txt\.gz"):
        load_snap(tmp_path / "g.txt.gz", tmp_path / "c.txt", name="g")


def test_binary_file(tmp_path):
    (tmp_path / "g.txt").write_bytes(bytes(range(256)))
    with pytest.raises(DataError, match="not ASCII"):
        load_snap(tmp_path / "g.txt", tmp_path / "g.txt", name="g")


@pytest.mark.parametrize("k", [0, 4])
def test_k_out_of_range(k):
    with pytest.raises(InputError, match="k: found"):
        largest_communities(graph((0, 4), (4, 8), (8, 12)), k)


@pytest.mark.parametrize(("k", "ties"), [(2, [0]), (2, [1, 2]), (2, [9])])
def test_ties_away_from_the_cut_or_too_many(k, ties):
    with pytest.raises(InputError, match="ties: found"):
        largest_communities(graph((0, 6), (4, 8), (8, 12)), k, ties=ties)


@pytest.mark.parametrize("indices", [[], [0, 0], [3], [-1]])
def test_bad_indices(indices):
    with pytest.raises(InputError, match="indices: found"):
        select_communities(graph((0, 4), (4, 8), (8, 12)), indices)


@pytest.mark.parametrize("share", ["positives", "negatives", "validation"])
@pytest.mark.parametrize("value", [0.0, 1.0, float("nan")])
def test_bad_share(share, value):
    with pytest.raises(InputError, match=f"{share}: found"):
        community_problem(graph((0, 4), (4, 8)), n_features=4, **{share: value})


@pytest.mark.parametrize(("community", "what"), [((0, 2), "2 members of 'a'"), ((0, 10), "2 non-members of 'a'")])
def test_communities_too_small_or_too_large_to_split(community, what):
    with pytest.raises(InputError, match=what):
        community_problem(graph(community), n_features=4)


@pytest.mark.parametrize(("option", "value"), [("width", 0), ("dropout", 1.5), ("dropout", float("nan"))])
def test_options_that_the_network_does_not_take(option, value):
    with pytest.raises(InputError, match=f"{option}: found"):
        community_problem(graph((0, 4), (4, 8)), n_features=4, **{option: value})


def test_more_features_than_nodes():
    with pytest.raises(InputError, match="n_features: found 128"):
        community_problem(graph((0, 4)))


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("edges", np.array([[1, 0]])),
        ("edges", np.array([[1, 1]])),
        ("edges", np.array([[0, 5]])),
        ("edges", np.array([[-1, 1]])),
        ("edges", np.array([0, 1])),
        ("communities", (np.array([0, 1]), np.array([], dtype=np.int64))),
        ("communities", (np.array([0, 1]), np.array([2, 1]))),
        ("communities", (np.array([0, 1]), np.array([1, 1]))),
        ("communities", (np.array([0, 1]), np.array([1, 5]))),
        ("names", ("a", "a")),
        ("names", ("a",)),
    ],
)
def test_graphs_that_contradict_themselves(argument, value):
    fields = {
        "name": "g",
        "n_nodes": 5,
        "edges": np.array([[0, 1]]),
        "communities": (np.array([0, 1]), np.array([1, 2])),
        "names": ("a", "b"),
    }
    with pytest.raises(InputError, match=f"{argument}: found"):
        CommunityGraph(**{**fields, argument: value})
