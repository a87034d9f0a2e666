"""Tables of the study of weightings and groups: what each way gains, with its noise and its cost."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import t

from taskgroup_core.problems.published import published_table
from taskgroup_core.runs.record import RunRecord

GRAD_NORM = "GradNorm"
RANDOM = "random"


def gains(record: RunRecord, metric: str) -> pd.DataFrame:
    """What each way to serve the tasks gains over one network with the sum of losses, on the test examples.

    Parameters
    ----------
    record : of `baseline_study`.
    metric : "score" or "negative_loss".

    Returns
    -------
    Index "kind", "name", "k", "keep"; of GradNorm's alphas the one with the best validation mean, and the mean over
    random partitions. Columns "test" (mean over tasks and replicates), "gain" (paired within replicates, over the sum
    of losses with the same `keep`), "margin" (half of its 95 % interval over the replicates), "networks" (mean number),
    "training" and "affinity" (operations, relative to one training of the sum with the same `keep`).
    """
    rows = pd.DataFrame(record.results["rows"])
    rows["networks"] = rows.groups.map(len).astype(float)
    rows["name"] = rows["name"].str.replace(rf"^{RANDOM} \d+$", RANDOM, regex=True)
    test, validation = (record.arrays[f"{split}.{metric}"].mean(axis=2) for split in ("test", "val"))
    index = ["kind", "name", "k", "keep"]
    table = []
    for key, some in rows.groupby(index, sort=False):
        kind, name, _, keep = key
        one = (rows.kind == "one network") & (rows.keep == keep)
        if kind == "one network" and name.startswith(GRAD_NORM):
            alphas = rows.index[one & rows.name.str.startswith(GRAD_NORM)]
            if some.index[0] != alphas[validation[alphas].mean(axis=1).argmax()]:
                continue
        (base,) = rows.index[one & (rows.name == "sum")]
        values = test[some.index].mean(axis=0)
        gain, count = values - test[base], len(values)
        shares = some[["flops", "affinity_flops"]].mean() / rows.flops[base]
        table.append(
            {
                **dict(zip(index, key, strict=True)),
                "test": values.mean(),
                "gain": gain.mean(),
                "margin": t.ppf(0.975, count - 1) * gain.std(ddof=1) / np.sqrt(count),
                "networks": some.networks.mean(),
                "training": shares["flops"],
                "affinity": shares["affinity_flops"],
            }
        )
    return pd.DataFrame(table).set_index(index)


def three_papers() -> pd.DataFrame:
    """The total error on TAG's nine attributes of CelebA as three papers print it, in percent.

    Returns
    -------
    Index "method" and "splits" (0: no groups); a column for each paper, NaN where it has no such row, and "spread", the
    difference between the highest and the lowest of those that have it.
    """
    totals = published_table("printed_totals")
    tag = totals[totals.table.isin(["TAG 4", "TAG 5", "TAG 6", "TAG 7"])].assign(paper="TAG")
    tag["splits"] = tag.table.str[-1].astype(int) - 3
    tag.loc[tag.table == "TAG 4", "splits"] = 0
    later = published_table("celeba_totals").assign(paper=lambda one: one.table.str.split().str[0])
    both = pd.concat([tag, later.fillna({"splits": 0})])
    both = both[~both.method.isin(["Ours", "Optimal"])].astype({"splits": int})
    wide = both.pivot(index=["method", "splits"], columns="paper", values="total")[["TAG", "Principled", "SCA"]]
    return wide.assign(spread=wide.max(axis=1) - wide.min(axis=1)).sort_index(level=["splits", "method"])
