"""Records, files and hashes given bad input: one clear error each."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from taskgroup_core.errors import DataError, InputError
from taskgroup_core.runs.checkpoint import Checkpoint
from taskgroup_core.runs.hashes import code_hash, file_hash, modules_behind
from taskgroup_core.runs.provenance import Cost, provenance
from taskgroup_core.runs.record import RunRecord, json_hash
from taskgroup_core.runs.store import load, save


def make_record(**changes: Any) -> RunRecord:
    fields = {"name": "toy", "parameters": {}, "results": {"f1": 0.5}, "arrays": {"x": np.ones(3)}, "provenance": {}}
    return RunRecord(**{**fields, **changes})


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "../up", "a b", "-x", "é", None, 3])
def test_name_that_is_no_file_name(name: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="name: found"):
        make_record(name=name)
    with pytest.raises(InputError, match="name: found"):
        load(tmp_path, name)


@pytest.mark.parametrize(
    ("results", "where"),
    [
        ({"f1": float("inf")}, r"results\['f1'\]"),
        ({"f1": [1.0, -np.inf]}, r"results\['f1'\]\[1\]"),
        ({"f1": {"a": np.ones(2)}}, r"results\['f1'\]\['a'\].*ndarray"),
        ({"f1": 1j}, "complex"),
        ({"f1": Path("x")}, "Path"),
        ({"f1": {1: 0.5}}, r"results\['f1'\].*the key 1"),
        ({"text": "half \ud800"}, r"results\['text'\].*without surrogates"),
        ({"\udfff": 1}, "results: found the key.*without surrogates"),
    ],
)
def test_results_that_json_cannot_hold(results: dict[str, Any], where: str) -> None:
    with pytest.raises(InputError, match=where):
        make_record(results=results)


@pytest.mark.parametrize(
    "array",
    [
        np.array([None, 1]),
        np.array(["2026-01-01"], dtype="datetime64[D]"),
        np.array([b"x"]),
        np.zeros(2, "i4,f8"),
        [[1], [1, 2]],
    ],
)
def test_arrays_of_other_things_than_numbers_and_text(array: Any) -> None:
    with pytest.raises(InputError, match=r"arrays\['x'\]"):
        make_record(arrays={"x": array})


@pytest.mark.parametrize("name", ["", " ", "a/b", "a\\b", "a\n", 3])
def test_array_name_that_no_archive_takes(name: Any) -> None:
    with pytest.raises(InputError, match="arrays: found the name"):
        make_record(arrays={name: np.ones(2)})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save(make_record(), tmp_path)
    return tmp_path


def test_missing_record(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such record"):
        load(tmp_path, "toy")


def test_missing_arrays(folder: Path) -> None:
    (folder / "toy.npz").unlink()
    with pytest.raises(DataError, match=r"toy\.npz: found no such file"):
        load(folder, "toy")


@pytest.mark.parametrize("suffix", [".json", ".npz"])
def test_truncated_file(folder: Path, suffix: str) -> None:
    path = folder / f"toy{suffix}"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=rf"toy\{suffix}"):
        load(folder, "toy")


def test_altered_arrays(folder: Path, tmp_path: Path) -> None:
    save(make_record(arrays={"x": np.zeros(3)}), tmp_path / "other")
    (folder / "toy.npz").write_bytes((tmp_path / "other" / "toy.npz").read_bytes())
    with pytest.raises(DataError, match=r"toy\.npz.*checksum"):
        load(folder, "toy")


@pytest.mark.parametrize(
    ("before", "after"), [('"f1": 0.5', '"f1": 0.6'), ('"provenance": {', '"provenance": {"a": 1')]
)
def test_number_typed_by_hand(folder: Path, before: str, after: str) -> None:
    path = folder / "toy.json"
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))
    with pytest.raises(DataError, match="checksum"):
        load(folder, "toy")


@pytest.mark.parametrize("text", ["[]", "{}", '{"format": "1"}', "null", "\x00"])
def test_json_that_is_no_record(folder: Path, text: str) -> None:
    (folder / "toy.json").write_text(text)
    with pytest.raises(DataError, match=r"toy\.json"):
        load(folder, "toy")


def test_json_that_no_run_writes(folder: Path) -> None:
    path = folder / "toy.json"
    path.write_text(path.read_text().replace('"f1": 0.5', '"f1": NaN'))
    with pytest.raises(DataError, match=r"toy\.json.*checksum"):
        load(folder, "toy")
    path.write_text("[" * 200_000)
    with pytest.raises(DataError, match=r"toy\.json.*no readable JSON"):
        load(folder, "toy")


def test_newer_format(folder: Path) -> None:
    path = folder / "toy.json"
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "format": 2}))
    with pytest.raises(DataError, match=r"format 2.*update"):
        load(folder, "toy")


def test_arrays_with_objects_are_never_unpickled(folder: Path) -> None:
    np.savez(folder / "toy.npz", x=np.array([print], dtype=object))
    path = folder / "toy.json"
    document = json.loads(path.read_text())
    document.pop("sha256")
    document["arrays"]["sha256"] = file_hash(folder / "toy.npz")
    path.write_text(json.dumps({**document, "sha256": json_hash(document)}))
    with pytest.raises(DataError, match="no readable archive"):
        load(folder, "toy")


def test_an_unreadable_record_is_replaced_by_a_new_one(folder: Path) -> None:
    (folder / "toy.json").write_text("cut")
    (folder / "toy.npz.new").write_text("left over")
    save(make_record(results={"f1": 0.7}), folder)
    assert load(folder, "toy").results == {"f1": 0.7}


def full(handle: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_leaves_the_old_record(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: .*toy\.npz\.new"):
        save(make_record(results={"f1": 0.7}), folder)
    assert load(folder, "toy").results == {"f1": 0.5}
    assert sorted(file.name for file in folder.iterdir()) == ["toy.json", "toy.npz"]


def test_a_folder_in_the_place_of_a_record(tmp_path: Path) -> None:
    (tmp_path / "toy.json").mkdir()
    with pytest.raises(OSError, match=r"Is a directory: .*toy\.json"):
        save(make_record(), tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["toy.json"]


def test_every_damaged_byte_of_a_slice_is_harmless_or_a_data_error(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path, "key")
    checkpoint.put("a", x=np.arange(300) % 7, y=np.random.default_rng(0).random(40))
    whole = checkpoint.get("a")
    path = tmp_path / "a.npz"
    content, refused = path.read_bytes(), 0
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 1 + place % 255
        path.write_bytes(damaged)
        try:
            found = checkpoint.get("a")
        except DataError:
            refused += 1
        else:
            assert found is None or all(np.array_equal(found[name], whole[name]) for name in whole)
    assert refused > len(content) / 2


def test_a_folder_in_the_place_of_a_slice(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    checkpoint = Checkpoint(tmp_path / "run", "key")
    (tmp_path / "run" / "a.npz").mkdir()
    with pytest.raises(DataError, match=r"a\.npz: found Is a directory\. Delete it"):
        checkpoint.get("a")


def test_damaged_slice(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path, "key")
    checkpoint.put("a", x=np.arange(100.0))
    path = tmp_path / "a.npz"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"a\.npz.*Delete it"):
        checkpoint.get("a")
    content = bytearray(path.read_bytes())
    content[:60] = bytes(60)
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"a\.npz.*Delete it"):
        checkpoint.get("a")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"key": "key"}', '{"key": "key", "sessions": 3}', "[" * 200_000])
def test_damaged_description_of_a_checkpoint(tmp_path: Path, text: str) -> None:
    Checkpoint(tmp_path, "key").put("a", x=np.ones(2))
    (tmp_path / "checkpoint.json").write_text(text)
    with pytest.raises(DataError, match="--restart"):
        Checkpoint(tmp_path, "key")
    assert Checkpoint(tmp_path, "key", restart=True).names == []


@pytest.mark.parametrize("name", ["", "a/b", ".x"])
def test_slice_name_that_is_no_file_name(tmp_path: Path, name: str) -> None:
    checkpoint = Checkpoint(tmp_path, "key")
    with pytest.raises(InputError, match="name"):
        checkpoint.put(name, x=np.ones(2))
    with pytest.raises(InputError, match="name"):
        checkpoint.get(name)


def test_slice_of_objects(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="arrays"):
        Checkpoint(tmp_path, "key").put("a", x=np.array([object()]))


def test_hash_of_a_file_that_is_not_there(tmp_path: Path) -> None:
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(DataError, match="Restore the file"):
            file_hash(path)
    with pytest.raises(DataError, match=r"none\.csv"):
        provenance(torch.device("cpu"), Cost(), 0, data=[tmp_path / "none.csv"])


def test_hash_of_code_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no \.py file"):
        code_hash(tmp_path)
    (tmp_path / "one.py").write_text("def f(:\n")
    with pytest.raises(DataError, match=r"one\.py"):
        code_hash(tmp_path)
    with pytest.raises(InputError, match="entry"):
        modules_behind(tmp_path, f"{tmp_path.name}.two")
    with pytest.raises(InputError, match="entry"):
        modules_behind(tmp_path, "elsewhere.one")
