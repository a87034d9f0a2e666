"""The parameters of the study of linearisation."""

from __future__ import annotations

from dataclasses import dataclass

from taskgroup_core.errors import InputError


@dataclass(frozen=True)
class LinearisationParameters:
    """What the study is asked.

    Parameters
    ----------
    subset_size, n_subsets : tasks in a subset, and number of random subsets.
    epochs : of theta*, of fine-tuning by the recipe and of training from scratch.
    distances : |W - theta*| / |theta*| at which the expansion is compared with the network, ascending.
    stride : length of a first step on the path, as a share of |theta*|; later steps of Adam are shorter.
    max_steps : where a path ends that has not reached the last distance.
    seed : decides everything random.

    Raises
    ------
    InputError : distances that are not positive and ascending, or a stride or number of steps that is not positive.
    """

    subset_size: int
    n_subsets: int
    epochs: int = 30
    distances: tuple[float, ...] = tuple(percent / 100 for percent in range(1, 11))
    stride: float = 0.005
    max_steps: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.distances or not all(a < b for a, b in zip((0.0, *self.distances), self.distances, strict=False)):
            raise InputError("distances", str(self.distances), "Give positive distances, each larger than the last.")
        for name in ("stride", "max_steps"):
            if not getattr(self, name) > 0:
                raise InputError(name, str(getattr(self, name)), "Use a positive number.")
