"""The parameters of the study of the semidefinite relaxation."""

from __future__ import annotations

from dataclasses import dataclass

from taskgroup_core.errors import InputError


@dataclass(frozen=True)
class SDPParameters:
    """What the study is asked.

    Parameters
    ----------
    sizes : numbers of tasks of the planted affinities.
    group_sizes : tasks per group, s; n tasks are split into n / s groups, rounded down.
    noises : standard deviations of the noise on planted groups of height 1.
    instances : draws of the noise for each size, group size and noise.
    tolerance : the relative gap at which the solver stops.
    seed : decides the noise.

    Raises
    ------
    InputError : a parameter out of range.
    """

    sizes: tuple[int, ...] = (20, 50)
    group_sizes: tuple[int, ...] = (10, 5)
    noises: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0)
    instances: int = 5
    tolerance: float = 1e-4
    seed: int = 0

    def __post_init__(self) -> None:
        in_range = {
            "sizes": bool(self.sizes),
            "group_sizes": bool(self.group_sizes)
            and all(2 <= size <= n // 2 for size in self.group_sizes for n in self.sizes),
            "noises": bool(self.noises) and min(self.noises) >= 0,
            "instances": self.instances >= 1,
        }
        for name, fine in in_range.items():
            if not fine:
                remedy = (
                    "Give sizes, group sizes from 2 to half of every size, noises of 0 or more, 1 instance or more."
                )
                raise InputError(name, str(getattr(self, name)), remedy)
