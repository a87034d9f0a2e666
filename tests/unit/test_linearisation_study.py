from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parameters_to_vector

from taskgroup_core.errors import InputError
from taskgroup_core.runs.fine_tuning_path import crossings, fine_tuning_path
from taskgroup_core.runs.linearisation_parameters import LinearisationParameters
from taskgroup_core.runs.linearisation_study import ENDS, ORDERS, WAYS, error_table, linearisation_study
from taskgroup_core.training.fit import fit
from taskgroup_core.training.recipe import Recipe
from tests.small import small_problem

CPU = torch.device("cpu")
ASKED = LinearisationParameters(subset_size=2, n_subsets=3, epochs=5, distances=(0.01, 0.03, 0.1), stride=0.01)


def study(network="sign", asked=ASKED):
    return linearisation_study(small_problem(network), asked, CPU, progress=False)


@pytest.fixture(scope="module")
def record():
    return study()


def test_shapes_and_the_way_to_each_distance(record):
    for way in WAYS:
        assert record.arrays[way].shape == (3, 3, len(ORDERS))
    assert record.arrays["end_error"].shape == (3, len(ENDS), len(ORDERS))
    assert (np.diff(record.arrays["steps"]) >= 0).all()
    assert np.isfinite(record.arrays["path"]).all()


def test_errors_grow_with_distance_and_each_order_helps_near_theta(record):
    for way in WAYS:
        errors = record.arrays[way].mean(axis=0)
        assert (np.diff(errors, axis=0) > 0).all()
        assert errors[0, 1] < errors[0, 0] / 10


def test_the_expansion_of_a_linear_network_is_the_network():
    arrays = study("linear").arrays
    for name in (*WAYS, "end_error"):
        assert arrays[name][..., 0].min() > 1e-6
        assert arrays[name][..., 1:].max() < 1e-10  # float32: a rounding error is 1e-7 of an output


def test_token_ids_reach_an_embedding_as_integers():
    base = small_problem("linear")

    def build():
        return nn.Sequential(nn.Embedding(2, 3), nn.Flatten(), nn.Linear(18, 4))

    arrays = linearisation_study(replace(base, inputs=(base.inputs > 0).long(), build=build), ASKED, CPU).arrays
    for way in WAYS:
        assert np.isfinite(arrays[way]).all()


def test_the_end_of_fine_tuning_is_that_of_fit(record):
    assert (record.arrays["end_distance"][:, 1] > record.arrays["end_distance"][:, 0]).all()
    assert record.results["n_parameters"] == len(parameters_to_vector(small_problem("sign").network(0).parameters()))
    flops = record.results["flops"]
    assert flops["forward"] < flops["first order"] < flops["second order"]


def test_the_same_seed_gives_the_same_record_and_another_seed_another(record):
    assert study().id == record.id
    other = LinearisationParameters(**{**record.parameters, "distances": ASKED.distances, "seed": 1})
    assert not np.array_equal(study(asked=other).arrays["path"], record.arrays["path"])


def test_a_distance_that_is_not_reached_is_nan_and_counted_as_such():
    short = LinearisationParameters(2, 3, epochs=2, distances=(0.01, 0.5), stride=0.01, max_steps=3)
    record = study(asked=short)
    assert np.isfinite(record.arrays["path"][:, 0]).all()
    assert np.isnan(record.arrays["path"][:, 1]).all()
    assert np.isnan(record.arrays["steps"][:, 1]).all()
    table = error_table(record, "path")
    assert table["subsets"].tolist() == [3, 0]
    assert error_table(record, "straight")["subsets"].tolist() == [3, 3]


def test_the_table_is_mean_and_standard_error(record):
    table = error_table(record, "random")
    values = record.arrays["random"][:, 1, 1]
    assert table.loc[0.03, "order 1"] == pytest.approx(values.mean())
    assert table.loc[0.03, "error 1"] == pytest.approx(values.std(ddof=1) / 3**0.5)


def test_the_path_leaves_its_start_alone_and_lowers_the_loss():
    problem = small_problem("sign")
    start = fit(problem, range(4), Recipe(epochs=1), 0, CPU).network
    theta = parameters_to_vector(start.parameters()).detach().clone()
    points = list(fine_tuning_path(problem, [0, 2], start, rate=0.01, steps=30, seed=0))
    assert torch.equal(parameters_to_vector(start.parameters()), theta)
    assert not start.training
    assert len(points) == 30
    lengths = [0.1 * float(theta.norm()), 100 * float(theta.norm())]
    displacements, steps = crossings(iter(points), theta, lengths)
    assert len(displacements) == len(steps) == 1
    assert float(displacements[0].norm()) == pytest.approx(lengths[0], rel=1e-5)
    before, after = points[steps[0] - 2] - theta, points[steps[0] - 1] - theta
    assert float(before.norm()) < lengths[0] <= float(after.norm())


def test_several_lengths_may_be_crossed_in_one_step():
    path = iter([torch.tensor([3.0, 4.0]), torch.tensor([6.0, 8.0])])
    displacements, steps = crossings(path, torch.zeros(2), [1.0, 2.5, 10.0])
    assert steps == [1, 1, 2]
    assert torch.allclose(torch.stack(displacements), torch.tensor([[0.6, 0.8], [1.5, 2.0], [6.0, 8.0]]))


@pytest.mark.parametrize(
    "bad", [{"distances": ()}, {"distances": (0.2, 0.1)}, {"distances": (0.0, 0.1)}, {"stride": 0}, {"max_steps": 0}]
)
def test_parameters_that_cannot_be_used(bad):
    with pytest.raises(InputError, match=next(iter(bad))):
        LinearisationParameters(2, 3, **bad)


def test_nan_is_no_distance():
    with pytest.raises(InputError, match="distances"):
        LinearisationParameters(2, 3, distances=(float("nan"),))


def test_an_unknown_way():
    with pytest.raises(InputError, match="way"):
        error_table(study(), "detour")


def test_a_subset_larger_than_the_problem():
    with pytest.raises(InputError, match="size"):
        study(asked=LinearisationParameters(subset_size=5, n_subsets=1))
