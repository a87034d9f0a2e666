"""What an exhaustive table of f(S, t) says about its noise, its affinities, their sampling, and its additivity."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd
import xarray as xr

from taskgroup_core.affinity.higher_order import higher_order_affinity
from taskgroup_core.affinity.pair_average import PairAverage
from taskgroup_core.errors import InputError
from taskgroup_core.matrices import FloatArray, make_affinity
from taskgroup_core.metrics import partner_spearman
from taskgroup_core.seeds import derive
from taskgroup_core.subsets import sample_subsets


def variance_components(table: xr.DataArray) -> dict[str, float]:
    """How much of the variance of f is the task, the subset it is trained in, the seed, and the rest.

    For every task the table has two crossed factors, the subsets that hold it and the replicates, with one value in
    each cell. The four numbers are the usual unbiased estimates from the mean squares, averaged over tasks; as such
    they may be negative. "rest" is noise that is a subset's own: what a replicate changes beyond a shift of all of a
    task's values.

    Parameters
    ----------
    table : dims ("replicate", "subset", "task"), all subsets, 2 or more replicates; see `transfer_table`.

    Raises
    ------
    InputError : one replicate, or not all subsets.
    """
    layout = [table.values[:, inside, task] for task, inside in enumerate(table["member"].values.T)]
    _check_exhaustive(table["member"].values)
    replicates, subsets = layout[0].shape
    if replicates < 2:
        raise InputError("table", "one replicate", "Train two or more.")
    rest, of_subset, of_seed, means = [], [], [], []
    for values in layout:
        mean = values.mean()
        rows, columns = values.mean(axis=1) - mean, values.mean(axis=0) - mean
        left = values - mean - rows[:, None] - columns
        error = (left**2).sum() / ((replicates - 1) * (subsets - 1))
        rest.append(error)
        of_subset.append(((columns**2).sum() / (subsets - 1)) - error / replicates)
        of_seed.append(((rows**2).sum() / (replicates - 1)) - error / subsets)
        means.append(mean)
    within = {"subset": np.mean(of_subset), "seed": np.mean(of_seed), "rest": np.mean(rest)}
    noise = within["subset"] / subsets + within["seed"] / replicates + within["rest"] / (subsets * replicates)
    return {"task": float(np.var(means, ddof=1) - noise)} | {name: float(value) for name, value in within.items()}


def leave_one_in(scores: xr.DataArray) -> xr.DataArray:
    """T[i, j] = the mean over the subsets S with i and without j of f(S + j, i) - f(S, i), 0 on the diagonal.

    What j adds to i, over all companies: the Banzhaf value of j in the game f(., i). It equals twice the difference
    between Eq. (1) over all subsets at [i, j] and at [i, i], as half of the subsets that hold i hold j too.

    Parameters
    ----------
    scores : dims ("subset", "task"), all subsets.

    Raises
    ------
    InputError : not all subsets.
    """
    member = scores["member"].values
    row_of = _check_exhaustive(member)
    n_tasks = member.shape[1]
    values = np.zeros((n_tasks, n_tasks))
    for i in range(n_tasks):
        for j in set(range(n_tasks)) - {i}:
            without = np.flatnonzero(member[:, i] & ~member[:, j])
            joined = row_of[member[without] @ (1 << np.arange(n_tasks)) + (1 << j)]
            values[i, j] = (scores.values[joined, i] - scores.values[without, i]).mean()
    return make_affinity(values, scores["task"].values.tolist(), method="leave one in", metric=scores.name)


def of_size(scores: xr.DataArray, alpha: int) -> xr.DataArray:
    """Higher-order affinity, Eq. (1), over ALL subsets of alpha tasks: what m random ones of them estimate."""
    return higher_order_affinity(scores[{"subset": scores["member"].values.sum(axis=1) == alpha}])


def sampling_errors(
    scores: xr.DataArray, alphas: Sequence[int], sizes: Sequence[int], draws: int, seed: int
) -> pd.DataFrame:
    """How far Eq. (1) from m random subsets of alpha tasks is from its value over all of them.

    Parameters
    ----------
    scores : dims ("subset", "task"), all subsets.
    alphas, sizes : the alpha and m to try.
    draws : how often m subsets are drawn; they are drawn as `sample_subsets` does.
    seed : of the draws.

    Returns
    -------
    A row for each alpha and m: `rms` error off the diagonal over measured pairs, `partners` (their Spearman with all
    subsets' value; NaN where too few pairs are measured) and the share of pairs `measured`; means over the draws.
    """
    member = scores["member"].values
    row_of, powers = _check_exhaustive(member), 1 << np.arange(member.shape[1])
    off = ~np.eye(member.shape[1], dtype=bool)
    rows = []
    for alpha in alphas:
        truth = of_size(scores, alpha).values
        for m in sizes:
            found = []
            for draw in range(draws):
                subsets = sample_subsets(member.shape[1], alpha, m, derive(seed, "sampling", alpha, m, draw))
                estimate = higher_order_affinity(scores[{"subset": row_of[subsets @ powers]}]).values
                there = ~np.isnan(estimate) & off
                try:
                    partners = partner_spearman(estimate, np.where(there, truth, np.nan))
                except InputError:
                    partners = np.nan
                error = np.sqrt(((estimate - truth)[there] ** 2).mean())
                found.append((error, partners, there.sum() / off.sum()))
            rows.append((alpha, m, *np.mean(found, axis=0)))
    return pd.DataFrame(rows, columns=["alpha", "m", "rms", "partners", "measured"]).set_index(["alpha", "m"])


def prediction_quality(table: xr.DataArray) -> pd.Series:
    """How well f of larger subsets is predicted, within each task, from half of the replicates for the other half.

    The mean over tasks and halvings of the correlation over subsets of three tasks and more, with "mean of pairs"
    (HOA's premise), "additive" (a number for each partner, fitted by least squares to all subsets), and "same subset"
    (the other half's own value: what noise leaves to be had). A constant prediction or truth counts as 0.

    Parameters
    ----------
    table : dims ("replicate", "subset", "task"), all subsets, 2 or more replicates.
    """
    member, count = table["member"].values, table.sizes["replicate"]
    large = member.sum(axis=1) >= 3
    rows = []
    for half in combinations(range(count), count // 2):
        rest = [index for index in range(count) if index not in half]
        known, asked = (table[{"replicate": list(part)}].mean("replicate") for part in (half, rest))
        pairs = known[{"subset": member.sum(axis=1) <= 2}]
        predictions = {
            "mean of pairs": PairAverage(pairs.to_dataset(name="f")).scores(member)["f"].values,
            "additive": _additive(known.values, member),
            "same subset": known.values,
        }
        for task in range(member.shape[1]):
            inside = large & member[:, task]
            truth = asked.values[inside, task]
            rows.append({name: _correlation(one[inside, task], truth) for name, one in predictions.items()})
    return pd.DataFrame(rows).mean()


def _correlation(first: FloatArray, second: FloatArray) -> float:
    """Pearson's, or 0 where one side is constant and tells nothing."""
    x, y = first - first.mean(), second - second.mean()
    spread = float(np.sqrt((x**2).sum() * (y**2).sum()))
    return float((x * y).sum()) / spread if spread > 0 else 0.0


def _additive(values: FloatArray, member: FloatArray) -> FloatArray:
    fitted = np.full(values.shape, np.nan)
    for task, inside in enumerate(member.T):
        design = member[inside].astype(float)  # the task's own column is the constant
        fitted[inside, task] = design @ np.linalg.lstsq(design, values[inside, task], rcond=None)[0]
    return fitted


def _check_exhaustive(member: FloatArray) -> FloatArray:
    """Row of each subset, by the number whose bits are its tasks."""
    n_tasks = member.shape[1]
    row_of = np.full(2**n_tasks, -1)
    row_of[member @ (1 << np.arange(n_tasks))] = np.arange(len(member))
    if len(member) != 2**n_tasks - 1 or (row_of[1:] < 0).any():
        raise InputError("scores", f"{len(member)} subsets", "Score all subsets (`all_subsets`), each once.")
    return row_of
