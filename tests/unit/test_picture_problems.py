"""Every estimator and grouper runs unchanged on pictures kept as bytes, with some labels missing."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
import xarray as xr

from taskgroup_core.device import resolve_device
from taskgroup_core.errors import InputError
from taskgroup_core.grouping.best_served import BestServedGrouper
from taskgroup_core.grouping.exhaustive import ExhaustiveGrouper
from taskgroup_core.grouping.lloyd import LloydGrouper
from taskgroup_core.grouping.programming import ProgrammingGrouper
from taskgroup_core.grouping.random import RandomGrouper
from taskgroup_core.grouping.sdp import SDPGrouper
from taskgroup_core.grouping.spectral import SpectralGrouper
from taskgroup_core.problems.problem import Problem
from taskgroup_core.training.evaluate import evaluate
from taskgroup_core.training.fit import fit
from taskgroup_core.training.recipe import Recipe
from tests.pictures import picture_problem
from tests.unit import test_all_estimators as all_estimators

RECIPE = Recipe(epochs=3, batch_size=1000, learning_rate=0.01)
GROUPERS = [
    BestServedGrouper,
    ExhaustiveGrouper,
    LloydGrouper,
    ProgrammingGrouper,
    RandomGrouper,
    SDPGrouper,
    SpectralGrouper,
]


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(all_estimators, "RECIPE", RECIPE)
    monkeypatch.setattr(all_estimators, "ROWS", 20)


@cache
def estimate(name: str) -> xr.DataArray:
    return all_estimators.ESTIMATORS[name](picture_problem())


@pytest.mark.parametrize("name", all_estimators.ESTIMATORS)
def test_every_estimator_runs(name: str) -> None:
    found = estimate(name)
    assert found.dims == ("target", "source") and np.isfinite(found.values).all()
    assert found["target"].values.tolist() == ["red", "green", "both", "coin"]
    assert np.ptp(found.values) > 0


@pytest.mark.parametrize("grouper", GROUPERS, ids=lambda grouper: grouper.__name__)
def test_every_grouper_runs_on_an_estimate(grouper: type) -> None:
    groups = grouper(2).fit(estimate("TAG").values).groups_
    assert sorted(set().union(*map(set, groups))) == [0, 1, 2, 3]


def test_bytes_train_the_network_that_floats_of_double_precision_train() -> None:
    single = fit(picture_problem(), range(4), RECIPE, 0, "cpu")
    double = fit(picture_problem(torch.float64, torch.float64), range(4), RECIPE, 0, "cpu")
    assert np.allclose(single.losses, double.losses, rtol=1e-5)
    assert single.flops == double.flops > 0


def test_an_easy_attribute_is_learnt_and_a_coin_is_not() -> None:
    problem = picture_problem()
    fitted = fit(problem, range(4), Recipe(epochs=30, batch_size=15, learning_rate=0.01), 0, "cpu")
    scores = evaluate(fitted.network, problem, "test", range(4), resolve_device("cpu"))["negative_loss"]
    assert scores[:2].min() > -0.3 > -0.6 > scores[3]


def test_floats_must_be_finite_and_bytes_always_are() -> None:
    base = picture_problem(torch.float32)
    splits = (base.train, base.val, base.test)
    spoilt = base.inputs.clone()
    spoilt[3, 1, 2, 2] = torch.nan
    with pytest.raises(InputError, match="inputs: found NaN"):
        Problem(base.name, base.tasks, spoilt, *splits, base.build)
    assert Problem(base.name, base.tasks, base.inputs.to(torch.uint8), *splits, base.build).inputs.element_size() == 1
