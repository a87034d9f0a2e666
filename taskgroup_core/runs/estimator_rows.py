"""From what a study of all estimators computed to its rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from taskgroup_core.affinity.balanced_subsets import balanced_subsets
from taskgroup_core.affinity.boosted import boosted_affinity, boosted_subsets
from taskgroup_core.affinity.higher_order import higher_order_affinity
from taskgroup_core.affinity.pair_average import PairAverage
from taskgroup_core.affinity.pairwise import pairwise_affinity
from taskgroup_core.matrices import FloatArray, make_affinity
from taskgroup_core.problems.problem import Problem
from taskgroup_core.runs.accuracy_per_flop import HeldOut, surrogates
from taskgroup_core.runs.cheap_estimates import IN_UNITS, METRICS
from taskgroup_core.runs.estimator_parameters import EstimatorParameters
from taskgroup_core.runs.record import Arrays
from taskgroup_core.runs.regret import regret_rows
from taskgroup_core.runs.true_scores import as_scores, training_cost
from taskgroup_core.subsets import Subsets, pairs

AFFINITY = {"pairwise": pairwise_affinity, "higher-order": higher_order_affinity}
PRIOR = "TAG, validation batch"


@dataclass
class EstimatorRows:
    """The judgement of everything, filled in by `judge`.

    Parameters
    ----------
    problem, p : what was asked.
    subsets : that were trained for T*, with shape (m, n): all, or all pairs.
    truth : for each replicate, the scores of `subsets` on both splits (see `score_both_splits`).
    short : name -> for each of the first replicates, the scores of the pairs; with the operations of one of them.
    cheap : name -> for each seed, see `cheap_estimate`.
    """

    problem: Problem
    p: EstimatorParameters
    subsets: Subsets
    truth: Sequence[Arrays]
    short: Mapping[str, tuple[Sequence[Arrays], int]]
    cheap: Mapping[str, Sequence[Arrays]]
    rows: list[dict[str, Any]] = field(default_factory=list)
    limits: list[dict[str, Any]] = field(default_factory=list)
    regret: list[dict[str, Any]] = field(default_factory=list)
    arrays: Arrays = field(default_factory=dict)

    def judge(self) -> None:
        """Fill in the rows, the limits, the regret and the arrays."""
        self.costs = np.array(training_cost(self.problem, self.subsets, self.p.recipe))
        self.two = self.subsets.sum(axis=1) <= 2
        for kind in ("pairwise", "higher-order") if self.p.exhaustive else ("pairwise",):
            for metric in METRICS:
                replicates, test = (self._replicates(kind, metric, split) for split in ("val", "test"))
                held_out = HeldOut(kind, metric, replicates, test, self._cost(kind))
                made = self._estimates(held_out)
                self.limits.append(
                    {
                        "kind": kind,
                        "metric": metric,
                        "reliability": held_out.reliability,
                        "test_reliability": held_out.test_reliability,
                        "flops": held_out.flops,
                    }
                )
                if self.p.exhaustive:
                    self._regret(held_out, made)

    def _scores(self, metric: str, split: str) -> list[xr.DataArray]:
        return [as_scores(self.problem, self.subsets, one, split)[metric] for one in self.truth]

    def _replicates(self, kind: str, metric: str, split: str) -> xr.DataArray:
        keep = self.two if kind == "pairwise" else slice(None)
        return xr.concat([AFFINITY[kind](one[keep]) for one in self._scores(metric, split)], "replicate")

    def _cost(self, kind: str) -> int:
        return int(self.costs[self.two if kind == "pairwise" else slice(None)].sum())

    def _add(self, held_out: HeldOut, name: str, group: str, runs: list[FloatArray], flops: float, **how: bool) -> None:
        self.rows.append(held_out.row(name, group, runs, flops, **how))
        self.arrays[f"estimate.{held_out.kind}.{held_out.metric}.{name}"] = np.stack(runs)

    def _estimates(self, held_out: HeldOut) -> dict[str, FloatArray]:
        """Rows of all estimates of one truth; returns name -> the affinities of its runs."""
        kind, metric = held_out.kind, held_out.metric
        begun = len(self.rows)
        self._cheap(held_out)
        if kind == "pairwise":
            two = pairs(self.problem.n_tasks)
            for name, (replicates, cost) in self.short.items():
                scores = [as_scores(self.problem, two, one, "val")[metric] for one in replicates]
                affinities = [pairwise_affinity(one).values for one in scores]
                self._add(held_out, name, "short trainings", affinities, cost, own=True)
        else:
            self._from_fewer_trainings(held_out)
        self._surrogates(held_out)
        single = np.mean([np.diag(pairwise_affinity(one[self.two]).values) for one in self._scores(metric, "val")], 0)
        alone = int(self.costs[self.subsets.sum(axis=1) == 1].sum())
        self.rows += held_out.beside(single, alone)
        self.arrays[f"truth.{kind}.{metric}"] = held_out.replicates.values
        names = [row["estimate"] for row in self.rows[begun:]]
        return {name: self.arrays[key] for name in names if (key := f"estimate.{kind}.{metric}.{name}") in self.arrays}

    def _cheap(self, held_out: HeldOut) -> None:
        """Single runs of the cheap estimators, and means of 2, 4, ... of them."""
        for name, runs in self.cheap.items():
            own, cost = "T", "flops"
            if name in IN_UNITS:
                own, cost = f"{held_out.kind}.{held_out.metric}", f"{held_out.kind}.flops"
            values, flops = [run[own] for run in runs], float(np.mean([run[cost] for run in runs]))
            size = 1
            while size <= len(runs):
                starts = range(0, len(runs) - size + 1, size)
                means = [np.mean(values[start : start + size], axis=0) for start in starts]
                label = name if size == 1 else f"{name}, mean of {size}"
                self._add(held_out, label, "cheap", means, size * flops, in_units=name in IN_UNITS)
                size *= 2

    def _surrogates(self, held_out: HeldOut) -> None:
        """The surrogate's curve: trained pairs, and the mean of all runs as its prior. The middle share is kept."""
        count = self.problem.n_tasks * (self.problem.n_tasks - 1) // 2
        given = []
        for replicate, scores in enumerate(self._scores(held_out.metric, "val")):
            order = self._places(balanced_subsets(self.problem.n_tasks, 2, count, replicate + self.p.seed))
            given.append((scores[order], self.costs[order].tolist()))
        known = self.cheap[PRIOR]
        mean = make_affinity(np.mean([run["T"] for run in known], axis=0), self.problem.task_names)
        prior = (PRIOR, mean, float(sum(run["flops"] for run in known)))
        counts = sorted({max(4, round(share * count)) for share in self.p.shares})
        for trained in counts:
            for name, runs, flops in surrogates(given, trained, prior):
                self.rows.append(held_out.row(name, "surrogate", runs, flops, own=True) | {"pairs": trained})
                if trained == counts[len(counts) // 2]:
                    self.arrays[f"estimate.{held_out.kind}.{held_out.metric}.{name}"] = np.stack(runs)

    def _from_fewer_trainings(self, held_out: HeldOut) -> None:
        """HOA from the pairs and BoostMTL from its draws, each out of one replicate's table of all subsets."""
        drawn = boosted_subsets(self.problem.n_tasks, self.p.size, 1, self.p.seed)
        rows = self._places(drawn)
        hoa, boosted = [], []
        for one in self._scores(held_out.metric, "val"):
            pair_scores = one[self.two].to_dataset(name=held_out.metric)
            hoa.append(higher_order_affinity(PairAverage(pair_scores).scores(self.subsets)[held_out.metric]).values)
            boosted.append(boosted_affinity(one[rows]).values)
        once = np.unique(rows)  # equal subsets are trained once
        self._add(held_out, "HOA", "fewer trainings", hoa, self._cost("pairwise"), own=True)
        self._add(held_out, "BoostMTL", "fewer trainings", boosted, float(self.costs[once].sum()), own=True)

    def _places(self, wanted: Subsets) -> list[int]:
        place = {row.tobytes(): index for index, row in enumerate(self.subsets)}
        return [place[row.tobytes()] for row in wanted]

    def _regret(self, held_out: HeldOut, made: Mapping[str, FloatArray]) -> None:
        """Groups from T* (all replicates) and from each run of each estimate; means over the runs."""
        validation, test = (
            xr.concat(self._scores(held_out.metric, split), "replicate").mean("replicate", skipna=False)
            for split in ("val", "test")
        )
        names = self.problem.task_names
        estimates = {
            f"{name}#{run}": make_affinity(one, names) for name, runs in made.items() for run, one in enumerate(runs)
        }
        estimates["T*#0"] = held_out.replicates.mean("replicate")
        found = regret_rows(estimates, validation, test, self.p.n_groups)
        for row in found:
            row["chosen by"] = row["chosen by"].split("#")[0]
        for name in dict.fromkeys(row["chosen by"] for row in found):
            some = [row for row in found if row["chosen by"] == name]
            means = {key: float(np.mean([row[key] for row in some])) for key in ("test_score", "regret", "beaten")}
            spread = {"spread": some[0].get("spread")}
            self.regret.append(
                {"kind": held_out.kind, "metric": held_out.metric, "chosen by": name, "groups": some[0]["groups"]}
                | means
                | spread
                | {"runs": len(some)}
            )
