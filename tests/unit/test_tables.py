"""Problems from tables: splits, scaling, the embedded table, the official files of the others."""

from __future__ import annotations

import gzip
import hashlib
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.io
import torch
from sklearn.linear_model import LogisticRegression

from taskgroup_core.errors import DataError, InputError
from taskgroup_core.examples import Examples
from taskgroup_core.problems.landmine import LANDMINE, landmine_problem
from taskgroup_core.problems.registry import embedded
from taskgroup_core.problems.school import SCHOOL, school_problem
from taskgroup_core.problems.tables import table_problem
from taskgroup_core.problems.yeast import yeast_problem
from taskgroup_core.runs.provenance import ROOT
from taskgroup_core.tasks import Task
from taskgroup_core.training.fit import fit
from taskgroup_core.training.recipe import Recipe
from tests.memory import peak

TABLES = Path(__file__).resolve().parents[3] / "shared" / "data" / "tables"
needs_tables = pytest.mark.skipif(not TABLES.is_dir(), reason=f"School and Landmine are missing: no folder {TABLES}")
PUPILS = "Year,School,FSM,VR_Band,Gender,VR_BAND_Student,Ethnicity,School_Gender,School_Denomination,ExamScore\n"


def split_of(problem):
    part = np.full((len(problem.inputs), problem.n_tasks), -1)
    for number, split in enumerate(("train", "val", "test")):
        rows = getattr(problem, split)
        part[rows.input_index, rows.task_index] = number
    return part


def mixed(seed=0):
    generator = np.random.default_rng(0)
    inputs = generator.normal(3, 2, (60, 4))
    labels = np.column_stack([inputs[:, 0] > 3, 5 + 10 * inputs[:, 1]]).astype(float)
    labels[:20, 0], labels[20:40, 1] = np.nan, np.nan
    tasks = [Task("a"), Task("b", "regression", "r2")]
    return inputs, labels, table_problem("mixed", inputs, labels, tasks, seed=seed)


def test_rows_are_dealt_out_by_their_tasks_and_alike_for_all_of_them():
    _, labels, problem = mixed()
    part = split_of(problem)
    assert np.array_equal(part >= 0, ~np.isnan(labels))
    both = part[40:]
    assert np.array_equal(both[:, 0], both[:, 1])
    assert [int((part[:20, 1] == split).sum()) for split in range(3)] == [8, 4, 8]
    for value in (0, 1):  # one task alone: class by class
        rows = part[20:40, 0][labels[20:40, 0] == value]
        assert abs((rows == 0).mean() - 0.4) <= 0.5 / len(rows)
    assert not np.array_equal(part, split_of(mixed(seed=1)[2]))


def test_inputs_and_regression_labels_are_scaled_by_training_rows():
    _, labels, problem = mixed()
    part = split_of(problem)
    rows = problem.inputs[(part == 0).any(axis=1)]
    assert np.allclose(rows.mean(dim=0), 0, atol=1e-5) and np.allclose(rows.std(dim=0, correction=0), 1, atol=1e-5)
    own = problem.train.of_tasks([1]).label
    assert float(own.mean()) == pytest.approx(0, abs=1e-5) and float(own.std(correction=0)) == pytest.approx(
        1, rel=1e-5
    )
    known = labels[part[:, 1] == 0, 1]
    test = problem.test.of_tasks([1])
    assert np.allclose(test.label * known.std() + known.mean(), labels[test.input_index, 1], atol=1e-4)


def test_a_column_that_is_constant_in_training_is_not_blown_up():
    inputs, labels, problem = mixed()
    part = split_of(problem).max(axis=1)
    inputs[:, 1], labels[:, 1] = 0.1, np.where(np.isnan(labels[:, 1]), np.nan, 0.1)
    inputs[part == 2, 1] = 0.2
    tasks = [Task("a"), Task("b", "regression", "r2")]
    made = table_problem("mixed", inputs, labels, tasks)
    assert np.array_equal(split_of(made).max(axis=1), part)
    assert np.allclose(made.inputs[part == 2, 1], 0.1) and np.allclose(made.inputs[part == 0, 1], 0)
    assert np.allclose(made.train.of_tasks([1]).label, 0)


