"""A result together with the operations it took."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from taskgroup_core.flops import count_flops

T = TypeVar("T")


def counted(function: Callable[[], T]) -> tuple[T, int]:
    """What `function` returns, and the operations torch counted in it (see `count_flops`)."""
    results: list[T] = []
    flops = count_flops(lambda: results.append(function()))
    return results[0], flops
