"""The multitask learning algorithm f(S, t) of GRAD-TAG's Definition 2.1, as a protocol."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import xarray as xr

from taskgroup_core.subsets import Subsets


class MultitaskAlgorithm(Protocol):
    """Anything that answers f(S, t) for a list of subsets: real training, or an estimate of it."""

    @property
    def task_names(self) -> Sequence[str]:
        """The n task names, in the order of the columns of every membership matrix."""
        ...

    @property
    def flops(self) -> int:
        """Floating-point operations spent so far."""
        ...

    def scores(self, subsets: Subsets) -> xr.Dataset:
        """Scores of `subsets` (membership matrix with shape (m, n)): one variable per metric, see `make_scores`."""
        ...
