"""Every grouper that reads an affinity, made for k groups in a way that takes little time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from taskgroup_core.grouping.best_served import BestServedGrouper
from taskgroup_core.grouping.branch_and_bound import BranchAndBoundGrouper
from taskgroup_core.grouping.choice_of_k import ChoiceOfK
from taskgroup_core.grouping.exhaustive import ExhaustiveGrouper
from taskgroup_core.grouping.exhaustive_covers import ExhaustiveCoverGrouper
from taskgroup_core.grouping.gat_mixture import GATMixtureGrouper
from taskgroup_core.grouping.lloyd import LloydGrouper
from taskgroup_core.grouping.programming import ProgrammingGrouper
from taskgroup_core.grouping.random import RandomGrouper
from taskgroup_core.grouping.sdp import SDPGrouper
from taskgroup_core.grouping.spectral import SpectralGrouper


def attention(k: Any) -> GATMixtureGrouper:
    return GATMixtureGrouper(k, neighbours=1, standardise=True, restarts=2, epochs=5)


EVERY: dict[str, Callable[[Any], Any]] = {
    "SDPGrouper": lambda k: SDPGrouper(k, rounding="local_search"),
    "SDPGrouper, ADMM": lambda k: SDPGrouper(k, solver="ADMM"),
    "SDPGrouper, SCS": lambda k: SDPGrouper(k, solver="SCS"),
    "ExhaustiveGrouper": ExhaustiveGrouper,
    "ExhaustiveCoverGrouper": ExhaustiveCoverGrouper,
    "ExhaustiveCoverGrouper, served": lambda k: ExhaustiveCoverGrouper(k, objective="served_others"),
    "SpectralGrouper": lambda k: SpectralGrouper(k, shift="always"),
    "LloydGrouper": LloydGrouper,
    "RandomGrouper": RandomGrouper,
    "GATMixtureGrouper": attention,
    "ProgrammingGrouper": ProgrammingGrouper,
    "ProgrammingGrouper, served": lambda k: ProgrammingGrouper(k, overlap="best_served"),
    "BestServedGrouper": BestServedGrouper,
    "BranchAndBoundGrouper": BranchAndBoundGrouper,
    "ChoiceOfK": lambda k: ChoiceOfK(ExhaustiveGrouper(2), [k], draws=4, level=0.2),
}
