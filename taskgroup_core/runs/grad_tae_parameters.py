"""The parameters of the study of GRAD-TAE."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from taskgroup_core.errors import InputError
from taskgroup_core.training.recipe import Recipe

ESTIMATORS = ("grad_tae", "as_published", "as_released", "gauss_newton")


@dataclass(frozen=True)
class GradTaeParameters:
    """What the study is asked.

    Parameters
    ----------
    settings : name -> how to estimate: arguments of `GradTAE`, or of what "estimator" names (one of `ESTIMATORS`);
        "M" meta-initialisations (1), and "draw", a number that changes the projection (0).
    subset_size, n_subsets : of the random subsets of higher-order affinity; all pairs are scored in any case.
    epochs, learning_rate, batch_size : of every training, of the meta-initialisations too.
    replicates : trainings of every subset for T*, with seeds of their own; 2 or more.
    seed : decides everything random.

    Raises
    ------
    InputError : no setting, an unknown estimator, M below 1, or fewer than 2 replicates.
    """

    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    subset_size: int = 3
    n_subsets: int = 40
    epochs: int = 30
    learning_rate: float = 0.01
    batch_size: int = 1000
    replicates: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.settings:
            raise InputError("settings", "none", "Name at least one way to estimate.")
        for name, setting in self.settings.items():
            if setting.get("estimator", "grad_tae") not in ESTIMATORS:
                found = f"{setting['estimator']!r} in {name!r}"
                raise InputError("settings", found, f"Use one of {', '.join(ESTIMATORS)}.")
            if setting.get("M", 1) < 1:
                raise InputError("settings", f"M = {setting['M']} in {name!r}", "Use at least one.")
        if self.replicates < 2:
            raise InputError("replicates", str(self.replicates), "Use at least 2, so that the noise of T* is known.")

    @property
    def recipe(self) -> Recipe:
        """Of every training."""
        return Recipe(epochs=self.epochs, learning_rate=self.learning_rate, batch_size=self.batch_size)
