"""What may be done to the parameters' update after a regression, as GRAD-TAG's released code does."""

from __future__ import annotations

import torch
from torch import Tensor

from taskgroup_core.errors import InputError
from taskgroup_core.gradients.flat import FlatNetwork


def changed(flat: FlatNetwork, updates: Tensor, frozen_heads: bool, norm: float | None) -> Tensor:
    """The updates without their part in the last child module, and rescaled, where that is asked for.

    Parameters
    ----------
    flat : network with p parameters.
    updates : W - theta* of some subsets, with shape (m, p).
    frozen_heads : see `head_entries`.
    norm : the length that every update gets, as a share of |theta*|; None leaves it.

    Raises
    ------
    InputError : see `head_entries`.
    """
    if frozen_heads:
        updates = updates.masked_fill(head_entries(flat), 0.0)
    if norm is None:
        return updates
    length = updates.norm(dim=1, keepdim=True).clamp_min(torch.finfo(updates.dtype).tiny)
    rescaled: Tensor = updates * (norm * flat.theta.norm() / length)
    return rescaled


def head_entries(flat: FlatNetwork) -> Tensor:
    """Which of the p parameters belong to the child module that was registered last, boolean with shape (p,).

    Raises
    ------
    InputError : a network all of whose parameters are in one child module.
    """
    inside = torch.zeros_like(flat.theta, dtype=torch.bool)
    named = flat.unflatten(inside)
    last = list(named)[-1].partition(".")[0]
    for name, entries in named.items():
        if name.partition(".")[0] == last:
            entries.fill_(True)
    if inside.all() or "." not in list(named)[-1]:
        raise InputError("frozen_heads", "a network of one child module", "Use it where heads follow an encoder.")
    return inside
