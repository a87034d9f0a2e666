"""The published numbers: files against their checksums, and what is known about them from elsewhere."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import numpy as np
import pytest

from taskgroup_core.errors import DataError, InputError
from taskgroup_core.problems.published import MATRICES, TABLES, published_matrix, published_table
from taskgroup_core.problems.registry import embedded

FOLDER = Path(__file__).resolve().parents[2] / "data" / "published"


def test_every_file_is_on_the_card_and_has_its_checksum() -> None:
    sums, card = (FOLDER / "SHA256SUMS").read_text(), (FOLDER / "README.md").read_text()
    files = sorted(FOLDER.glob("*.csv"))
    assert {file.stem for file in files} == {*MATRICES, *TABLES}
    for file in files:
        assert f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" in sums
        assert f"| `{file.name}` |" in card


@pytest.mark.parametrize("name", MATRICES)
def test_a_matrix_has_its_tasks_in_both_directions(name: str) -> None:
    matrix = published_matrix(name)
    assert matrix.dims == ("target", "source")
    assert matrix["target"].values.tolist() == matrix["source"].values.tolist()
    assert matrix.shape == ((9, 9) if name.endswith("celeba") else (5, 5))
    assert np.isfinite(matrix.values).all()


def test_the_diagonal_of_the_pair_losses_is_the_printed_single_task_row() -> None:
    # Two sources for one thing: the released notebook, and Table 9 of the paper.
    printed = published_table("printed_networks").query("table == 'TAG 9' and method == 'STL'").set_index("task")
    pairs = published_matrix("hoa_taskonomy")
    for task in "sdntk":
        assert pairs.sel(target=task, source=task).item() == printed.loc[task, "error"]


def test_printed_pairs_of_taskonomy_are_those_of_the_notebook() -> None:
    printed = published_table("printed_networks").query("table in ['TAG 10', 'TAG 11']")
    pairs, compared = published_matrix("hoa_taskonomy"), 0
    for _, network in printed.groupby(["table", "method", "network"]):
        if len(network) == 2:
            for (_, one), (_, other) in zip(network.iterrows(), network[::-1].iterrows(), strict=True):
                assert pairs.sel(target=one["task"], source=other["task"]).item() == one["error"]
                compared += 1
    assert compared == 24  # 12 networks of two tasks


def test_all_networks_of_five_tasks_are_there_on_both_splits() -> None:
    networks = published_table("standley_networks")
    for _, split in networks.groupby("split"):
        full, half = (split[split["cost"] == cost].iloc[:, 2:].notna().to_numpy() for cost in (1.0, 0.5))
        assert len(np.unique(full, axis=0)) == len(full) == 31 and full.any(axis=1).all()
        np.testing.assert_array_equal(half, np.eye(5, dtype=bool))


def test_every_task_of_a_printed_row_has_a_network() -> None:
    networks, totals = published_table("printed_networks"), published_table("printed_totals")
    rows = {key: set(rows["task"]) for key, rows in networks.groupby(["table", "method"])}
    assert set(rows) == set(totals[["table", "method"]].itertuples(index=False, name=None))
    assert all(len(tasks) in (5, 6, 9) for tasks in rows.values())
    missing = networks[networks["error"].isna()]
    unread = [f"{row.task} of the" for row in missing.itertuples()]
    card = " ".join((FOLDER / "README.md").read_text().split())
    assert len(missing) == 4 and all(re.search(words, card) for words in unread)


@pytest.mark.parametrize(("read", "name"), [(published_matrix, "celeba"), (published_table, "tag_celeba")])
def test_another_name(read, name) -> None:
    with pytest.raises(InputError, match="name"):
        read(name)


def test_an_altered_file_is_refused(tmp_path: Path) -> None:
    for file in FOLDER.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    assert published_matrix("tag_celeba", tmp_path).shape == (9, 9)
    (tmp_path / "tag_celeba.csv").write_text("target,a1\na1,1\n")
    with pytest.raises(DataError, match="tag_celeba"):
        published_matrix("tag_celeba", tmp_path)
    (tmp_path / "tag_celeba.csv").unlink()
    with pytest.raises(DataError, match="no such file"):
        published_matrix("tag_celeba", tmp_path)


def test_the_remedy_for_an_altered_folder_names_a_script_only_where_there_is_one(tmp_path: Path) -> None:
    (tmp_path / "SHA256SUMS").write_text("0" * 64 + "  a.csv\n")
    for folder in FOLDER.parent.iterdir():
        if (folder / "SHA256SUMS").is_file():
            with pytest.raises(DataError) as caught:
                embedded(folder.name, tmp_path)
            script = f", or rebuild the folder with data/{folder.name}/derive.py."
            expected = script if (folder / "derive.py").is_file() else "."
            assert caught.value.remedy == f"Restore it from version control{expected}"
    assert not (FOLDER / "derive.py").exists()
