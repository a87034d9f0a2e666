"""Files and names that SNAP's graphs and BlogCatalog cannot be made of."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse
from scipy.io import savemat

from taskgroup_core.errors import DataError, InputError
from taskgroup_core.problems import community_files
from taskgroup_core.problems.blogcatalog import load_blogcatalog
from taskgroup_core.problems.snap import load_snap
from taskgroup_core.problems.snap_graphs import snap_graph

RING = np.roll(np.eye(6), 1, axis=1) + np.roll(np.eye(6), -1, axis=1)
GROUP = np.repeat(np.eye(2), 3, axis=0)


def test_an_unknown_graph(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="name: found 'dbpl'"):
        snap_graph("dbpl", folder=tmp_path)


def test_missing_files_say_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"taskgroup data fetch snap com-lj\.ungraph\.txt\.gz"):
        snap_graph("livejournal", folder=tmp_path)
    with pytest.raises(DataError, match=r"taskgroup data fetch blogcatalog$"):
        load_blogcatalog(folder=tmp_path)


def test_a_malformed_row_far_down_names_its_line(tmp_path: Path) -> None:
    rows = ["# comment\n"] + [f"{node}\t{node + 1}\n" for node in range(40_000)]
    rows[35_000] = "1;2\n"
    (tmp_path / "g.txt").write_text("".join(rows))
    (tmp_path / "c.txt").write_text("1\t2\n")
    with pytest.raises(DataError, match=r"g\.txt, line 35001: found '1;2"):
        load_snap(tmp_path / "g.txt", tmp_path / "c.txt", name="g")
    (tmp_path / "g.txt").write_text(f"1\t{2**70}\n")
    with pytest.raises(DataError, match="ids beyond 64 bits"):
        load_snap(tmp_path / "g.txt", tmp_path / "c.txt", name="g")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"communities": [[1, 2], [2, "3"]]}', r"communities\[1\]: found '\[2, \"3\"\]'. Each community is a list of"),
        ('{"communities": [[1, 2], [true]]}', r"communities\[1\]: found '\[true\]'"),
        ('{"communities": [[1, 2], [1.0]]}', r"communities\[1\]"),
        ('{"communities": [[1, 2], []]}', r"communities\[1\]"),
        ('{"communities": [[1, 2], [-1]]}', r"communities\[1\].*Node ids are from 0"),
        (f'{{"communities": [[1, 2], [{2**63}]]}}', r"communities\[1\].*Node ids are from 0"),
        ('{"communities": [[1, 2], [2, 7]]}', r"communities\[1\]: found node 7, which is not in g\.txt"),
        ('{"communities": [[1, 2], 3]}', r"communities\[0\]: found ', 3\]\}' behind it"),
        ('{"communities": [5]}', r"communities\[0\]: found '5'"),
        ('{"communities": [[1, 2] [3]]}', r"communities\[0\]: found ' \[3\]\]\}' behind it"),
        ('{"communities": [[1, 2],]}', r"communities\[0\]: found ',\]\}' behind it"),
        ('{"communities": [[1, 2], [1, 2', r"communities\[1\]: found '\[1, 2', no JSON"),
        ('{"communities": [[1, 2]', r"communities\[0\]: found '' behind it"),
        ('{"communities": [[1, 2]], "a"}', r"no JSON around the list"),
        ('{"communities": []}', "no community"),
        ('{"communities": {"0": [1, 2]}}', "no list named communities"),
        ("[[1, 2]]", "no list named communities"),
        ('{"communities": [' + "[" * 200_000, r"communities\[0\].*no JSON"),
        ('{"communities": [[1, 2]], "a": ' + "[" * 200_000 + "]" * 200_000 + "}", "no JSON around the list"),
    ],
)
def test_a_list_of_communities_in_json_that_is_malformed(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "g.txt").write_text("1\t2\n2\t3\n")
    path = tmp_path / "c.json.gz"
    path.write_bytes(gzip.compress(text.encode()))
    with pytest.raises(DataError, match=words) as caught:
        load_snap(tmp_path / "g.txt", path, name="g")
    assert caught.value.argument.startswith(str(path))


def test_a_list_of_communities_in_json_that_is_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "g.txt").write_text("1\t2\n2\t3\n")
    path = tmp_path / "c.json.gz"
    with pytest.raises(DataError, match="no such file"):
        load_snap(tmp_path / "g.txt", path, name="g")
    whole = gzip.compress(b'{"communities": [' + b", ".join(b"[1, %d]" % (2 + k % 2) for k in range(500)) + b"]}")
    path.write_bytes(whole[:-12])
    with pytest.raises(DataError, match="a truncated or altered gzip file"):
        load_snap(tmp_path / "g.txt", path, name="g")
    path.write_bytes(whole)
    assert len(load_snap(tmp_path / "g.txt", path, name="g").communities) == 500
    monkeypatch.setattr(community_files, "LONGEST", 1000)
    monkeypatch.setattr(community_files, "PIECE", 100)
    with pytest.raises(DataError, match="more than 1,000 characters"):
        load_snap(tmp_path / "g.txt", path, name="g")


def test_a_community_with_an_id_beyond_64_bits_names_its_line(tmp_path: Path) -> None:
    (tmp_path / "g.txt").write_text("1\t2\n2\t3\n")
    (tmp_path / "c.txt").write_text(f"1\t2\n1\t{2**63}\n")
    with pytest.raises(DataError, match=r"c\.txt, line 2"):
        load_snap(tmp_path / "g.txt", tmp_path / "c.txt", name="g")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"network": RING}, "network: found no sparse matrix"),
        ({"network": sparse.csc_matrix(RING)}, "group: found no sparse matrix"),
        ({"group": sparse.csc_matrix(GROUP)}, "network: found no sparse matrix"),
        ({"network": sparse.csc_matrix(2 * RING)}, "network: found no entry, or one that is not 1"),
        ({"network": sparse.csc_matrix((6, 6))}, "network: found no entry"),
        ({"network": sparse.csc_matrix(np.triu(RING))}, "not square, symmetric"),
        ({"network": sparse.csc_matrix(RING[:, :5])}, "not square, symmetric"),
        ({"network": sparse.csc_matrix(RING + np.eye(6))}, "without loops"),
        ({"network": sparse.csc_matrix(RING), "group": sparse.csc_matrix(GROUP[:5])}, r"group: found shape \(5, 2\)"),
        ({"network": sparse.csc_matrix(RING), "group": sparse.csc_matrix(GROUP * [1, 0])}, "an empty column"),
        ({"network": sparse.csc_matrix(RING), "group": sparse.csc_matrix(GROUP * [1, 3])}, "one that is not 1"),
    ],
)
def test_matrices_of_another_form(tmp_path: Path, content: dict[str, object], words: str) -> None:
    if "group:" not in words:
        content = {"group": sparse.csc_matrix(GROUP), **content}
    savemat(tmp_path / "blogcatalog.mat", content)
    with pytest.raises(DataError, match=words):
        load_blogcatalog(folder=tmp_path)


def test_a_matrix_whose_indices_lead_out_of_it(tmp_path: Path) -> None:
    network = sparse.csc_matrix(RING)
    network.indices[5] = 10**8
    savemat(tmp_path / "blogcatalog.mat", {"network": network, "group": sparse.csc_matrix(GROUP)})
    with pytest.raises(DataError, match="network: found a damaged sparse matrix"):
        load_blogcatalog(folder=tmp_path)


def test_another_graph_in_the_data_folder_is_not_blogcatalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKGROUP_DATA", str(tmp_path))
    folder = tmp_path / "blogcatalog"
    folder.mkdir()
    savemat(folder / "blogcatalog.mat", {"network": sparse.csc_matrix(RING), "group": sparse.csc_matrix(GROUP)})
    assert load_blogcatalog(folder=folder).n_nodes == 6
    with pytest.raises(DataError, match=r"not the official file: .* bytes in place of 1,255,783"):
        load_blogcatalog()


@pytest.mark.parametrize("damage", ["text", "empty", "cut", "flip", "zeros"])
def test_damaged_matlab_files(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "blogcatalog.mat"
    savemat(path, {"network": sparse.csc_matrix(RING), "group": sparse.csc_matrix(GROUP)}, do_compression=True)
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    contents = {"text": b"no matrix\n" * 30, "empty": b"", "cut": whole[: len(whole) // 2], "flip": bytes(flipped)}
    path.write_bytes(contents.get(damage, bytes(500)))
    with pytest.raises(DataError, match=r"blogcatalog\.mat"):
        load_blogcatalog(folder=tmp_path)
