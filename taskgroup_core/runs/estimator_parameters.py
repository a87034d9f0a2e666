"""The parameters of the study that judges all affinity estimators."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from taskgroup_core.errors import InputError
from taskgroup_core.training.recipe import Recipe


@dataclass(frozen=True)
class EstimatorParameters:
    """What the study is asked.

    Parameters
    ----------
    epochs, learning_rate, batch_size : of every full training, and of the joint trainings of the estimators.
    replicates : of T*, R, three or more: an estimate from trainings is judged by the others.
    exhaustive : train all 2^n - 1 subsets and not only the pairs: gives the higher-order affinity over all of them,
        HOA, BoostMTL and the regret.
    n_groups : k, for the regret.
    seeds : runs of each cheap estimator; means of 2, 4, ... of them are judged too.
    short_replicates : replicates of the shortened trainings, R at most.
    every : steps between two collections of TAG, transfer gain and cosine.
    samples : N of SCA.
    dimension, C : of GRAD-TAE; it has one meta-initialisation a seed.
    runs : of single cheap estimators where there should not be `seeds`, as for one that costs much; 0 leaves it out.
    size : of BoostMTL's subsets.
    shares : of all pairs, that the surrogate is given; each in (0, 1].
    short : (epochs, batch_size) of the shortened trainings of all pairs.
    seed : decides everything random.
    """

    epochs: int = 30
    learning_rate: float = 0.01
    batch_size: int = 1000
    replicates: int = 4
    exhaustive: bool = False
    n_groups: int = 2
    seeds: int = 2
    short_replicates: int = 2
    every: int = 2
    samples: int = 100
    dimension: int = 100
    C: float = 0.01
    runs: Mapping[str, int] = field(default_factory=dict)
    size: int = 3
    shares: tuple[float, ...] = (0.1, 0.2, 0.4, 0.7, 1.0)
    short: tuple[tuple[int, int], ...] = ((3, 1000), (3, 33))
    seed: int = 0

    def __post_init__(self) -> None:
        if self.replicates < 3:
            raise InputError("replicates", str(self.replicates), "Use 3 or more: one is judged by the others' mean.")
        if self.seeds < 1:
            raise InputError("seeds", str(self.seeds), "Run every estimator at least once.")
        if not 1 <= self.short_replicates <= self.replicates:
            found, remedy = str(self.short_replicates), f"Use 1 to {self.replicates}, the number of replicates."
            raise InputError("short_replicates", found, remedy)
        if not all(0 < share <= 1 for share in self.shares):
            raise InputError("shares", str(self.shares), "Use shares above 0, and 1 at most.")

    @property
    def recipe(self) -> Recipe:
        """Of a full training."""
        return Recipe(epochs=self.epochs, learning_rate=self.learning_rate, batch_size=self.batch_size)
