"""Files and names that SNAP's graphs and BlogCatalog cannot be made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import sparse
from scipy.io import savemat

from taskgroup_core.errors import DataError, InputError
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
    with pytest.raises(DataError, match=r"g\.txt, line 35001: found '1;2"):
        load_snap(tmp_path / "g.txt", tmp_path / "g.txt", name="g")
    (tmp_path / "g.txt").write_text(f"1\t{2**70}\n")
    with pytest.raises(DataError, match="ids beyond 64 bits"):
        load_snap(tmp_path / "g.txt", tmp_path / "g.txt", name="g")


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
