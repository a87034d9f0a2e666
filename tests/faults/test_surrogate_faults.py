"""Bad input to the surrogate: one clear error each."""

from __future__ import annotations

import numpy as np
import pytest

from taskgroup_core.affinity.surrogate import SurrogateAffinity
from taskgroup_core.errors import InputError
from taskgroup_core.matrices import make_scores
from taskgroup_core.subsets import pairs, singletons

RNG = np.random.default_rng(0)
NAMES = list("abcd")
PRIOR = RNG.normal(size=(4, 4))


def scored(subsets, values=None):
    values = RNG.normal(size=subsets.shape) if values is None else values
    return make_scores({"score": values}, subsets, NAMES)["score"]


@pytest.mark.parametrize(
    ("given", "argument"),
    [
        ({"prior": np.ones((4, 4))}, "prior"),
        ({"prior": PRIOR[:3, :3]}, "prior"),
        ({"prior": PRIOR[0]}, "prior"),
        ({"prior": PRIOR * np.nan}, "prior"),
        ({"alike": PRIOR}, "alike"),
        ({"alike": -np.eye(4)}, "alike"),
        ({"alike": np.eye(3)}, "alike"),
        ({"prior": PRIOR, "belief": 0.0}, "belief"),
        ({"prior": PRIOR, "belief": 1.1}, "belief"),
        ({"prior": PRIOR, "belief": np.nan}, "belief"),
        ({"variances": {"noise": -1.0}}, "variances"),
        ({"variances": {"noise": np.inf}}, "variances"),
        ({"variances": {"noise": np.nan}}, "variances"),
        ({"variances": {"nosie": 1.0}}, "variances"),
        ({"variances": {"alike": 1.0}}, "variances"),
    ],
)
def test_arguments_that_cannot_be(given, argument):
    with pytest.raises(InputError) as caught:
        SurrogateAffinity(**given).fit(scored(pairs(4)))
    assert caught.value.argument == argument


def test_too_few_scores_and_scores_that_say_nothing():
    with pytest.raises(InputError, match="scores"):
        SurrogateAffinity().fit(scored(pairs(4)[4:5]))
    with pytest.raises(InputError, match="all alike"):
        SurrogateAffinity().fit(scored(pairs(4), np.ones((10, 4))))
    with pytest.raises(InputError, match="scores"):  # single tasks say nothing about a prior's slope
        SurrogateAffinity(PRIOR, belief=None).fit(scored(singletons(4)))


def test_two_trainings_of_one_subset_cannot_both_be_exact():
    scores = scored(np.vstack([pairs(4)] * 2))
    with pytest.raises(InputError, match="Give the noise a variance"):
        SurrogateAffinity(variances={"noise": 0.0}).fit(scores)
