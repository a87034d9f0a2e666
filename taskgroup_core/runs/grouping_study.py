"""Groups by every grouper, one network per group, and their test scores (GRAD-TAG, section 5.3 and Figure 4a)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from taskgroup_core.grouping.exhaustive import LARGEST, ExhaustiveGrouper
from taskgroup_core.grouping.grouping import Grouper, Grouping
from taskgroup_core.grouping.lloyd import LloydGrouper
from taskgroup_core.grouping.random import RandomGrouper
from taskgroup_core.grouping.sdp import SDPGrouper
from taskgroup_core.grouping.spectral import SpectralGrouper
from taskgroup_core.matrices import FloatArray
from taskgroup_core.runs.affinity_study import AffinityStudy
from taskgroup_core.runs.grad_tag_parameters import GradTagParameters
from taskgroup_core.runs.slices import Slices
from taskgroup_core.seeds import derive
from taskgroup_core.subsets import Subsets, membership

KIND = ("higher-order", "score")  # Algorithm 2 groups by Eq. (1), of the score that is reported in the end


@dataclass
class _Networks:
    """Test scores of the networks of groups; a group that several groupings share is trained once."""

    p: GradTagParameters
    slices: Slices
    flops: int = 0
    known: dict[bytes, tuple[FloatArray, int]] = field(default_factory=dict)

    def of_group(self, members: Subsets) -> tuple[FloatArray, int]:
        """Scores with shape (replicates, n), NaN outside the group, and the operations of one replicate."""
        key = members.tobytes()
        if key not in self.known:
            code = np.packbits(members).tobytes().hex()
            runs = [
                self.slices.trained("groups", members[None], replicate, "test", name=code)
                for replicate in range(self.p.final_replicates)
            ]
            self.known[key] = np.stack([run["score"].values[0] for run, _ in runs]), runs[0][1]
            self.flops += sum(flops for _, flops in runs)
        return self.known[key]

    def of_grouping(self, grouping: Grouping) -> tuple[FloatArray, int]:
        """Every task's score from the group that serves it, with shape (replicates, n), and the operations."""
        parts = [self.of_group(row) for row in membership(grouping.groups, self.p.n_tasks)]
        scores = np.stack([parts[group][0][:, task] for task, group in enumerate(grouping.served_by)], axis=1)
        return scores, sum(flops for _, flops in parts)


def compare_groupings(
    p: GradTagParameters, slices: Slices, study: AffinityStudy
) -> tuple[list[dict[str, Any]], dict[str, FloatArray], int]:
    """Rows of the comparison, test scores by row with shape (replicates, n), and the operations of all trainings.

    A row has "method", "groups", "test_macro_f1" (one figure a replicate), "affinity_flops", "training_flops", and
    where a grouper was used its "objective" and "status", for the SDP also "bound", "gap" and "c".

    Raises
    ------
    OutOfTime : see `cached`.
    """
    networks = _Networks(p, slices)
    rows, arrays = [], {}
    for number, (row, grouping) in enumerate(_groupings(p, study)):
        scores, flops = networks.of_grouping(grouping)
        groups = [list(group) for group in grouping.groups]
        rows.append({**row, "groups": groups, "test_macro_f1": scores.mean(axis=1).tolist(), "training_flops": flops})
        arrays[f"test.{number}"] = scores
    return rows, arrays, networks.flops


def _groupings(p: GradTagParameters, study: AffinityStudy) -> list[tuple[dict[str, Any], Grouping]]:
    truth = study.truth[KIND].mean("replicate")
    most, least = (f"d={p.dimension} M={size}" for size in (max(p.ensembles), min(p.ensembles)))
    estimate, cost = study.estimates[most][KIND], study.flops[most][KIND[0]]
    sdp = SDPGrouper(p.n_groups, solver=p.solver)
    plans: list[tuple[str, Grouper, Any, int]] = [
        (f"SDP, {most}", sdp, estimate, cost),
        (f"SDP, {least}", sdp, study.estimates[least][KIND], study.flops[least][KIND[0]]),
        (f"spectral, {most}", SpectralGrouper(p.n_groups, shift="always", random_state=p.seed), estimate, cost),
        (f"Lloyd, {most}", LloydGrouper(p.n_groups, random_state=p.seed), estimate, cost),
    ]
    if not truth.isnull().any():
        full = study.flops["T*"][KIND[0]] * p.replicates
        plans.append(("SDP, T*", sdp, truth, full))
        if p.n_tasks <= LARGEST:
            plans.append(("exhaustive, T*", ExhaustiveGrouper(p.n_groups), truth, full))
    for draw in range(p.random_groupings):
        grouper = RandomGrouper(p.n_groups, random_state=derive(p.seed, "random groups", draw))
        plans.append(("random", grouper, estimate, 0))
    found: list[tuple[dict[str, Any], Grouping]] = []
    for name, grouper, affinity, flops in plans:
        grouper.fit(affinity)
        row = {"method": name, "affinity_flops": flops, "objective": grouper.objective_, "status": grouper.status_}
        if isinstance(grouper, SDPGrouper):
            row |= {"bound": grouper.bound_, "gap": grouper.gap_, "c": grouper.rounding_.c}
        found.append((row, grouper.grouping_))
    everything = tuple(range(p.n_tasks))
    alone = Grouping(tuple((task,) for task in everything), everything)
    found.append(({"method": "single task", "affinity_flops": 0}, alone))
    found.append(({"method": "all in one", "affinity_flops": 0}, Grouping((everything,), (0,) * p.n_tasks)))
    return found
