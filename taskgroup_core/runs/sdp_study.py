"""The semidefinite relaxation at scale: how tight it is, and what each rounding loses (GRAD-TAG, Remark 4.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from sklearn.metrics import adjusted_rand_score

from taskgroup_core.errors import InputError
from taskgroup_core.grouping.grouping import Grouping, Labels, average_density, random_density
from taskgroup_core.grouping.rounding import PAPER_RANGE, round_by_average_linkage, round_by_threshold
from taskgroup_core.grouping.sdp import SDPGrouper
from taskgroup_core.matrices import FloatArray, check_affinity
from taskgroup_core.runs.checkpoint import Checkpoint
from taskgroup_core.runs.provenance import measured, provenance
from taskgroup_core.runs.record import Arrays, RunRecord
from taskgroup_core.runs.sdp_parameters import SDPParameters
from taskgroup_core.runs.stages import stages
from taskgroup_core.seeds import numpy_generator

TIGHT = 1e-3  # X is taken for a partition's where no entry of X^2 - X is larger
WIDER_RANGE = (0.5, PAPER_RANGE[1])


def planted_affinity(n: int, k: int, noise: float, seed: int, instance: int = 0) -> tuple[FloatArray, Labels]:
    """T of k planted groups, as equal as n allows, and their labels: 1 within a group, 0 across, plus normal noise.

    Parameters
    ----------
    n, k : numbers of tasks and of groups; task i is in group i mod k.
    noise : standard deviation; every entry has its own, so T is not symmetric.
    seed, instance : decide the draw, the same for every k and noise.
    """
    labels = np.arange(n) % k
    draw = numpy_generator(seed, "planted affinity", n, instance).standard_normal((n, n))
    return (labels[:, None] == labels) + noise * draw, labels


def measure_relaxation(
    values: FloatArray, k: int, tolerance: float, device: torch.device, planted: Labels | None = None
) -> dict[str, float]:
    """What one relaxation and its roundings are worth, in shares of the certified gain, as in `certified_gap_`.

    Parameters
    ----------
    values : T, with shape (n, n).
    k : the number of groups.
    tolerance : the relative gap at which the solver stops.
    device : where it computes.
    planted : labels of the groups that were planted, if any.

    Returns
    -------
    A dict with these keys:

    - "solver_gap" : what X itself gives up against the certified bound.
    - "not_idempotent" : the largest entry of |X^2 - X|; "tight" : 1 where that is at most `TIGHT`.
    - "loss_threshold", "loss_average_linkage", "loss_local_search" : what the rounded groups give up.
    - "c_low", "c_high" : the c that give k groups, NaN where none does; "in_range", "in_wider_range" : 1 where one of
      them lies between 1 and 10, and between 1/2 and 10.
    - "loss_planted" : what the planted groups give up; "recovered" : the adjusted Rand index of local search's groups
      with them; NaN where none were planted.

    Raises
    ------
    InputError : an affinity that cannot be used, or one on which all groups are worth the same.
    """
    options = {"tolerance": tolerance, "device": device}
    sdp = SDPGrouper(k, solver="ADMM", rounding="local_search", solver_options=options).fit(values)
    gain = sdp.certified_bound_ - random_density(values, k)
    if gain <= 1e-9 * float(np.abs(values).max()):
        raise InputError("affinity", "nothing to gain by any groups", "Use one that differs between pairs of tasks.")

    def loss(density: float) -> float:
        return (sdp.certified_bound_ - density) / gain

    def loss_of(labels: Labels) -> float:
        return loss(average_density(values, Grouping.from_labels(labels).groups))

    threshold = round_by_threshold(sdp.relaxation_, k)
    low, high = threshold.interval or (np.nan, np.nan)
    within = {
        name: float(low < ends[1] and high >= ends[0])  # false where both are NaN
        for name, ends in (("in_range", PAPER_RANGE), ("in_wider_range", WIDER_RANGE))
    }
    defect = float(np.abs(sdp.relaxation_ @ sdp.relaxation_ - sdp.relaxation_).max())
    return {
        "solver_gap": loss(sdp.relaxation_objective_),
        "not_idempotent": defect,
        "tight": float(defect <= TIGHT),
        "loss_threshold": loss_of(threshold.labels),
        "loss_average_linkage": loss_of(round_by_average_linkage(sdp.relaxation_, k).labels),
        "loss_local_search": loss_of(sdp.labels_),
        "c_low": low,
        "c_high": high,
        **within,
        "loss_planted": np.nan if planted is None else loss_of(planted),
        "recovered": np.nan if planted is None else float(adjusted_rand_score(planted, sdp.labels_)),
    }


def sdp_study(
    parameters: SDPParameters,
    device: torch.device,
    affinities: Mapping[str, xr.DataArray | FloatArray] | None = None,
    *,
    progress: bool = True,
    data: Sequence[Path | str] = (),
    checkpoint: Checkpoint | None = None,
) -> RunRecord:
    """Solve, certify and round planted affinities, and whatever others are given, at several k.

    Parameters
    ----------
    parameters : what is asked.
    device : where the solver computes.
    affinities : name -> T, each solved with n / s groups, rounded down but at least 2, for every group size s.
    progress : show a text bar.
    data : the files the affinities rest on, for the provenance.
    checkpoint : where finished slices are kept.

    Returns
    -------
    A record whose results hold "rows", one for each relaxation: "affinity", "n", "k", "noise" and "instance" (None but
    for "planted"), and what `measure_relaxation` returns.

    Raises
    ------
    InputError : an affinity that cannot be used.

    References
    ----------
    GRAD-TAG, Section 4: Equation (10), the threshold after it, and Remark 4.2.

    Deviations
    ----------
    The paper reports neither values nor bounds of the relaxation; all that is measured here is ours.
    """
    p = parameters
    given = {name: check_affinity(values, name) for name, values in (affinities or {}).items()}
    cells = list(product(p.sizes, p.group_sizes, p.noises))
    rows: list[dict[str, Any]] = []
    with measured(device) as cost, stages(checkpoint, len(cells) + len(given), progress) as stage:
        for n, size, noise in cells:
            found = stage(f"planted-{n}-{size}-{noise}", partial(_planted, p, device, n, n // size, noise))
            where = {"affinity": "planted", "n": n, "k": n // size, "noise": noise}
            rows += [where | {"instance": i} | _at(found, i) for i in range(p.instances)]
        for name, values in given.items():
            counts = sorted({max(2, len(values) // size) for size in p.group_sizes})
            found = stage(f"given-{name}", partial(_given, p, device, values, counts))
            where = {"affinity": name, "n": len(values), "noise": None, "instance": None}
            rows += [where | {"k": k} | _at(found, i) for i, k in enumerate(counts)]
    return RunRecord("sdp", asdict(p), {"rows": rows}, {}, provenance(device, cost, p.seed, data))


def _planted(p: SDPParameters, device: torch.device, n: int, k: int, noise: float) -> Arrays:
    drawn = [planted_affinity(n, k, noise, p.seed, instance) for instance in range(p.instances)]
    return _together([measure_relaxation(values, k, p.tolerance, device, labels) for values, labels in drawn])


def _given(p: SDPParameters, device: torch.device, values: FloatArray, counts: Sequence[int]) -> Arrays:
    return _together([measure_relaxation(values, k, p.tolerance, device) for k in counts])


def _together(rows: Sequence[Mapping[str, float]]) -> Arrays:
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def _at(arrays: Arrays, index: int) -> dict[str, float]:
    return {name: float(values[index]) for name, values in arrays.items()}
