"""The study of weightings against groups, against trainings of its own, and its tables against plain loops."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import ttest_rel

from taskgroup_core.errors import InputError
from taskgroup_core.problems.planted import planted_problem
from taskgroup_core.runs.baseline_parameters import BaselineParameters
from taskgroup_core.runs.baseline_study import baseline_study
from taskgroup_core.runs.baseline_tables import gains, three_papers
from taskgroup_core.runs.paper_methods import METHODS, method_affinity, method_groups
from taskgroup_core.seeds import derive
from taskgroup_core.training.epochs import training_flops
from taskgroup_core.training.evaluate import evaluate
from taskgroup_core.training.joint import joint_training
from taskgroup_core.training.weighting import make_weighting

CPU = torch.device("cpu")
ASKED = BaselineParameters(
    epochs=4,
    batch_size=100,
    learning_rate=0.02,
    replicates=2,
    splits=(2,),
    alphas=(0.5, 2.0),
    random=3,
    every=2,
    alpha=2,
    m=30,
    dimension=8,
    restarts=1,
)


def problem(width: int = 5):
    return planted_problem(2, tasks_per_family=2, n_examples=120, n_features=6, width=width, conflict=0.5)


@pytest.fixture(scope="module")
def record():
    return baseline_study(problem(), ASKED, CPU, wider={3: problem(15)}, progress=False)


def scores(group, keep="best", weighting=None, width=5, replicate=1):
    recipe, seed = replace(ASKED.recipe, keep=keep), derive(ASKED.seed, "replicate", replicate)
    fitted = joint_training(problem(width), recipe, seed, CPU, subset=group, weighting=weighting)
    return evaluate(fitted.network, problem(width), "test", group, CPU), fitted.flops


def row_of(record, **wanted):
    rows = pd.DataFrame(record.results["rows"])
    (place,) = rows.index[np.all([rows[key] == value for key, value in wanted.items()], axis=0)]
    return place, rows.loc[place]


def test_a_row_of_groups_holds_each_task_from_its_groups_own_training(record):
    for name in ("TAG", "GRAD-TAG", "transfer gain", "random 1"):
        place, row = row_of(record, name=name, kind="groups")
        trained = [scores(group) for group in row.groups]
        for metric in ("score", "negative_loss"):
            served = [trained[group][0][metric][task] for task, group in enumerate(row.served_by)]
            np.testing.assert_array_equal(record.arrays[f"test.{metric}"][place, 1], served)
        assert row.flops == sum(flops for _, flops in trained)
        assert row.flops == sum(training_flops(problem(), group, ASKED.recipe) for group in row.groups)


def test_one_network_is_trained_under_its_weighting_and_to_its_epoch(record):
    everything = range(4)
    for name, keep in (("sum", "last"), ("PCGrad", "best"), ("GradNorm, alpha = 2", "best")):
        weighting = None if name == "sum" else ASKED.weightings()[name]
        place, _ = row_of(record, name=name, keep=keep, kind="one network")
        expected, flops = scores(everything, keep, weighting)
        np.testing.assert_array_equal(record.arrays["test.score"][place, 1], expected["score"])
        assert record.results["rows"][place]["flops"] == flops
    place, _ = row_of(record, kind="wider network", k=3)
    np.testing.assert_array_equal(
        record.arrays["test.negative_loss"][place, 1], scores(everything, width=15)[0]["negative_loss"]
    )


def test_alone_and_with_surgery(record):
    place, row = row_of(record, kind="alone")
    assert row.groups == [[0], [1], [2], [3]]
    np.testing.assert_array_equal(
        record.arrays["test.score"][place, 1], [scores([task])[0]["score"][task] for task in range(4)]
    )
    place, row = row_of(record, kind="groups and surgery")
    _, plain = row_of(record, kind="groups", name="TAG")
    assert row.groups == plain.groups
    for task, group in enumerate(row.served_by):
        members = row.groups[group]
        weighting = make_weighting("PCGrad") if len(members) > 1 else None
        expected = scores(members, weighting=weighting)[0]["negative_loss"][task]
        assert record.arrays["test.negative_loss"][place, 1, task] == expected


def test_groups_are_those_of_estimator_and_grouper(record):
    for name in METHODS:
        one = method_affinity(name, problem(), ASKED, derive(ASKED.seed, name), CPU)
        np.testing.assert_array_equal(record.arrays[f"affinity.{name}"], one["T"])
        _, row = row_of(record, name=name, kind="groups")
        grouping = method_groups(name, one["T"], 2, 1, derive(ASKED.seed, "groups", name, 2))
        assert [tuple(group) for group in row.groups] == list(grouping.groups)
        assert row.affinity_flops == one["flops"] > 0


@pytest.mark.parametrize("name", [name for name in METHODS if name != "SCA"])
def test_every_method_finds_clear_families(name):
    families = np.kron(2 * np.eye(2) - 1, np.ones((2, 2))) + 0.01 * np.eye(4)
    assert method_groups(name, families, 2, 1, 0).groups == ((0, 1), (2, 3))


def test_gains_are_paired_differences_with_their_t_interval(record):
    table = gains(record, "negative_loss")
    base = record.arrays["test.negative_loss"][row_of(record, name="sum", kind="one network", keep="last")[0]].mean(
        axis=1
    )
    place, row = row_of(record, name="Nash-MTL", keep="last")
    values = record.arrays["test.negative_loss"][place].mean(axis=1)
    found = table.loc[("one network", "Nash-MTL", 0, "last")]
    interval = ttest_rel(values, base).confidence_interval(0.95)
    assert found.gain == pytest.approx((values - base).mean())
    assert found.margin == pytest.approx((interval.high - interval.low) / 2)
    assert found.training == pytest.approx(
        row.flops / training_flops(problem(), range(4), replace(ASKED.recipe, keep="last"))
    )
    assert table.loc[("one network", "sum", 0, "best"), ["gain", "margin", "affinity"]].tolist() == [0, 0, 0]


def test_random_is_the_mean_over_draws_and_the_validation_examples_choose_alpha(record):
    table, rows = gains(record, "score"), pd.DataFrame(record.results["rows"])
    draws = rows.index[rows.name.str.startswith("random")]
    assert len(draws) == 3
    assert table.loc[("groups", "random", 2, "best"), "test"] == pytest.approx(
        record.arrays["test.score"][draws].mean()
    )
    for keep in ("best", "last"):
        both = rows.index[rows.name.str.startswith("GradNorm") & (rows.keep == keep)]
        chosen = both[record.arrays["val.score"][both].mean(axis=(1, 2)).argmax()]
        named = table.xs("one network").xs(keep, level="keep").index.get_level_values("name")
        assert [name for name in named if name.startswith("GradNorm")] == [rows.name[chosen]]


def test_three_papers_are_read_off_their_tables():
    table = three_papers()
    assert table.loc[("UW", 0), ["TAG", "Principled"]].tolist() == [49.92, 52.71]
    assert table.loc[("TAG", 2)].tolist() == pytest.approx([49.66, 51.04, 49.66, 1.38])
    assert np.isnan(table.loc[("Random", 3), "TAG"]) and table.loc[("Random", 3), "SCA"] == 49.97


def test_bad_arguments_are_named():
    for bad, name in (({"replicates": 1}, "replicates"), ({"splits": ()}, "splits"), ({"random": 0}, "random")):
        with pytest.raises(InputError, match=name):
            replace(ASKED, **bad)
    other = planted_problem(2, tasks_per_family=3, n_examples=120, n_features=6, width=5)
    with pytest.raises(InputError, match="wider: found a problem with other tasks"):
        baseline_study(problem(), ASKED, CPU, wider={2: other}, progress=False)
