"""What the package asks to be installed can be installed under that name, and what is declared is used."""

import re
import tomllib

from taskgroup_core.runs.provenance import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[<>=!~\[ ]", requirement)[0].lower() for requirement in requirements}


def test_a_missing_extra_names_an_extra_that_holds_the_package() -> None:
    asked = set()
    for path in (ROOT / "taskgroup_core").rglob("*.py"):
        asked |= set(re.findall(r'MissingExtra\("([\w-]+)", "(\w+)"\)', path.read_text(encoding="utf-8")))
    assert asked
    assert {pair for pair in asked if pair[0] not in names(EXTRAS.get(pair[1], []))} == set()


def test_the_lock_holds_every_dependency_at_one_version() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    locked = [line.split("==")[0].lower().replace("_", "-") for line in lines if not line.startswith("#")]
    wanted = names(PROJECT["dependencies"]).union(*(names(extra) for extra in EXTRAS.values()))
    assert {name for name in wanted if name not in locked} == set()
    assert len(locked) == len(set(locked))
    assert all("==" in line or line.startswith("#") for line in lines)
    assert "+" not in "".join(line for line in lines if not line.startswith("#"))
