"""Checks of the options that networks share."""

from __future__ import annotations

from taskgroup_core.errors import InputError


def check_dropout(value: float) -> None:
    """Check a probability of dropping a neuron.

    Raises
    ------
    InputError : one that is not from 0, below 1.
    """
    if not 0 <= value < 1:
        raise InputError("dropout", repr(value), "Use a probability from 0, below 1.")
