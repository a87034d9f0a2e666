"""The parameters of the study that sets weightings of the losses against groups of tasks."""

from __future__ import annotations

from dataclasses import dataclass, replace

from taskgroup_core.errors import InputError
from taskgroup_core.training.grad_norm import GradNorm
from taskgroup_core.training.recipe import Recipe
from taskgroup_core.training.weighting import WEIGHTINGS, Weighting, make_weighting


@dataclass(frozen=True)
class BaselineParameters:
    """What the study is asked.

    Parameters
    ----------
    epochs, batch_size, learning_rate : of Adam, in every training.
    replicates : trainings of every network.
    splits : numbers of networks k that the grouping methods may use.
    alphas : of GradNorm, from which the validation examples choose.
    random : random partitions for each k.
    every : steps between two collections of TAG, transfer gain and cosine.
    alpha, m : size and number of GRAD-TAG's subsets.
    dimension, C : of its regressions.
    restarts : of SCA's grouper.
    seed : decides everything random.

    Raises
    ------
    InputError : fewer than 2 replicates, or no split, alpha or random partition.
    """

    epochs: int = 30
    batch_size: int = 500
    learning_rate: float = 0.01
    replicates: int = 5
    splits: tuple[int, ...] = (2, 3)
    alphas: tuple[float, ...] = (0.5, 1.5, 3.0)
    random: int = 5
    every: int = 10
    alpha: int = 4
    m: int = 200
    dimension: int = 100
    C: float = 1.0
    restarts: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        if self.replicates < 2:
            raise InputError("replicates", str(self.replicates), "Train every network twice or more.")
        for name in ("splits", "alphas"):
            if not getattr(self, name):
                raise InputError(name, "none", "Give at least one.")
        if self.random < 1:
            raise InputError("random", str(self.random), "Draw one or more.")

    @property
    def recipe(self) -> Recipe:
        """Of every network that is tested: the weights of the epoch that validates best (TAG, section 5)."""
        return Recipe(self.epochs, self.batch_size, self.learning_rate, keep="best")

    @property
    def affinity_recipe(self) -> Recipe:
        """Of the trainings that an affinity takes: they go on to the end."""
        return replace(self.recipe, keep="last")

    def weightings(self) -> dict[str, Weighting | None]:
        """Those of one network for all tasks; the sum of losses is None."""
        named: dict[str, Weighting | None] = {"sum": None}
        named |= {name: make_weighting(name) for name in WEIGHTINGS if name != "GradNorm"}
        return named | {f"GradNorm, alpha = {alpha:g}": GradNorm(alpha) for alpha in self.alphas}
