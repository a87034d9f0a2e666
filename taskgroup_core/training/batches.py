"""How the rows of a subset are shared out over the steps of an epoch."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from taskgroup_core.errors import InputError
from taskgroup_core.seeds import seeded


def smallest_batch(network: nn.Module, row: Tensor) -> int:
    """2 for a network that cannot be trained on one row, as batch norm over rows cannot; else 1.

    Parameters
    ----------
    network : left unchanged.
    row : one input with shape (1, ...), on the network's device.
    """
    probe = copy.deepcopy(network).train()
    try:
        with seeded(0, "probe"), torch.no_grad():
            probe(row)
    except Exception:  # whatever a user's module raises: a batch of one row is then avoided
        return 2
    return 1


def batch_sizes(n_rows: int, batch_size: int, smallest: int) -> list[int]:
    """The rows of each step of an epoch; a last batch of fewer than `smallest` joins the one before it.

    Raises
    ------
    InputError : batches smaller than `smallest`, or a subset with fewer rows.
    """
    if min(n_rows, batch_size) < smallest:
        found = f"{batch_size} for a subset with {n_rows} labelled inputs, and a network that fails on a batch of one"
        raise InputError("batch_size", found, "Use 2 or more, and subsets with 2 labelled inputs or more.")
    steps = -(-(n_rows - smallest + 1) // batch_size)
    return [batch_size] * (steps - 1) + [n_rows - batch_size * (steps - 1)]
