"""Where a result comes from: code, data, versions, device, time and memory."""

from __future__ import annotations

import platform
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

import taskgroup_core
from taskgroup_core.device import describe_device
from taskgroup_core.runs.hashes import code_hash, file_hash

PACKAGE = Path(taskgroup_core.__file__).resolve().parent
ROOT = PACKAGE.parent

# The packages whose version can change a number.
_PACKAGES = (
    *("torch", "numpy", "scipy", "scikit-learn", "pandas", "pyarrow", "networkx", "xarray"),
    *("cvxpy", "scs", "clarabel", "highspy", "joblib", "torch-geometric", "transformers", "peft", "torchjd"),
)


@dataclass
class Cost:
    """What a block of code took; filled in when the block ends.

    Parameters
    ----------
    wall_seconds : elapsed time.
    peak_memory_bytes : the process's largest resident memory so far, what came before the block included.
    peak_device_memory_bytes : the largest memory torch held on the GPU inside the block; None on a CPU.
    """

    wall_seconds: float = 0.0
    peak_memory_bytes: int = 0
    peak_device_memory_bytes: int | None = None


@contextmanager
def measured(device: torch.device | None = None) -> Iterator[Cost]:
    """Time a block and take its peak memory; on a GPU, wait for its work at both ends.

    Parameters
    ----------
    device : where the block computes; None is the CPU.
    """
    on_gpu = device is not None and device.type == "cuda"
    if on_gpu:
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
    cost = Cost()
    start = time.perf_counter()
    try:
        yield cost
    finally:
        if on_gpu:
            torch.cuda.synchronize(device)
            cost.peak_device_memory_bytes = int(torch.cuda.max_memory_allocated(device))
        cost.wall_seconds = time.perf_counter() - start
        # Linux counts kibibytes here, macOS bytes.
        unit = 1 if sys.platform == "darwin" else 1024
        cost.peak_memory_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def provenance(
    device: torch.device,
    cost: Cost,
    seeds: Mapping[str, Any] | Sequence[int] | int,
    data: Sequence[Path | str] = (),
    flops: float | None = None,
) -> dict[str, Any]:
    """The `provenance` of a `RunRecord` made now, in this process.

    Parameters
    ----------
    device : where the run computed.
    cost : from `measured`.
    seeds : the run's seed or seeds.
    data : the data files the run read.
    flops : floating-point operations of the run, None if they were not counted.

    Raises
    ------
    DataError : a data file that is not there.
    """
    commit, dirty = git_state(PACKAGE)
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "seeds": seeds,
        "git_commit": commit,
        "git_dirty": dirty,
        "code_sha256": code_hash(PACKAGE),
        "data_sha256": data_hashes(data),
        "versions": versions(),
        "device": describe_device(device),
        "platform": platform.platform(),
        "wall_seconds": cost.wall_seconds,
        "flops": flops,
        "peak_memory_bytes": cost.peak_memory_bytes,
        "peak_device_memory_bytes": cost.peak_device_memory_bytes,
    }


def data_hashes(data: Sequence[Path | str]) -> dict[str, str]:
    """File -> SHA-256; files of the checkout by their path inside it, others by their name alone.

    Parameters
    ----------
    data : paths; relative ones count from the checkout.

    Raises
    ------
    DataError : a file that is not there.
    """
    hashes = {}
    for path in data:
        file = (ROOT / path).resolve()
        hashes[file.relative_to(ROOT).as_posix() if file.is_relative_to(ROOT) else file.name] = file_hash(file)
    return hashes


def versions() -> dict[str, str]:
    """Versions of this package, of Python, of CUDA (where torch has it) and of the installed packages that matter."""
    found = {"taskgroup_core": taskgroup_core.__version__, "python": platform.python_version()}
    if torch.version.cuda:
        found["cuda"] = torch.version.cuda
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def git_state(folder: Path) -> tuple[str | None, bool | None]:
    """The commit of the checkout that holds `folder`, and whether the folder differs from it.

    (None, None) without git, outside a checkout, or where the folder is not part of it (a package installed into an
    environment that lies inside somebody's checkout).
    """

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "__init__.py")
        return git("rev-parse", "HEAD"), bool(git("status", "--porcelain", "--", "."))
    except (OSError, subprocess.CalledProcessError):
        return None, None
