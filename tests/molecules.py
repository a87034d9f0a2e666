"""Tiny wheels in the format of qm9pack, for tests that must not need the real one."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from taskgroup_core.problems.molecule_table import ELEMENTS, PROPERTIES, Molecules
from taskgroup_core.problems.molecules import WHEEL
from taskgroup_core.problems.qm9_wheel import COLUMNS, MEMBERS

HEADER = ("XYZ_file", "Index", "SMILES", "N_atoms", "Elements", "XYZ_Ang", *COLUMNS)
SYMBOLS = {number: symbol for symbol, number in ELEMENTS.items()}


def random_molecules(count: int = 40, most: int = 7, seed: int = 0) -> Molecules:
    """Atoms at random places, not too near to each other, with properties that depend on them."""
    generator = np.random.default_rng(seed)
    n_atoms = generator.integers(3, most + 1, count)
    elements = generator.choice(list(ELEMENTS.values()), n_atoms.sum()).astype(np.uint8)
    grid = np.stack(np.meshgrid(range(3), range(3), range(3)), axis=-1).reshape(-1, 3) * 1.2
    places = [grid[generator.permutation(27)[:size]] for size in n_atoms]
    positions = np.round(np.concatenate(places) + generator.uniform(-0.2, 0.2, (n_atoms.sum(), 3)), 5)
    owner = np.repeat(np.arange(count), n_atoms)
    summed = np.bincount(owner, elements)[:, None] + np.bincount(owner, positions[:, 0] ** 2)[:, None]
    published = np.round(summed * generator.uniform(0.5, 1, len(PROPERTIES)) + generator.normal(size=(count, 12)), 4)
    names = tuple(f"C{row}" for row in range(count))
    return Molecules(
        np.arange(1, count + 1), names, n_atoms, elements, positions.astype(np.float32), published.astype(np.float64)
    )


def rows_of(molecules: Molecules) -> list[list[str]]:
    """The lines of the table, as qm9pack prints them."""
    rows, start = [], 0
    for row, size in enumerate(molecules.n_atoms.tolist()):
        atoms = slice(start, start + size)
        symbols = ",".join(f"'{SYMBOLS[int(number)]}'" for number in molecules.elements[atoms])
        places = ",".join("[" + ",".join(str(x) for x in place) + "]" for place in molecules.positions[atoms])
        numbers = ["" if np.isnan(value) else str(value) for value in molecules.published[row]]
        first = [f"dsgdb9nsd_{molecules.index[row]:06}.xyz", str(molecules.index[row]), molecules.smiles[row]]
        rows.append([*first, str(size), f"[{symbols}]", f"[{places}]", *numbers])
        start += size
    return rows


def write_wheel(
    folder: Path, rows: Sequence[Sequence[str]], *, header: Sequence[str] = HEADER, members: Sequence[str] = MEMBERS
) -> Path:
    """A wheel whose members hold the rows in their order, equally many each."""
    path, size = folder / WHEEL.name, -(-len(rows) // len(members))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for part, member in enumerate(members):
            text = io.StringIO()
            writer = csv.writer(text, lineterminator="\n")
            writer.writerow(header)
            writer.writerows(rows[part * size : (part + 1) * size])
            wheel.writestr(member, text.getvalue())
    return path
