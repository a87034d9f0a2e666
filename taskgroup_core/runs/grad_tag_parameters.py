"""The parameters of the GRAD-TAG experiment."""

from __future__ import annotations

from dataclasses import dataclass

from taskgroup_core.errors import InputError
from taskgroup_core.runs.slices import SLICE


@dataclass(frozen=True)
class GradTagParameters:
    """What the experiment is asked.

    Parameters
    ----------
    n_tasks : n.
    n_groups : k.
    epochs : of every training, of the meta-initialisations too.
    alpha, m : size and number of the subsets of higher-order affinity.
    t_star_subsets : the first so many of the m subsets are trained for T*; `pairwise` trains all pairs too.
    replicates : trainings of every T* subset, with seeds of their own.
    dimensions : d of the projection, swept at M = 1.
    ensembles : M, swept at `dimension`.
    penalties : C of the regression, swept for higher-order affinity at M = 1 and `dimension`, with and without offset.
    dimension, C : the setting used elsewhere.
    final_replicates : trainings of every group for the final test scores.
    random_groupings : draws of random groups.
    solver : of the SDP; None leaves the choice to `SDPGrouper`.
    seed : decides everything random.
    """

    n_tasks: int
    n_groups: int
    epochs: int = 100
    alpha: int = 10
    m: int = 2000
    t_star_subsets: int = 2000
    pairwise: bool = True
    replicates: int = 4
    dimensions: tuple[int, ...] = (50, 100, 200, 400)
    ensembles: tuple[int, ...] = (1, 3, 5)
    penalties: tuple[float, ...] = (0.01, 0.1, 1.0)
    dimension: int = 200
    C: float = 0.01
    final_replicates: int = 3
    random_groupings: int = 3
    solver: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.replicates < 2:
            raise InputError("replicates", str(self.replicates), "Use at least 2, so that the noise of T* is known.")
        if not 1 <= self.t_star_subsets <= self.m:
            raise InputError("t_star_subsets", str(self.t_star_subsets), f"Use 1 to m = {self.m}.")
        if not self.ensembles or min(self.ensembles) < 1:
            raise InputError("ensembles", str(self.ensembles), "Name at least one ensemble size M.")

    @property
    def n_slices(self) -> int:
        """Slices of the run, to the last one but for groups that coincide."""
        subsets = self.t_star_subsets + (self.n_tasks * (self.n_tasks + 1) // 2 if self.pairwise else self.n_tasks)
        swept = len(set(self.dimensions) - {self.dimension}) + 2 * len(self.penalties)
        final = self.final_replicates * (7 + self.random_groupings)
        return -(-subsets // SLICE) * self.replicates + 2 * max(self.ensembles) + swept + final
