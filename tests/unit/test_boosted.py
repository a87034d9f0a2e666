import numpy as np
import pytest

from taskgroup_core.affinity.boosted import boosted_affinity, boosted_subsets
from taskgroup_core.affinity.higher_order import higher_order_affinity
from taskgroup_core.affinity.pairwise import pairwise_affinity
from taskgroup_core.errors import InputError
from taskgroup_core.matrices import make_scores
from taskgroup_core.subsets import pairs, sample_subsets

NAMES = list("abcdef")


def scored(subsets, function):
    values = [[function(set(np.flatnonzero(row)), t) if row[t] else 0.0 for t in range(6)] for row in subsets]
    return make_scores({"negative_loss": values}, subsets, NAMES)["negative_loss"]


def test_every_pair_gets_its_draws_of_the_right_size():
    subsets = boosted_subsets(6, 4, 3, 0)
    wanted = np.repeat(pairs(6), 3, axis=0)
    assert subsets.shape == (63, 6) and (subsets.sum(axis=1) == 4).all()
    assert (subsets[wanted]).all()
    assert np.array_equal(subsets, boosted_subsets(6, 4, 3, 0))
    assert not np.array_equal(subsets, boosted_subsets(6, 4, 3, 1))


def test_the_others_are_drawn_uniformly():
    rest = boosted_subsets(6, 3, 4000, 0)[-4000:] & ~pairs(6)[-1]
    assert np.abs(rest.mean(axis=0)[:4] - 1 / 4).max() < 4 * np.sqrt(0.25 * 0.75 / 4000)


def test_the_mean_over_a_pairs_own_draws_by_plain_loops():
    subsets = boosted_subsets(6, 3, 2, 5)

    def f(members, target):
        return sum((s + 1) ** 2 for s in members) / (target + 1)

    values = boosted_affinity(scored(subsets, f)).values
    row = 0
    for pair in pairs(6):
        mine = subsets[row : row + 2]
        row += 2
        tasks = np.flatnonzero(pair)
        for target in tasks:
            source = tasks[tasks != target][0] if len(tasks) == 2 else target
            expected = np.mean([f(set(np.flatnonzero(one)), target) for one in mine])
            assert values[target, source] == pytest.approx(expected)


def test_subsets_of_two_are_the_pairwise_affinity_off_the_diagonal():
    def f(members, target):
        return sum(10.0**s for s in members) - target

    off = ~np.eye(6, dtype=bool)
    ours = boosted_affinity(scored(boosted_subsets(6, 2, 1, 0), f)).values
    assert np.allclose(ours[off], pairwise_affinity(scored(pairs(6), f)).values[off])


def test_all_tasks_together_know_no_partner_and_sharing_draws_is_equation_1():
    def f(members, target):
        return -float(len(members)) * target

    together = boosted_affinity(scored(boosted_subsets(6, 6, 1, 0), f))
    assert (together.values == together.values[:, :1]).all()

    def g(members, target):
        return sum(np.sin(3 * target + s) for s in members)

    scores = scored(boosted_subsets(6, 3, 2, 0), g)
    own, shared = boosted_affinity(scores), higher_order_affinity(scores)
    assert not np.allclose(own, shared)
    assert own.dims == ("target", "source") and own.attrs["method"] == "BoostMTL"


@pytest.mark.parametrize("given", [{"size": 1}, {"size": 7}, {"draws": 0}, {"seed": -1}])
def test_draws_that_cannot_be(given):
    with pytest.raises(InputError) as caught:
        boosted_subsets(6, **{"size": 3, "draws": 1, "seed": 0} | given)
    assert caught.value.argument == next(iter(given))


def test_other_subsets_are_refused():
    for subsets in (sample_subsets(6, 3, 42, 0), pairs(6)[:5]):
        with pytest.raises(InputError, match="boosted_subsets"):
            boosted_affinity(scored(subsets, lambda *_: 0.0))
