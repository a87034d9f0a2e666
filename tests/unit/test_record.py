"""Run records: what they hold, their id, and where they say they come from."""

from __future__ import annotations

import subprocess
import time
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import torch

from taskgroup_core.runs.hashes import code_hash, file_hash, modules_behind
from taskgroup_core.runs.provenance import PACKAGE, ROOT, data_hashes, git_state, measured, provenance
from taskgroup_core.runs.record import RunRecord


def make_record(**changes: object) -> RunRecord:
    record = RunRecord(
        name="toy",
        parameters={"alpha": 3, "dimensions": (50, 100), "scale": "smoke"},
        results={"distance": np.float32(0.5), "missing": float("nan"), "per_task": [1, True, None]},
        arrays={"T": np.arange(6.0).reshape(2, 3), "names": np.array(["a", "bc"]), "member": np.eye(2, dtype=bool)},
        provenance={"created": "2026-01-01T00:00:00+00:00"},
    )
    return replace(record, **changes)  # type: ignore[arg-type]


def test_values_become_json() -> None:
    record = make_record()
    assert record.parameters["dimensions"] == [50, 100]
    assert record.results == {"distance": 0.5, "missing": None, "per_task": [1, True, None]}
    assert type(record.results["distance"]) is float


def test_arrays_are_copies_that_cannot_be_written() -> None:
    source = np.zeros(3)
    record = make_record(arrays={"x": source})
    source[0] = 1.0
    assert record.arrays["x"].tolist() == [0.0, 0.0, 0.0]
    with pytest.raises(ValueError, match="read-only"):
        record.arrays["x"][0] = 1.0


def test_id_is_of_the_content_not_of_the_provenance_nor_of_the_layout() -> None:
    record = make_record()
    assert len(record.id) == 12 and int(record.id, 16) >= 0
    assert record.id == make_record(provenance={"created": "later"}).id
    turned = {name: np.asfortranarray(record.arrays[name]) for name in reversed(record.arrays)}
    turned["T"] = turned["T"].astype(">f8")
    assert record.id == make_record(arrays=turned).id


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "other"},
        {"parameters": {"alpha": 4, "dimensions": [50, 100], "scale": "smoke"}},
        {"results": {"distance": 0.5}},
        {"arrays": {"T": np.arange(6.0).reshape(3, 2)}},
        {"arrays": {"T": np.arange(6).reshape(2, 3)}},
    ],
)
def test_id_tells_different_content_apart(changes: dict[str, object]) -> None:
    assert make_record(**changes).id != make_record().id


def test_measured_takes_time_and_memory() -> None:
    with measured(torch.device("cpu")) as cost:
        block = np.ones(30_000_000)
        time.sleep(0.05)
    assert 0.05 <= cost.wall_seconds < 10
    assert block.nbytes < cost.peak_memory_bytes < 2**40
    assert cost.peak_device_memory_bytes is None


def test_measured_is_filled_in_when_the_block_fails() -> None:
    with pytest.raises(KeyError), measured() as cost:
        raise KeyError
    assert cost.wall_seconds > 0


def test_provenance_says_where_a_result_comes_from(tmp_path: Path) -> None:
    data = tmp_path / "data.csv"
    data.write_text("1,2\n")
    with measured() as cost:
        pass
    origin = provenance(torch.device("cpu"), cost, seeds=[0, 1], data=[data], flops=12.0)
    age = datetime.now().astimezone() - datetime.fromisoformat(origin["created"])
    assert timedelta(0) <= age < timedelta(minutes=1)
    assert origin["seeds"] == [0, 1] and origin["flops"] == 12.0
    assert origin["data_sha256"] == {"data.csv": file_hash(data)}
    assert origin["code_sha256"] == code_hash(PACKAGE)
    assert origin["versions"]["torch"] == torch.__version__ and origin["versions"]["numpy"] == np.__version__
    assert "CPU" in origin["device"]
    assert str(tmp_path) not in str(origin)


def test_data_of_the_checkout_goes_by_its_path_inside() -> None:
    assert list(data_hashes([Path("taskgroup_core/py.typed")])) == ["taskgroup_core/py.typed"]
    assert data_hashes([ROOT / "taskgroup_core" / "py.typed"]) == data_hashes([Path("taskgroup_core/py.typed")])


def test_file_hash_is_sha256(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    assert file_hash(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def write_package(folder: Path, **modules: str) -> Path:
    for name, text in modules.items():
        path = folder / "pkg" / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        (path.parent / "__init__.py").touch()
    return folder / "pkg"


PLAIN = "def f(x):\n    return x + 1\n"
DOCUMENTED = '''"""Doc."""


def f(x):  # why
    """More."""

    return (x
    + 1)
'''
# Python 3.12.1 parses nested format specifications differently, and 3.12 gave functions a field of their own.
TRICKY = """@property
async def f(x: int, *, w=3) -> str:
    return f"{x:>{w}} of {x!r:{w}}" "." + str(1e300 * 1j)
"""


def test_code_hash_sees_code_but_neither_comments_nor_docstrings(tmp_path: Path) -> None:
    plain = write_package(tmp_path / "a", one=PLAIN)
    documented = write_package(tmp_path / "b", one=DOCUMENTED)
    other = write_package(tmp_path / "c", one=PLAIN.replace("1", "2"))
    renamed = write_package(tmp_path / "d", two=PLAIN)
    assert code_hash(plain) == code_hash(documented)
    assert len({code_hash(package) for package in (plain, other, renamed)}) == 3


def test_code_hash_is_the_same_under_every_python(tmp_path: Path) -> None:
    # Python 3.11.7, 3.12.1 and 3.13.0 were seen to give this value.
    assert code_hash(write_package(tmp_path, one=TRICKY))[:16] == "a5092e27b9729c41"


def test_modules_behind_follows_imports(tmp_path: Path) -> None:
    package = write_package(
        tmp_path,
        run="import numpy\n\n\ndef f():\n    from pkg.sub import deep\n    from .near import x\n",
        sub__deep="import pkg.far as far\n",
        sub__unused="",
        near="from . import run\n",
        far="",
        apart="import pkg.run\n",
    )
    names = {file.relative_to(package).as_posix() for file in modules_behind(package, "pkg.run")}
    assert names == {"__init__.py", "run.py", "near.py", "far.py", "sub/__init__.py", "sub/deep.py"}


def test_git_state_of_a_checkout(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", "-C", str(tmp_path), *identity, *arguments], check=True, capture_output=True)

    package = write_package(tmp_path, one="x = 1\n")
    assert git_state(package) == (None, None)
    git("init", "-q")
    assert git_state(package) == (None, None), "an untracked package is no part of the checkout around it"
    git("add", "-A")
    git("commit", "-q", "-m", "first")
    commit, dirty = git_state(package)
    assert commit is not None and len(commit) == 40 and dirty is False
    (tmp_path / "elsewhere.txt").write_text("not the package")
    assert git_state(package) == (commit, False)
    (package / "two.py").write_text("")
    assert git_state(package) == (commit, True)
