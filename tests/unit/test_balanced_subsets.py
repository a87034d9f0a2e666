import numpy as np
import pytest

from taskgroup_core.affinity.balanced_subsets import balanced_subsets
from taskgroup_core.errors import InputError


@pytest.mark.parametrize("n_tasks", [3, 4, 7, 12])
@pytest.mark.parametrize("seed", [0, 1])
def test_all_pairs_come_once_before_any_comes_twice(n_tasks, seed):
    count = n_tasks * (n_tasks - 1) // 2
    subsets = balanced_subsets(n_tasks, 2, 2 * count, seed).astype(int)
    for part in (subsets[:count], subsets[count:]):
        met = part.T @ part
        assert (met[~np.eye(n_tasks, dtype=bool)] == 1).all()


def test_larger_subsets_draw_tasks_and_pairs_more_evenly_than_chance():
    subsets = balanced_subsets(12, 4, 60, 0)
    assert (subsets.sum(axis=1) == 4).all()
    drawn, met = subsets.sum(axis=0), subsets.T.astype(int) @ subsets
    off = met[~np.eye(12, dtype=bool)]
    assert np.ptp(drawn) <= 2
    # Draws by chance would give each pair a count of variance about its mean, 60 x 12 / 132.
    assert off.var() < 0.5 * off.mean()


def test_a_longer_design_begins_with_the_shorter_one_and_seeds_differ():
    assert np.array_equal(balanced_subsets(9, 3, 20, 4)[:7], balanced_subsets(9, 3, 7, 4))
    assert not np.array_equal(balanced_subsets(9, 3, 20, 4), balanced_subsets(9, 3, 20, 5))
    assert balanced_subsets(5, 5, 2, 0).all()


@pytest.mark.parametrize("given", [{"size": 1}, {"size": 6}, {"m": 0}, {"seed": -1}])
def test_bad_input(given):
    with pytest.raises(InputError) as caught:
        balanced_subsets(5, **{"size": 2, "m": 3, "seed": 0} | given)
    assert caught.value.argument == next(iter(given))
