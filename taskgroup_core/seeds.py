"""Independent random streams from one seed, and bit-for-bit determinism."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from taskgroup_core.checks import is_whole
from taskgroup_core.errors import InputError

if TYPE_CHECKING:
    import torch


def derive(seed: int, *stream: str | int) -> int:
    """A 63-bit seed for the stream named by `stream`: different names give independent streams.

    Raises
    ------
    InputError : a seed that is negative or not an integer.
    """
    if not is_whole(seed) or seed < 0:
        raise InputError("seed", repr(seed), "Use a non-negative integer.")
    key = [zlib.crc32(str(name).encode()) for name in stream]
    state = np.random.SeedSequence(entropy=int(seed), spawn_key=key).generate_state(1, np.uint64)[0]
    return int(state) >> 1


def numpy_generator(seed: int, *stream: str | int) -> np.random.Generator:
    """A numpy generator for one named stream of `seed`."""
    return np.random.default_rng(derive(seed, *stream))


def torch_generator(seed: int, *stream: str | int) -> torch.Generator:
    """A torch generator for one named stream of `seed`: always on the CPU, because CUDA draws other numbers."""
    import torch

    return torch.Generator("cpu").manual_seed(derive(seed, *stream))


@contextmanager
def seeded(seed: int, *stream: str | int) -> Iterator[None]:
    """Run a block with torch's global generators set from one named stream; the CPU's state is put back after.

    Needed where torch offers no generator argument: the initialisation of layers, and dropout.
    """
    import torch

    devices = list(range(torch.cuda.device_count()))
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(derive(seed, *stream))
        yield
