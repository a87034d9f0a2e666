"""A bare GPU machine imports the whole package and runs its command line without the packages of book and solvers."""

from __future__ import annotations

import subprocess
import sys

import pytest

from taskgroup_core.runs.carry import CARRIED, PRESENT, needs
from taskgroup_core.runs.provenance import ROOT

# What is installed there or carried there; everything else that is installed here is hidden.
PROGRAM = """
import importlib, pkgutil, sys
from importlib.machinery import PathFinder
from importlib.metadata import packages_distributions
from packaging.utils import canonicalize_name

allowed = set(sys.argv[1].split(","))
owners = packages_distributions()

class Bare(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        here = owners.get(name.partition(".")[0], [])
        if here and not allowed & {canonicalize_name(owner) for owner in here}:
            return None
        return super().find_spec(name, path, target)

sys.meta_path[:] = [Bare if finder is PathFinder else finder for finder in sys.meta_path]
for module in [name for name in sys.modules if name.partition(".")[0] == "packaging"]:
    del sys.modules[module]
"""
WALK = """
import taskgroup_core
names = [module.name for module in pkgutil.walk_packages(taskgroup_core.__path__, "taskgroup_core.")]
for name in names:
    if name != "taskgroup_core.__main__":
        importlib.import_module(name)
print(len(names))
"""


@pytest.fixture(scope="module")
def allowed() -> str:
    return ",".join(["taskgroup-core", *needs((*PRESENT, *CARRIED), "3.12")])


def run_bare(allowed: str, program: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PROGRAM + program, allowed]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize(
    "absent",
    ["cvxpy", "papermill", "nbformat", "nbclient", "matplotlib", "seaborn", "jupyter_core", "sphinx", "IPython"],
)
def test_the_bare_machine_of_these_tests_lacks(allowed: str, absent: str) -> None:
    done = run_bare(allowed, f"import {absent}")
    assert f"ModuleNotFoundError: No module named '{absent}'" in done.stderr


def test_every_module_can_be_imported(allowed: str) -> None:
    done = run_bare(allowed, WALK)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 20


def test_the_plan_can_be_printed(allowed: str) -> None:
    done = run_bare(allowed, "sys.argv[1:] = ['record', '--plan']\nfrom taskgroup_core.cli import app\napp()")
    assert done.returncode == 0, done.stderr
    assert "grad_tag_debian_paper" in done.stdout


def test_the_tree_is_small_enough_to_travel() -> None:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("no git checkout here, so what would travel is not known")
    files = [ROOT / name for name in listed.stdout.split("\0") if name]
    assert sum(file.stat().st_size for file in files if file.is_file()) < 50 * 2**20, "64 MiB less the carried wheels"
