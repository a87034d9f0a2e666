"""Wheels to carry to a machine without a package registry: what running an experiment needs and a bare one lacks."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from taskgroup_core.errors import InputError
from taskgroup_core.runs.provenance import ROOT

# What every GPU image with torch has; it is never carried, and what it needs is not either.
PRESENT = ("torch", "numpy", "scipy", "scikit-learn", "pandas", "pyarrow", "networkx")
CARRIED = ("xarray", "tqdm", "typer")

# pip takes a platform literally: an older one is not implied.
_PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")


def needs(names: tuple[str, ...], python: str, without: frozenset[str] = frozenset()) -> dict[str, str]:
    """Packages and all they need, as name -> version, as they are installed here.

    Parameters
    ----------
    names : what to begin with.
    python : version of Python there, such as "3.12".
    without : packages to leave out, with what only they need.

    Raises
    ------
    InputError : a package that is not installed here.
    """
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    there = {"python_version": python, "python_full_version": f"{python}.0", "platform_system": "Linux", "extra": ""}
    there |= {"sys_platform": "linux", "platform_machine": "x86_64", "os_name": "posix"}
    found: dict[str, str] = {}
    queue = [canonicalize_name(name) for name in names]
    while queue:
        name = queue.pop()
        if name in found or name in without:
            continue
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError as error:
            raise InputError("carry", f"no {name} here", "Install the package with its constraints first.") from error
        found[name] = distribution.version
        for text in distribution.requires or []:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate(there):
                queue.append(canonicalize_name(requirement.name))
    return dict(sorted(found.items()))


def carry(folder: Path | str, python: str = "3.12") -> list[Path]:
    """Download the wheels, in the versions installed here, for Linux on x86-64, and return their paths.

    Parameters
    ----------
    folder : made where it is not there.
    python : version of Python there, such as "3.12".

    Raises
    ------
    InputError : another version than of that form; pip cannot get one of them; or see `needs`.
    """
    if not re.fullmatch(r"3\.\d+", python):
        raise InputError("python", repr(python), 'Write the version with one dot, such as "3.12".')
    wanted = needs(CARRIED, python, frozenset(PRESENT))
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    pins = [f"{name}=={version}" for name, version in wanted.items()]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--python-version", python, "--implementation", "cp", "--dest", str(target)]
    for platform in _PLATFORMS:
        command += ["--platform", platform]
    constraints = ROOT / "constraints.txt"
    if constraints.exists():
        command += ["--constraint", str(constraints)]
    done = subprocess.run([*command, *pins], capture_output=True, text=True)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise InputError("carry", f"pip saying {lines[-1]!r}", "Run it where pip reaches the packages.")
    return sorted(target.glob("*.whl"))
