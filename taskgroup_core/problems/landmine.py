"""Land mines seen by radar: a binary task a field."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from taskgroup_core.errors import DataError
from taskgroup_core.examples import Examples
from taskgroup_core.problems.matlab_file import load_matlab
from taskgroup_core.problems.problem import Problem
from taskgroup_core.problems.registry import DataFile, DataSet, locate
from taskgroup_core.problems.tables import table_problem
from taskgroup_core.tasks import Task

LANDMINE: Final = DataSet(
    "landmine",
    "radar features of 14,820 targets in 29 fields, mine or clutter",
    "no licence known to this project; published with Xue et al., JMLR 2007",
    (
        DataFile(
            "LandmineData.mat", sha256="2163ab20a80e33a8b65593c48cf283c540599dcb291105e63fa4af2ce24c2bea", size=1085456
        ),
    ),
    "Ask the authors of the paper above for LandmineData.mat and put it into that folder.",
)
DATASETS: Final = (LANDMINE,)


def landmine_problem(*, folder: str | Path | None = None, **options: Any) -> Problem:
    """One binary task a field: is the target a mine? Nine features of a radar image each, 29 fields.

    Parameters
    ----------
    folder : of `locate`.
    options : of `table_problem`: width, shares, seed.

    Raises
    ------
    InputError : see `table_problem`.
    DataError : a file that is missing, truncated or has another layout.

    References
    ----------
    Xue, Liao, Carin, Krishnapuram, Multi-Task Learning for Classification with Dirichlet Process Priors, 2007.
    """
    inputs, flat, sizes = _targets(locate(LANDMINE, "LandmineData.mat", folder))
    rows, field = np.arange(len(inputs)), np.repeat(np.arange(len(sizes)), sizes)
    labels = Examples(torch.from_numpy(rows), torch.from_numpy(field), torch.from_numpy(flat))
    return table_problem("landmine", inputs, labels, [Task(f"field {i}") for i in range(len(sizes))], **options)


def _targets(path: Path) -> tuple[NDArray[np.float32], NDArray[np.float32], list[int]]:
    """Features with shape (N, 9) and labels (N,) of the targets, field by field, and the number of them in each."""
    lacking, remedy = "no fields with features and labels", "Restore it."
    content = load_matlab(path, ["feature", "label"], lacking, remedy)
    try:
        features, known = (list(content[name].ravel()) for name in ("feature", "label"))
        inputs = np.concatenate(features, dtype=np.float32)
        flat = np.concatenate([one.ravel() for one in known]).astype(np.float32)
        sizes = [len(one) for one in features]
        fits = sizes == [one.size for one in known] and inputs.shape[1] == 9 and bool(np.isin(flat, (0, 1)).all())
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(str(path), f"{lacking} ({error})", remedy) from error
    if not fits:
        raise DataError(
            str(path), f"{len(sizes)} fields of another layout", "Give nine features and a 0 or 1 a target."
        )
    return inputs, flat, sizes
