"""The parameters of the study of SCA's scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from taskgroup_core.errors import InputError


@dataclass(frozen=True)
class SampleConvergenceParameters:
    """What the study is asked.

    Parameters
    ----------
    samples, inputs : N and the kind of inputs, of `SampleConvergenceAffinity`.
    initialisations : networks whose scores are compared, all on the same samples.
    epochs, moments : joint training of all tasks, and at how many moments after the start it is asked for scores.
    rounds, outer_rates : Reptile's, one training an outer rate, asked at as many moments.
    replicates : trainings of every pair of tasks for T*, 2 or more.
    seed : decides all draws.

    Raises
    ------
    InputError : a number below the least that makes sense.
    """

    samples: int = 100
    inputs: Literal["same", "own"] = "same"
    initialisations: int = 5
    epochs: int = 30
    moments: int = 5
    rounds: int = 10
    outer_rates: tuple[float, ...] = (0.001, 1.0)
    replicates: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        least = {"initialisations": 2, "epochs": 1, "moments": 1, "rounds": 1, "replicates": 2}
        for name, number in least.items():
            if not getattr(self, name) >= number:
                raise InputError(name, str(getattr(self, name)), f"Use {number} or more.")
