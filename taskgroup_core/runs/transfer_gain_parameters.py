"""The parameters of the study of transfer gain."""

from __future__ import annotations

from dataclasses import dataclass

from taskgroup_core.errors import InputError


@dataclass(frozen=True)
class TransferGainParameters:
    """What the study is asked.

    Parameters
    ----------
    n_groups : number of groups that are chosen from the gains.
    epochs, batch_size : of the joint training along which gains are collected.
    horizons : steps of full-batch training after which pairs of tasks are compared, ascending; the last is full
        training, which measures T*.
    learning_rate : of Adam, in every training, and of the gradient steps that are tried.
    replicates : trainings of every pair, each from an initialisation of its own.
    every : intervals between two collections, in steps.
    random_groupings : groupings drawn at random to compare with.
    seed : decides everything random.

    Raises
    ------
    InputError : horizons or intervals that are not positive and ascending, or fewer than 2 replicates.
    """

    n_groups: int
    epochs: int = 30
    batch_size: int = 100
    horizons: tuple[int, ...] = (1, 3, 10, 30)
    learning_rate: float = 0.01
    replicates: int = 3
    every: tuple[int, ...] = (1, 5, 10, 25, 50, 100, 200)
    random_groupings: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("horizons", "every"):
            values = getattr(self, name)
            if not values or not all(a < b for a, b in zip((0, *values), values, strict=False)):
                raise InputError(name, str(values), "Give positive numbers of steps, each larger than the last.")
        if self.replicates < 2:
            raise InputError("replicates", str(self.replicates), "Train every pair twice or more.")
