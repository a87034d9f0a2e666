"""Memory that a call takes."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import TypeVar

Loaded = TypeVar("Loaded")


def peak(load: Callable[[], Loaded]) -> tuple[Loaded, int]:
    """What a call returns, and the most bytes that were held at a time while it ran."""
    tracemalloc.start()
    try:
        return load(), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
