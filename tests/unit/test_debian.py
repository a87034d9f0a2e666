import hashlib
import importlib.util
import re
import shutil
from pathlib import Path

import networkx as nx
import numpy as np
import pandas as pd
import pytest

from taskgroup_core.errors import DataError, InputError
from taskgroup_core.problems.catalogue import find_dataset
from taskgroup_core.problems.debian import FIELDS, SMOKE_TAGS, TEACHING_TAGS, debian_problem, load_debian
from taskgroup_core.problems.inventory import check_dataset

FOLDER = Path(__file__).resolve().parents[2] / "data" / "debian"
FILES = ("nodes.parquet", "edges.parquet", "communities.parquet")


@pytest.fixture(scope="module")
def graph():
    return load_debian()


@pytest.fixture(scope="module")
def derive():
    spec = importlib.util.spec_from_file_location("derive", FOLDER / "derive.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def card_count(what):
    found = re.search(rf"^\| {re.escape(what)} \| ([\d,]+) \|$", (FOLDER / "README.md").read_text(), re.MULTILINE)
    return int(found.group(1).replace(",", ""))


@pytest.mark.parametrize("file", FILES)
def test_card_and_checksums_agree_with_the_files(file):
    digest = hashlib.sha256((FOLDER / file).read_bytes()).hexdigest()
    assert f"`{digest}`" in (FOLDER / "README.md").read_text()
    assert f"{digest}  {file}\n" in (FOLDER / "SHA256SUMS").read_text()


def test_counts_of_the_card(graph):
    assert graph.n_nodes == card_count("nodes of the 5-core's largest component")
    assert len(graph.edges) == card_count("edges there")
    assert (graph.sizes >= 100).sum() == card_count("tags with at least 100 members there")
    assert len(graph.names) == card_count("tags with at least 20 members there (kept)")
    assert graph.sizes.sum() == card_count("memberships kept")


def test_the_graph_is_a_connected_5_core(graph):
    whole = nx.Graph(graph.edges.tolist())
    assert whole.number_of_nodes() == graph.n_nodes
    assert (graph.edges[:, 0] < graph.edges[:, 1]).all()
    assert whole.number_of_edges() == len(graph.edges)
    assert min(degree for _, degree in whole.degree) >= 5
    assert nx.is_connected(whole)


def test_memberships_belong_to_packages(graph):
    names = pd.read_parquet(FOLDER / "nodes.parquet")["package"]
    assert names.is_monotonic_increasing
    kde = set(names[graph.communities[graph.names.index("suite::kde")]])
    assert "dolphin" in kde
    assert graph.sizes.min() >= 20
    assert not any(name.endswith("::TODO") for name in graph.names)


def test_sizes_can_be_bounded(graph):
    bounded = load_debian(min_members=100, max_members=400)
    expected = [name for name, size in zip(graph.names, graph.sizes, strict=True) if 100 <= size <= 400]
    assert list(bounded.names) == expected
    assert bounded.n_nodes == graph.n_nodes


def test_teaching_tags_have_partners_that_overlap_more_within_their_field(graph):
    member = np.zeros((graph.n_nodes, len(TEACHING_TAGS)))
    for column, tag in enumerate(TEACHING_TAGS):
        member[graph.communities[graph.names.index(tag)], column] = 1
    shared = member.T @ member
    overlap = shared / (shared.diagonal()[:, None] + shared.diagonal() - shared)
    field = np.repeat(range(len(FIELDS)), [len(tags) for tags in FIELDS.values()])
    same = (field[:, None] == field) & ~np.eye(len(field), dtype=bool)
    assert len(set(TEACHING_TAGS)) == 12
    assert overlap[same].mean() > 5 * overlap[field[:, None] != field].mean()


def test_problems_from_tags_and_from_a_number():
    smoke = debian_problem(SMOKE_TAGS, n_features=16, width=16, seed=1)
    assert smoke.task_names == list(SMOKE_TAGS)
    assert 500 < len(smoke.inputs) < 1000
    largest = debian_problem(3, max_members=120, n_features=16)
    assert largest.task_names == ["devel::ecma-cli", "use::configuring", "works-with::file"]


def test_the_number_of_tags_and_their_names_are_checked():
    with pytest.raises(InputError, match=r"tags: found 'suite::kdee'.*suite::kde"):
        debian_problem(["suite::kdee"])
    with pytest.raises(InputError, match="k: found 193"):
        debian_problem(193)
    with pytest.raises(InputError, match="no tag with 9000"):
        load_debian(min_members=9000)
    with pytest.raises(InputError, match="20 to 0 members"):
        load_debian(max_members=0)
    with pytest.raises(TypeError, match="n_feature"):
        debian_problem(SMOKE_TAGS, n_feature=16)


def test_missing_files_name_the_next_step(tmp_path, monkeypatch):
    monkeypatch.setenv("TASKGROUP_DATA", str(tmp_path))
    assert load_debian().n_nodes  # a data folder of the reader's does not hide what comes with the project
    (tmp_path / "debian").mkdir()
    with pytest.raises(DataError, match="TASKGROUP_DATA"):
        load_debian()
    (tmp_path / "debian").rmdir()
    shutil.copytree(FOLDER, tmp_path / "debian")
    assert load_debian().n_nodes == card_count("nodes of the 5-core's largest component")
    (tmp_path / "debian" / "edges.parquet").unlink()
    with pytest.raises(DataError, match=r"edges\.parquet: found no such file.*derive\.py"):
        load_debian()


@pytest.mark.parametrize("file", FILES)
def test_an_altered_or_truncated_file_is_refused(tmp_path, file):
    folder = shutil.copytree(FOLDER, tmp_path / "debian")
    (folder / file).write_bytes((folder / file).read_bytes()[:-1])
    with pytest.raises(DataError, match=rf"{re.escape(file)}.*SHA-256"):
        load_debian(folder=folder)


@pytest.mark.parametrize(
    ("sums", "words"),
    [
        (lambda _: b"", "found no checksum"),
        (lambda lines: b"".join(lines[:-1]), r"found no checksum of \w+\.parquet"),
        (lambda lines: b"".join(lines)[:-30], "line 3: found .* in place of a checksum and a name"),
        (lambda lines: b"\n".join(lines), "line 2: found ''"),
        (lambda _: b"abc\n", "line 1: found 'abc'"),
        (lambda _: b"\xff\xfe a\n", "not ASCII"),
    ],
    ids=["empty", "a line less", "cut", "blank line", "word", "binary"],
)
def test_a_damaged_list_of_checksums_is_refused(tmp_path, monkeypatch, sums, words):
    monkeypatch.setenv("TASKGROUP_DATA", str(tmp_path))
    folder = shutil.copytree(FOLDER, tmp_path / "debian")
    lines = sorted((folder / "SHA256SUMS").read_bytes().splitlines(keepends=True), key=lambda line: line.split()[1])
    (folder / "SHA256SUMS").write_bytes(sums(lines))
    with pytest.raises(DataError, match=words):
        load_debian()
    if "parquet" not in words:
        with pytest.raises(DataError, match=words):
            check_dataset(find_dataset("debian"))


def package(name, tag="role::program", **fields):
    lines = [f"Package: {name}", *(f"{key.replace('_', '-')}: {value}" for key, value in fields.items())]
    return "\n".join(lines + ([f"Tag: {tag}"] if tag else []))


def test_rule_on_a_small_list(derive):
    packages = [package(f"p{i}", Depends=", ".join(f"p{j}" for j in range(25) if j != i)) for i in range(25)]
    packages += [
        package("p25", "a::b,\n c::TODO", Depends="p0 (>= 1) | p1 [amd64], p2:any,\n p3", Enhances="p4, virtual"),
        package("p26", Pre_Depends="p0", Suggests="p1", Recommends="p2 | p3, untagged, p26"),  # four neighbours
        package("untagged", tag="", Depends="p0"),
        package("pair1", Depends="pair2"),
        package("pair2"),
    ]
    graph, members, counts = derive.derive("\n\n".join(packages) + "\n")
    assert set(graph) == {f"p{i}" for i in range(26)}
    assert set(graph["p25"]) == {"p0", "p1", "p2", "p3", "p4"}
    assert list(members) == ["role::program"]
    assert counts["packages with a tag"] == 29
    assert counts["edges"] == 25 * 24 // 2 + 5 + 4 + 1


def test_hubs_are_dropped_and_the_output_is_repeatable(derive, tmp_path):
    block = [package(f"p{i:03}", Depends=", ".join(f"p{(i + s) % 450:03}" for s in (1, 2, 3))) for i in range(450)]
    text = "\n\n".join([*block, package("hub", Depends=", ".join(f"p{i:03}" for i in range(450)))])
    graph, members, counts = derive.derive(text)
    assert "hub" not in graph
    assert counts["hubs dropped (more than 400 neighbours)"] == 1
    sums = [derive.write(tmp_path, graph, members) for _ in range(2)]
    assert sums[0] == sums[1]
    edges = pd.read_parquet(tmp_path / "edges.parquet")
    assert edges.dtypes.tolist() == [np.int32, np.int32]
    assert len(edges) == 3 * 450
    assert load_debian(folder=tmp_path).sizes.tolist() == [450]
