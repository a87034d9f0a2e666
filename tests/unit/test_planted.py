import pickle

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from taskgroup_core.errors import InputError
from taskgroup_core.problems.planted import planted_problem


def labels_of(problem):
    label = torch.full((len(problem.inputs), problem.n_tasks), torch.nan)
    for split in ("train", "val", "test"):
        rows = getattr(problem, split)
        assert label[rows.input_index, rows.task_index].isnan().all()
        label[rows.input_index, rows.task_index] = rows.label
    return label.numpy()


def agreement(problem):
    sign = 2 * labels_of(problem) - 1
    return sign.T @ sign / len(sign)


def test_every_input_is_labelled_for_every_task_and_split_in_fifths():
    problem = planted_problem(2, tasks_per_family=3, n_examples=100)
    assert problem.task_names == ["0.0", "0.1", "0.2", "1.0", "1.1", "1.2"]
    assert not np.isnan(labels_of(problem)).any()
    assert [len(getattr(problem, split)) for split in ("train", "val", "test")] == [120, 120, 360]


def test_tasks_of_a_family_agree_and_conflict_opposes_families():
    related = {}
    for conflict in (0.0, 1.0):
        matrix = agreement(
            planted_problem(3, tasks_per_family=2, n_examples=4000, conflict=conflict, spread=0.0, noise=0.0)
        )
        assert matrix[0, 1] == 1
        related[conflict] = matrix[0, 2]
    # labels of two directions at angle a agree in sign with correlation 1 - 2 a / pi
    assert related[0.0] == pytest.approx(0, abs=0.05)
    assert related[1.0] == pytest.approx(1 - 2 * np.arccos(-0.5) / np.pi, abs=0.05)


def test_noise_flips_that_share_of_the_labels():
    clean, noisy = (
        labels_of(planted_problem(2, tasks_per_family=2, n_examples=4000, noise=noise)) for noise in (0.0, 0.2)
    )
    assert (clean != noisy).mean() == pytest.approx(0.2, abs=0.02)


def test_a_linear_model_learns_it():
    problem = planted_problem(2, tasks_per_family=1, n_examples=2000, noise=0.0)
    rows, test = problem.train.of_tasks([0]), problem.test.of_tasks([0])
    model = LogisticRegression().fit(problem.inputs[rows.input_index], rows.label)
    assert model.score(problem.inputs[test.input_index], test.label) > 0.9


@pytest.mark.parametrize(("network", "parameters"), [("linear", 16 * 4 + 4), ("mlp", 16 * 8 + 8 + 8 * 4 + 4)])
def test_networks(network, parameters):
    problem = planted_problem(2, tasks_per_family=2, network=network, width=8)
    made = pickle.loads(pickle.dumps(problem)).network(0)
    assert sum(parameter.numel() for parameter in made.parameters()) == parameters
    assert made(problem.inputs[:5]).shape == (5, 4)


def test_same_seed_same_problem():
    first, second, other = (planted_problem(2, tasks_per_family=2, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first.inputs, second.inputs)
    assert torch.equal(first.train.label, second.train.label)
    assert not torch.equal(first.inputs, other.inputs)


@pytest.mark.parametrize(
    "bad",
    [
        {"families": 0},
        {"families": 17},
        {"tasks_per_family": 0},
        {"n_examples": 9},
        {"conflict": 1.5},
        {"conflict": float("nan")},
        {"spread": -0.1},
        {"noise": 0.5},
        {"network": "cnn"},
        {"width": 0},
        {"kind": "ordinal"},
        {"classes": 1},
        {"labelled": 0.0},
        {"tasks_per_family": [2]},
        {"tasks_per_family": [2, 0]},
    ],
)
def test_bad_arguments(bad):
    with pytest.raises(InputError, match=f"{next(iter(bad))}: found"):
        planted_problem(**{"families": 2, "tasks_per_family": 2, **bad})


def test_classes_are_equally_likely_intervals_and_noise_replaces_labels():
    options = {"tasks_per_family": 1, "n_examples": 6000, "kind": "multiclass", "classes": 4, "spread": 0.0}
    clean, noisy = (labels_of(planted_problem(2, noise=noise, **options)) for noise in (0.0, 0.2))
    assert np.bincount(clean[:, 0].astype(int)) / 6000 == pytest.approx(np.full(4, 0.25), abs=0.03)
    assert (clean != noisy).mean() == pytest.approx(0.2, abs=0.02)
    assert set(np.unique(noisy)) == {0, 1, 2, 3}
    assert planted_problem(2, **options).n_outputs == 8


def test_regression_is_the_direction_with_its_share_of_noise():
    options = {"tasks_per_family": 2, "n_examples": 4000, "kind": "regression", "spread": 0.0}
    problem = planted_problem(2, noise=0.0, **options)
    label = labels_of(problem)
    solution, residual, *_ = np.linalg.lstsq(problem.inputs.numpy(), label, rcond=None)
    assert np.linalg.norm(solution, axis=0) == pytest.approx(np.ones(4), rel=1e-4) and residual.max() < 1e-6
    assert np.allclose(label[:, 0], label[:, 1])
    noisy = labels_of(planted_problem(2, noise=0.3, **options))
    assert noisy.var(axis=0) == pytest.approx(np.ones(4), abs=0.12)
    assert 1 - np.corrcoef(noisy[:, 0], label[:, 0])[0, 1] ** 2 == pytest.approx(0.3, abs=0.04)


def test_labels_may_be_sparse_and_families_of_several_sizes():
    problem = planted_problem(2, tasks_per_family=[1, 3], n_examples=1000, labelled=0.3)
    assert problem.task_names == ["0.0", "1.0", "1.1", "1.2"]
    whole, part = labels_of(planted_problem(2, tasks_per_family=[1, 3], n_examples=1000)), labels_of(problem)
    kept = ~np.isnan(part)
    assert kept.mean() == pytest.approx(0.3, abs=0.03)
    assert np.array_equal(whole[kept], part[kept])
    with pytest.raises(InputError, match=r"no example of task|one class only"):
        planted_problem(2, tasks_per_family=1, n_examples=10, labelled=0.01)
