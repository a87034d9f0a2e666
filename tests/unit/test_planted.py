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
    ],
)
def test_bad_arguments(bad):
    with pytest.raises(InputError, match=f"{next(iter(bad))}: found"):
        planted_problem(**{"families": 2, "tasks_per_family": 2, **bad})