def test_rows_without_a_label_do_not_scale():
    inputs, labels, _ = mixed()
    more = np.concatenate([inputs, inputs + 1000])
    tasks = [Task("a"), Task("b", "regression", "r2")]
    made = table_problem("mixed", pd.DataFrame(more), np.concatenate([labels, np.full(labels.shape, np.nan)]), tasks)
    train = made.train.input_index.unique()
    assert np.allclose(made.inputs[train].mean(dim=0), 0, atol=1e-5)
    assert np.allclose(made.inputs[train].std(dim=0, correction=0), 1, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "argument"),
    [
        ({"inputs": np.ones(5)}, "inputs"),
        ({"labels": np.ones((5, 2))}, "labels"),
        ({"shares": (0.6, 0.4)}, "shares"),
        ({"shares": (0.0, 0.4)}, "shares"),
        ({"inputs": np.full((5, 1), np.nan)}, "inputs"),
        ({"labels": np.ones((5, 1))}, "train"),
        ({"labels": np.full((5, 1), np.nan)}, "train"),
        ({"labels": np.array([["a"]] * 5)}, "labels"),
        ({"inputs": np.array([["a"]] * 5)}, "inputs"),
        ({"inputs": np.ones((5, 0))}, "inputs"),
        ({"shares": (0.3, 0.3, 0.2)}, "shares"),
        ({"shares": (np.nan, 0.2)}, "shares"),
        ({"width": 0}, "width"),
    ],
)
def test_tables_that_do_not_fit(change, argument):
    good = {"inputs": np.arange(5.0)[:, None], "labels": np.array([[0.0], [1], [0], [1], [0]]), "shares": (0.4, 0.2)}
    with pytest.raises(InputError) as caught:
        table_problem("t", tasks=[Task("a")], **(good | change))
    assert caught.value.argument == argument


def examples_of(labels):
    row, task = np.nonzero(~np.isnan(labels))
    return Examples(torch.from_numpy(row), torch.from_numpy(task), torch.from_numpy(labels[row, task]).float())


def test_labels_may_come_as_examples():
    inputs, labels, problem = mixed()
    tasks = [Task("a"), Task("b", "regression", "r2")]
    same = table_problem("mixed", inputs, examples_of(labels), tasks, seed=0)
    assert np.array_equal(split_of(problem), split_of(same)) and torch.equal(problem.inputs, same.inputs)
    assert torch.allclose(problem.train.label, same.train.label, atol=1e-5)
    for few, which in ((inputs[:-1], tasks), (inputs, tasks[:1])):
        with pytest.raises(InputError, match="labels"):
            table_problem("mixed", few, examples_of(labels), which)


def test_yeast_is_the_frozen_table_with_the_cards_counts():
    problem = yeast_problem()
    assert (len(problem.inputs), problem.inputs.shape[1], problem.n_tasks) == (2417, 103, 14)
    card = (ROOT / "data" / "yeast" / "README.md").read_text(encoding="utf-8")
    size = re.search(r"([\d,]+) bytes", card).group(1)
    assert int(size.replace(",", "")) == (embedded("yeast") / "yeast.parquet").stat().st_size
    table = pd.read_parquet(embedded("yeast") / "yeast.parquet")
    share = table.filter(like="Class").mean()
    assert (share.idxmin(), share.idxmax()) == ("Class14", "Class12")
    assert (round(100 * share.min(), 1), round(100 * share.max())) == (1.4, 75)
    assert table["Class12"][table["Class13"]].mean() > 0.98
    part = split_of(problem)
    assert (part == part[:, :1]).all()


def test_yeast_can_be_learnt():
    problem = yeast_problem(["Class1", "Class2", "Class4"])
    fitted = fit(problem, [0, 1, 2], Recipe(epochs=30, batch_size=200), 0, "cpu")
    test = problem.test.of_tasks([0])
    output = fitted.network(problem.inputs[test.input_index])[:, 0] > 0
    train = problem.train.of_tasks([0])
    reference = LogisticRegression(C=0.01).fit(problem.inputs[train.input_index], train.label)
    expected = reference.score(problem.inputs[test.input_index], test.label)
    assert float((output == test.label).float().mean()) > expected - 0.08 > 0.6
    with pytest.raises(InputError, match="Class15"):
        yeast_problem(["Class15"])


@needs_tables
def test_the_official_files_are_those_of_the_registry_and_have_their_counts():
    for dataset in (SCHOOL, LANDMINE):
        (file,) = dataset.files
        content = (TABLES / file.name).read_bytes()
        assert (hashlib.sha256(content).hexdigest(), len(content)) == (file.sha256, file.size)
    school, mines = school_problem(folder=TABLES), landmine_problem(folder=TABLES)
    assert (len(school.inputs), school.n_tasks) == (15_362, 139)
    assert (len(mines.inputs), mines.n_tasks, mines.inputs.shape[1]) == (14_820, 29, 9)
    assert len(school_problem(3, folder=TABLES).inputs) < 800


def held_bytes(problem):
    splits = (problem.train, problem.val, problem.test)
    parts = [part for split in splits for part in (split.input_index, split.task_index, split.label)]
    return sum(tensor.numel() * tensor.element_size() for tensor in (problem.inputs, *parts))


