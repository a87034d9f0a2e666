"""Accuracy per operation: every estimate judged against replicates of T* that it has not seen, beside its cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr

from taskgroup_core.affinity.surrogate import SurrogateAffinity
from taskgroup_core.matrices import FloatArray
from taskgroup_core.metrics import affine_distance, partner_spearman, replicate_ceiling, stepped_up, trivial_predictors
from taskgroup_core.runs.judgement import figures_of_merit


@dataclass(frozen=True)
class HeldOut:
    """One kind of affinity in one metric: R replicates of T*, each with the mean of the others as its truth.

    Parameters
    ----------
    kind, metric : for the rows.
    replicates : T* on the validation examples, dims ("replicate", "target", "source"), R of them.
    test : T* of the same networks on the test examples. Replicates share their validation examples, so that what is
        particular to these passes for reliable, and whatever reads their labels may profit from it.
    flops : operations of ONE replicate: an estimate's share is its cost over this.
    """

    kind: str
    metric: str
    replicates: xr.DataArray
    test: xr.DataArray
    flops: int

    @cached_property
    def truths(self) -> list[xr.DataArray]:
        """For each replicate, the mean of the others."""
        return _means_of_others(self.replicates)

    @cached_property
    def test_truths(self) -> list[xr.DataArray]:
        """The same on the test examples."""
        return _means_of_others(self.test)

    @property
    def reliability(self) -> float:
        """Of the mean of R - 1 replicates: the replicate ceiling, stepped down from R of them.

        A perfect estimate would have a partner Spearman of about the square root of it with that mean.
        """
        return _reliability(self.replicates)

    @property
    def test_reliability(self) -> float:
        """The same for the test examples."""
        return _reliability(self.test)

    def row(
        self,
        estimate: str,
        group: str,
        runs: Sequence[FloatArray],
        flops: float,
        *,
        own: bool = False,
        in_units: bool = True,
    ) -> dict[str, Any]:
        """The figures of merit of an estimate, means over its runs and over the truths, with its cost.

        "partner_test" is the partner Spearman with the truth on the test examples.

        Parameters
        ----------
        estimate, group : for the row.
        runs : affinities with shape (n, n), one for each seed of the estimator, each judged by the truths of all
            replicates; or, with own=True, one made from each of the first replicates, judged by the others.
        flops : of one run, mean.
        in_units : whether the estimate has the unit of f; without it has no distance but the affine one.
        """
        pairs, tested = (
            list(zip(runs, truths, strict=False)) if own else [(run, truth) for run in runs for truth in truths]
            for truths in (self.truths, self.test_truths)
        )
        found = [figures_of_merit(truth.copy(data=run), truth) for run, truth in pairs]
        merits: dict[str, Any] = {name: float(np.mean([one[name] for one in found])) for name in found[0]}
        if not in_units:
            merits["distance"] = None
        merits["affine_distance"] = float(np.mean([affine_distance(run, truth) for run, truth in pairs]))
        merits["partner_test"] = float(np.mean([partner_spearman(run, truth) for run, truth in tested]))
        each = np.array([one["partner"] for one in found]).reshape(len(runs), -1).mean(axis=1)
        cost = {"flops": float(flops), "share": float(flops) / self.flops, "runs": len(runs)}
        name = {"kind": self.kind, "metric": self.metric, "estimate": estimate, "group": group}
        return name | cost | merits | {"low": float(each.min()), "high": float(each.max())}

    def beside(self, single_task: FloatArray, alone: float) -> list[dict[str, Any]]:
        """The rows of what knows no partner, and of one full training.

        Parameters
        ----------
        single_task : f({t}, t) with shape (n,), mean over replicates.
        alone : operations of training each task on its own, once. The other two know the truth's own levels, which
            cannot be bought: their rows have no cost.
        """
        rows = []
        for name, flops in {"constant": 0.0, "task mean": 0.0, "single task": alone}.items():
            runs = [trivial_predictors(truth, single_task)[name].values for truth in self.truths]
            rows.append(self.row(name, "trivial", runs, flops, own=True))
        once = [one.values for one in self.replicates]
        return [*rows, self.row("one training", "full training", once, self.flops, own=True)]


def _means_of_others(replicates: xr.DataArray) -> list[xr.DataArray]:
    return [replicates.drop_isel(replicate=r).mean("replicate") for r in range(len(replicates))]


def _reliability(replicates: xr.DataArray) -> float:
    return stepped_up(replicate_ceiling(replicates.values), (len(replicates) - 1) / len(replicates))


def surrogates(
    given: Sequence[tuple[xr.DataArray, Sequence[int]]], count: int, prior: tuple[str, xr.DataArray, float]
) -> list[tuple[str, list[FloatArray], float]]:
    """T from the first few trained pairs by three ways: (name, one affinity a replicate, mean operations of one).

    The ways: "pairs alone", unmodelled, with a target's mean for what was not trained; the surrogate; and the surrogate
    with a prior.

    Parameters
    ----------
    given : for each replicate, its scores of pairs in the order in which they are trained, and what each cost.
    count : of pairs that are trained.
    prior : name, affinity, operations.
    """
    name, estimate, more = prior
    some = [scores[:count] for scores, _ in given]
    flops = float(np.mean([sum(costs[:count]) for _, costs in given]))
    return [
        ("pairs alone", [_filled(scores) for scores in some], flops),
        ("surrogate", [SurrogateAffinity().fit(scores).affinity_.values for scores in some], flops),
        (
            f"surrogate, prior {name}",
            [SurrogateAffinity(estimate).fit(scores).affinity_.values for scores in some],
            flops + more,
        ),
    ]


def _filled(scores: xr.DataArray) -> FloatArray:
    """T of the trained pairs; the others get the target's mean, or the grand mean where it has none."""
    member = scores["member"].values
    values = np.full((member.shape[1],) * 2, np.nan)
    for row, subset in zip(scores.values, member, strict=True):
        first, last = np.flatnonzero(subset)
        values[first, last], values[last, first] = row[first], row[last]
    known = ~np.isnan(values)
    grand = np.nanmean(values)
    counts = known.sum(axis=1, keepdims=True)
    level = np.where(counts > 0, np.nansum(values, axis=1, keepdims=True) / np.maximum(counts, 1), grand)
    return np.where(known, values, level)
