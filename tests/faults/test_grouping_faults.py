"""Bad input to the groupers: one clear error each."""

from __future__ import annotations

import re
import sys
from typing import Any

import numpy as np
import pytest

from taskgroup_core.errors import InputError, MissingExtra
from taskgroup_core.grouping.exhaustive import LARGEST, ExhaustiveGrouper
from taskgroup_core.grouping.grouping import Grouper, Grouping, average_density
from taskgroup_core.grouping.lloyd import LloydGrouper
from taskgroup_core.grouping.random import RandomGrouper
from taskgroup_core.grouping.rounding import round_by_average_linkage, round_by_threshold
from taskgroup_core.grouping.sdp import SDPGrouper
from taskgroup_core.grouping.spectral import SpectralGrouper
from taskgroup_core.matrices import make_affinity
from taskgroup_core.report.clusters import clusters_figure
from tests.groupers import EVERY

GROUPERS = (SDPGrouper, ExhaustiveGrouper, SpectralGrouper, LloydGrouper, RandomGrouper)
GOOD = np.eye(4)
NO_AFFINITIES: dict[str, Any] = {
    "empty": np.zeros((0, 0)),
    "not square": np.zeros((4, 5)),
    "one axis": np.zeros(5),
    "three axes": np.zeros((4, 4, 4)),
    "NaN": np.where(GOOD > 0, np.nan, 1.0),
    "infinite": np.where(GOOD > 0, -np.inf, 1.0),
    "complex": GOOD * 1j,
    "text": GOOD.astype(str),
    "objects": GOOD.astype(object),
    "a word": "T",
    "nothing": None,
}


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("affinity", NO_AFFINITIES.values(), ids=list(NO_AFFINITIES))
def test_an_affinity_that_cannot_be(name: str, affinity: Any) -> None:
    with pytest.raises(InputError, match="affinity"):
        EVERY[name](2).fit(affinity)


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("k", [0, -1, 5, 1.5, 2.0, "2", True, None, np.nan])
def test_a_number_of_groups_that_cannot_be(name: str, k: Any) -> None:
    if name == "BestServedGrouper" and k in (5, 1.5, 2.0):
        assert len(EVERY[name](k).fit(GOOD).groups_) <= k  # its budget is an upper limit, and may be a fraction
        return
    with pytest.raises(InputError, match=r"n_groups|budget|candidates"):
        EVERY[name](k).fit(GOOD)


@pytest.mark.parametrize("make", GROUPERS)
def test_an_affinity_with_other_dims(make: type[Grouper]) -> None:
    with pytest.raises(InputError, match="target"):
        make(1).fit(make_affinity(GOOD, list("abcd")).rename(source="from"))


@pytest.mark.parametrize("make", [SpectralGrouper, LloydGrouper, RandomGrouper])
@pytest.mark.parametrize("random_state", [-1, 1.5, None, True, np.random.default_rng(0)])
def test_a_random_state_that_cannot_be(make: type[SpectralGrouper], random_state: object) -> None:
    with pytest.raises(InputError, match="random_state"):
        make(2, random_state=random_state).fit(GOOD)


@pytest.mark.parametrize("make", GROUPERS)
def test_a_misspelt_argument(make: type[Grouper]) -> None:
    with pytest.raises(TypeError, match="randomstate"):
        make(2, randomstate=0)


@pytest.mark.parametrize(
    ("argument", "value"), [("solver", "clarabell"), ("rounding", "treshold"), ("solver", ["a"]), ("rounding", ["a"])]
)
def test_a_misspelt_choice_of_the_sdp(argument: str, value: object) -> None:
    with pytest.raises(InputError, match=re.escape(f"{argument}: found {value!r}")):
        SDPGrouper(2, **{argument: value}).fit(GOOD)


@pytest.mark.parametrize(("solver", "option"), [("SCS", "max_iter"), ("CLARABEL", "max_iters")])
def test_an_option_the_solver_does_not_know(solver: str, option: str) -> None:
    with pytest.raises(InputError, match="solver_options"):
        SDPGrouper(2, solver=solver, solver_options={option: 10}).fit(GOOD)


@pytest.mark.parametrize("options", [5, "ab", {"max_iters": -1}])
def test_options_that_cannot_be(options: Any) -> None:
    with pytest.raises(InputError, match="solver_options"):
        SDPGrouper(2, solver="SCS", solver_options=options).fit(GOOD)


def test_a_misspelt_shift() -> None:
    with pytest.raises(InputError, match="shift"):
        SpectralGrouper(2, shift="allways").fit(GOOD)


def test_absent_cvxpy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cvxpy", None)
    with pytest.raises(MissingExtra, match="cvxpy is not installed"):
        SDPGrouper(2).fit(GOOD)


def test_too_many_tasks_for_the_exhaustive_search() -> None:
    with pytest.raises(InputError, match=f"at most {LARGEST} tasks"):
        ExhaustiveGrouper(2).fit(np.eye(LARGEST + 1))


@pytest.mark.parametrize(
    ("groups", "served_by", "message"),
    [
        ((), (), "no group"),
        (((0,), ()), (0,), "no task in row 1"),
        (((0, 0),), (0,), "twice"),
        (((0, 2),), (0, 0), "task indices"),
        (((0.0, 1.0),), (0, 0), "task indices"),
        (((True, False),), (0, 0), "task indices"),
        (((0, 1),), (False, False), "group False for task 0"),
        (((0, -1),), (0, 0), "task indices"),
        (((0,),), (0, 0), "group 0 for task 1"),
        (((0,), (1,)), (0, 0), "group 0 for task 1"),
        (((0, 1),), (0, 1), "group 1 for task 1"),
        (((0, 1),), (0, -1), "group -1 for task 1"),
    ],
)
def test_a_grouping_that_cannot_be(groups: tuple[tuple[int, ...]], served_by: tuple[int, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Grouping(groups, served_by)


def test_labels_of_overlapping_groups() -> None:
    with pytest.raises(InputError, match="a task in several groups"):
        Grouping(((0, 1), (1,)), (0, 1)).labels()


@pytest.mark.parametrize("labels", [[], [[0, 1]], 3, [[1], [2, 3]], [np.nan, np.nan, 1.0]])
def test_labels_that_cannot_be(labels: object) -> None:
    with pytest.raises(InputError, match="labels"):
        Grouping.from_labels(labels)


@pytest.mark.parametrize("groups", [[], [()], [(0, 4)], [(0, 0, 1)], [(0.0, 1.0)]])
def test_density_of_groups_that_cannot_be(groups: list[tuple[int, ...]]) -> None:
    with pytest.raises(InputError):
        average_density(GOOD, groups)


@pytest.mark.parametrize("rounding", [round_by_threshold, round_by_average_linkage])
def test_a_relaxation_that_cannot_be(rounding) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError, match="relaxation"):
        rounding(np.full((3, 3), np.nan), 2)
    with pytest.raises(InputError, match="n_groups"):
        rounding(GOOD, 5)


@pytest.mark.parametrize(
    ("groupings", "message"),
    [
        ({}, "groupings: found none"),
        ({"short": Grouping.from_labels([0, 1])}, "2 tasks in 'short'"),
        ({"overlap": Grouping(((0, 1, 2, 3), (1,)), (0, 1, 0, 0))}, "several groups"),
    ],
)
def test_a_figure_that_cannot_be(groupings: dict[str, Grouping], message: str) -> None:
    with pytest.raises(InputError, match=message):
        clusters_figure(GOOD, groupings)
