"""Where the computation runs: one `device` argument, "auto", "cpu" or "cuda"."""

from __future__ import annotations

import platform

import torch

from taskgroup_core.errors import InputError


def resolve_device(device: str | torch.device = "auto") -> torch.device:
    """Turn "auto", "cpu", "cuda" or "cuda:N" into a torch device; "auto" takes a GPU where there is one.

    Raises
    ------
    InputError : an unknown name, or "cuda" where torch sees no GPU.
    """
    name = str(device)
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.split(":")[0] not in ("cpu", "cuda"):
        raise InputError("device", repr(name), 'Use "auto", "cpu" or "cuda".')
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise InputError("device", f"{name!r}, but torch sees no GPU here", 'Use "auto" or "cpu".')
    return torch.device(name)


def describe_device(device: torch.device) -> str:
    """The device in words, for run records."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return f"{platform.machine()} CPU, {torch.get_num_threads()} threads"
