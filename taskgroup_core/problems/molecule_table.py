"""Molecules as flat arrays of atoms, and the twelve properties that QM9 publishes for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from taskgroup_core.errors import InputError
from taskgroup_core.matrices import FloatArray

HARTREE = 27.211386245988  # eV, CODATA 2018
ELEMENTS: Mapping[str, int] = {"H": 1, "C": 6, "N": 7, "O": 8, "F": 9}
ENERGIES = ("U0", "U", "H", "G")


@dataclass(frozen=True)
class Property:
    """One property of a molecule.

    Parameters
    ----------
    name : of the task.
    meaning : in words.
    unit : of the labels before standardisation.
    factor : what a published number (QM9: energies in hartree) is multiplied by to be in that unit.
    """

    name: str
    meaning: str
    unit: str
    factor: float = 1.0


# In the order of SCA's supplement.
PROPERTIES = (
    Property("mu", "dipole moment", "D"),
    Property("alpha", "isotropic polarisability", "bohr^3"),
    Property("HOMO", "energy of the highest occupied orbital", "eV", HARTREE),
    Property("LUMO", "energy of the lowest unoccupied orbital", "eV", HARTREE),
    Property("gap", "LUMO minus HOMO", "eV", HARTREE),
    Property("R2", "electronic spatial extent", "bohr^2"),
    Property("ZPVE", "zero-point vibrational energy", "eV", HARTREE),
    Property("Cv", "heat capacity at 298.15 K", "cal/(mol K)"),
    Property("U0", "atomisation energy at 0 K", "eV", HARTREE),
    Property("U", "atomisation energy at 298.15 K", "eV", HARTREE),
    Property("H", "atomisation enthalpy at 298.15 K", "eV", HARTREE),
    Property("G", "atomisation free energy at 298.15 K", "eV", HARTREE),
)
TWELVE = tuple(one.name for one in PROPERTIES)
ELEVEN = tuple(name for name in TWELVE if name != "gap")

# Hartree; rows are H, C, N, O, F, columns the ENERGIES of one atom: QM9's file atomref.txt.
FREE_ATOMS: FloatArray = np.array(
    [
        [-0.500273, -0.498857, -0.497912, -0.510927],
        [-37.846772, -37.845355, -37.844411, -37.861317],
        [-54.583861, -54.582445, -54.581501, -54.598897],
        [-75.064579, -75.063163, -75.062219, -75.079532],
        [-99.718730, -99.717314, -99.716370, -99.733544],
    ]
)


@dataclass(frozen=True)
class Molecules:
    """M molecules with K atoms in all: the atoms of molecule m follow those of molecule m - 1.

    Parameters
    ----------
    index : QM9's number of each molecule, int64 with shape (M,).
    smiles : of each molecule.
    n_atoms : atoms of each, int64 with shape (M,).
    elements : atomic numbers, uint8 with shape (K,).
    positions : in angstrom, float32 with shape (K, 3).
    published : the numbers of `PROPERTIES` as QM9 publishes them (total energies, hartree), float64 with shape
        (M, 12), NaN where missing.

    Raises
    ------
    InputError : shapes that do not fit, a molecule without atoms, an atomic number that is not one of `ELEMENTS`, or
        positions that are NaN or infinite.
    """

    index: NDArray[np.int64]
    smiles: tuple[str, ...]
    n_atoms: NDArray[np.int64]
    elements: NDArray[np.uint8]
    positions: NDArray[np.float32]
    published: FloatArray

    def __post_init__(self) -> None:
        count, total = len(self.index), int(self.n_atoms.sum())
        shapes = {
            "smiles": ((len(self.smiles),), (count,)),
            "n_atoms": (self.n_atoms.shape, (count,)),
            "elements": (self.elements.shape, (total,)),
            "positions": (self.positions.shape, (total, 3)),
            "published": (self.published.shape, (count, len(PROPERTIES))),
        }
        for name, (found, fits) in shapes.items():
            if found != fits:
                raise InputError(name, f"shape {found}", f"{count} molecules with {total} atoms need {fits}.")
        if count and self.n_atoms.min() < 1:
            raise InputError("n_atoms", f"{self.n_atoms.min()}", "Each molecule has one atom or more.")
        if not np.isin(self.elements, list(ELEMENTS.values())).all():
            raise InputError("elements", "an atomic number of none of H, C, N, O, F", "Leave such molecules out.")
        if not np.isfinite(self.positions).all():
            raise InputError("positions", "NaN or infinity", "Leave such molecules out.")

    def __len__(self) -> int:
        return len(self.index)

    @property
    def composition(self) -> FloatArray:
        """How many atoms of H, C, N, O and F each molecule has, with shape (M, 5)."""
        owner = np.repeat(np.arange(len(self)), self.n_atoms)
        counts = np.zeros((len(self), len(ELEMENTS)))
        np.add.at(counts, (owner, np.searchsorted(list(ELEMENTS.values()), self.elements)), 1)
        return counts

    def select(self, rows: Sequence[int] | NDArray[np.int64]) -> Molecules:
        """The molecules at some positions, in the order of `rows`."""
        chosen = np.asarray(rows, dtype=np.int64)
        ends = np.cumsum(self.n_atoms)
        starts, counts = (ends - self.n_atoms)[chosen], self.n_atoms[chosen]
        atoms = np.repeat(starts - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
        smiles = tuple(self.smiles[row] for row in chosen.tolist())
        return Molecules(
            self.index[chosen], smiles, counts, self.elements[atoms], self.positions[atoms], self.published[chosen]
        )

    def labels(self, *, atomisation: bool = True) -> FloatArray:
        """The properties in the units of `PROPERTIES`, with shape (M, 12), NaN where missing.

        Parameters
        ----------
        atomisation : U0, U, H and G less those of the molecule's free atoms, so that a bound molecule has a negative
            energy; False gives the total energies.
        """
        values = self.published.copy()
        if atomisation:
            values[:, [TWELVE.index(name) for name in ENERGIES]] -= self.composition @ FREE_ATOMS
        return values * [one.factor for one in PROPERTIES]

    def padded(self, max_atoms: int | None = None) -> NDArray[np.float32]:
        """Atomic number and position of each atom, with shape (M, max_atoms, 4); rows of zeros where there is none.

        Parameters
        ----------
        max_atoms : by default, and at least, the atoms of the largest molecule.

        Raises
        ------
        InputError : a molecule with more atoms.
        """
        largest = int(self.n_atoms.max(initial=1))
        width = largest if max_atoms is None else max_atoms
        if width < largest:
            raise InputError("max_atoms", str(max_atoms), f"The largest molecule has {largest} atoms.")
        dense = np.zeros((len(self), width, 4), dtype=np.float32)
        there = np.arange(width) < self.n_atoms[:, None]
        dense[there, 0], dense[there, 1:] = self.elements, self.positions
        return dense
