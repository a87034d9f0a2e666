"""What SCA's grouper finds under each of its free choices, and how far its seeds agree."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from taskgroup_core.errors import InputError
from taskgroup_core.grouping.agreement import omega_index
from taskgroup_core.grouping.gat_mixture import ATTENTION, GATMixtureGrouper
from taskgroup_core.grouping.graph_attention import attention_embeddings
from taskgroup_core.grouping.grouping import Grouping
from taskgroup_core.matrices import FloatArray, check_affinity
from taskgroup_core.seeds import derive

EMBEDDINGS = ("trained", "untrained", "rows")


def mixture_study(
    affinity: xr.DataArray | FloatArray,
    n_groups: int,
    variants: Mapping[str, Mapping[str, Any]],
    *,
    families: Grouping | None = None,
    seeds: int = 10,
    restarts: int = 10,
    seed: int = 0,
) -> tuple[pd.DataFrame, dict[str, list[Grouping]]]:
    """Group one affinity under every variant and from several seeds, and compare.

    Variants that give attention the same options share its trainings: they differ in the clustering alone.

    Parameters
    ----------
    affinity : T[target, source].
    n_groups : b.
    variants : name -> options of `GATMixtureGrouper` that differ from its defaults. One more is "embedding": "trained",
        "untrained" (attention with its initial weights) or "rows" (the mixture reads the rows of T: no attention).
    families : the groups to be found, if known.
    seeds, restarts : of every variant: whole runs of the grouper, each the best of so many trainings.
    seed : from which all seeds are derived.

    Returns
    -------
    A row for each variant: "to families" (mean Omega index over seeds; the adjusted Rand index where groups are
    disjoint; NaN without families) with its "lowest" and "highest"; "between seeds" (mean over pairs of seeds);
    "groups" and "memberships" of a task (means); "silhouette" of the runs that were kept. And the groupings of each
    variant, seed by seed.

    Raises
    ------
    InputError : no variant, an unknown embedding, fewer than two seeds, or see `GATMixtureGrouper`.
    """
    values = check_affinity(affinity)
    if not variants:
        raise InputError("variants", "none", "Give at least one.")
    if seeds < 2:
        raise InputError("seeds", str(seeds), "Use two seeds or more.")
    states = [derive(seed, "mixture study", number) for number in range(seeds)]
    starts = [(state, restart) for state in states for restart in range(restarts)]
    known: dict[str, FloatArray] = {}
    rows, groupings = [], {}
    for name, given in variants.items():
        options = dict(given)
        embedding = options.pop("embedding", "trained")
        if embedding not in EMBEDDINGS:
            raise InputError("embedding", repr(embedding), f"Use one of {', '.join(EMBEDDINGS)}.")
        grouper = GATMixtureGrouper(n_groups, restarts=restarts, **options)
        attention = {one: getattr(grouper, one) for one in ATTENTION}
        key = f"{embedding} {sorted(attention.items())}"
        if key not in known:
            if embedding == "rows":
                known[key] = np.repeat(values[None], len(starts), axis=0)
            else:
                trained = {} if embedding == "trained" else {"epochs": 0}
                known[key] = attention_embeddings(values, starts, **attention | trained)
        found, silhouettes = [], []
        for number, state in enumerate(states):
            grouper.random_state = state
            grouper.fit_embeddings(values, known[key][number * restarts : (number + 1) * restarts])
            found.append(grouper.grouping_)
            silhouettes.append(grouper.silhouettes_.max())
        groupings[name] = found
        rows.append({"variant": name, **_figures(found, families), "silhouette": np.mean(silhouettes)})
    return pd.DataFrame(rows).set_index("variant"), groupings


def _figures(found: list[Grouping], families: Grouping | None) -> dict[str, float]:
    near = [np.nan if families is None else omega_index(one, families) for one in found]
    return {
        "to families": float(np.mean(near)),
        "lowest": float(np.min(near)),
        "highest": float(np.max(near)),
        "between seeds": float(np.mean([omega_index(*pair) for pair in combinations(found, 2)])),
        "groups": float(np.mean([len(one.groups) for one in found])),
        "memberships": float(np.mean([sum(map(len, one.groups)) / len(one.served_by) for one in found])),
    }