def test_yeast_takes_less_than_twice_its_memory():
    yeast_problem()  # what is imported late is not counted
    problem, most = peak(yeast_problem)
    assert held_bytes(problem) / 2 < most < 2 * held_bytes(problem)


@needs_tables
def test_mostly_empty_tables_are_never_filled():
    landmine_problem(folder=TABLES)  # what is imported late is not counted
    problem, most = peak(lambda: school_problem(folder=TABLES))
    assert held_bytes(problem) / 2 < most < 2 * held_bytes(problem)
    _, read = peak(lambda: scipy.io.loadmat(TABLES / LANDMINE.files[0].name))  # in double precision
    problem, most = peak(lambda: landmine_problem(folder=TABLES))
    assert held_bytes(problem) < read and most < 2 * read


def write_pupils(folder, rows):
    with gzip.open(folder / "School_Data.csv.gz", "wt") as file:
        file.write(PUPILS + "".join(f"{row}\n" for row in rows))


def test_a_small_school_file(tmp_path):
    rows = [
        f"1,{school},1,2,{pupil % 2},{pupil % 3},1,1,1,{10 * school + pupil}" for school in (7, 3) for pupil in range(6)
    ]
    write_pupils(tmp_path, [*rows, "1,3,1,2,0,0,1,1,1,50"])
    problem = school_problem(folder=tmp_path)
    assert problem.task_names == ["school 3", "school 7"]
    assert problem.inputs.shape == (13, 1 + 2 + 3 + 1)
    assert school_problem(1, folder=tmp_path).task_names == ["school 3"]
    with pytest.raises(InputError, match="n_schools: found 3"):
        school_problem(3, folder=tmp_path)


def test_school_files_that_cannot_be_read(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        school_problem(folder=tmp_path)
    pupil = "1,1,1,1,0,0,1,1,1,5"
    write_pupils(tmp_path, [pupil] * 20)
    path = tmp_path / "School_Data.csv.gz"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match="a truncated or altered gzip file"):
        school_problem(folder=tmp_path)
    with gzip.open(path, "wt") as file:
        file.write(PUPILS.replace("Gender", "Sex") + pupil)
    with pytest.raises(DataError, match=r"line 1: found no column Gender\. The header names School"):
        school_problem(folder=tmp_path)
    write_pupils(tmp_path, [])
    with pytest.raises(DataError, match=r"School_Data\.csv\.gz: found no pupil"):
        school_problem(folder=tmp_path)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("1,1,1,1,0,x,1,1,1,5", "'x' as VR_BAND_Student"),
        ("1,1,1,1,0,0.5,1,1,1,5", "'0.5' as VR_BAND_Student"),
        ("1,1,1,1,0,0,1,1,1,inf", "'inf' as ExamScore"),
        ("1,1,1,1,0,0,1,1,1,", "'' as ExamScore"),
        ("1,1,1,1,0,0,1,1,1,5,6", "11 cells. Each row has 10 cells"),
        ("1,1", "2 cells"),
        ("", "0 cells"),
        (f"1,1,1,1,0,0,1,1,1,{'5' * 200_000}", "field larger than field limit"),
    ],
)
def test_a_malformed_row_of_the_schools_names_its_line(tmp_path, row, words):
    write_pupils(tmp_path, ["1,1,1,1,0,0,1,1,1,5", row, "1,1,1,1,0,0,1,1,1,5"])
    with pytest.raises(DataError, match=rf"School_Data\.csv\.gz, line 3: found {words}"):
        school_problem(folder=tmp_path)


def write_fields(folder, **changes):
    content = {"feature": np.empty((1, 2), dtype=object), "label": np.empty((1, 2), dtype=object)}
    for field in range(2):
        content["feature"][0, field] = np.arange(90.0).reshape(10, 9) + field
        content["label"][0, field] = (np.arange(10) % 2)[:, None].astype(np.uint8)
    scipy.io.savemat(folder / "LandmineData.mat", content | changes)


def test_a_small_landmine_file(tmp_path):
    write_fields(tmp_path)
    problem = landmine_problem(folder=tmp_path)
    assert problem.task_names == ["field 0", "field 1"] and problem.inputs.shape == (20, 9)


def test_landmine_files_that_cannot_be_read(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        landmine_problem(folder=tmp_path)
    write_fields(tmp_path, label=np.zeros((1, 2)))
    with pytest.raises(DataError, match="fields"):
        landmine_problem(folder=tmp_path)
    (tmp_path / "LandmineData.mat").write_bytes(b"MATLAB 5.0 nothing")
    with pytest.raises(DataError, match="no fields"):
        landmine_problem(folder=tmp_path)
