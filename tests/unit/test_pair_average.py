import numpy as np
import pytest

from taskgroup_core.affinity.higher_order import higher_order_affinity
from taskgroup_core.affinity.pair_average import PairAverage
from taskgroup_core.affinity.pairwise import pairwise_affinity
from taskgroup_core.errors import InputError
from taskgroup_core.matrices import make_scores
from taskgroup_core.subsets import pairs, sample_subsets, singletons

NAMES = list("abcde")


def scored(subsets, seed=0):
    values = np.random.default_rng(seed).normal(size=(2, *subsets.shape))
    return make_scores({"score": values[0], "negative_loss": values[1]}, subsets, NAMES)


def test_the_mean_over_partners_by_plain_loops():
    known = scored(pairs(5))
    pairwise = pairwise_affinity(known["negative_loss"]).values
    subsets = np.vstack([sample_subsets(5, 3, 6, 0), np.ones((1, 5), dtype=bool)])
    estimated = PairAverage(known).scores(subsets)["negative_loss"].values
    for row, subset in enumerate(subsets):
        members = np.flatnonzero(subset)
        for target in range(5):
            if target in members:
                partners = [source for source in members if source != target]
                assert estimated[row, target] == pytest.approx(np.mean([pairwise[target, s] for s in partners]))
            else:
                assert np.isnan(estimated[row, target])


def test_pairs_and_single_tasks_come_back_as_they_are():
    known = scored(pairs(5))
    again = PairAverage(known, flops=7)
    assert again.flops == 7 and list(again.task_names) == NAMES
    for metric in ("score", "negative_loss"):
        assert np.allclose(again.scores(pairs(5))[metric], known[metric], equal_nan=True)
    assert np.allclose(
        np.diag(again.scores(singletons(5))["score"].values), np.diag(pairwise_affinity(known["score"]).values)
    )


def test_where_partners_add_up_the_average_ranks_them_as_the_truth_does():
    # f(S, t) = level + mean of effects over the partners: HOA is exact.
    rng = np.random.default_rng(1)
    level, effect = rng.normal(size=5), rng.normal(size=(5, 5))

    def additive(subsets):
        rows = [
            [
                level[t] + np.mean([effect[t, s] for s in np.flatnonzero(row) if s != t]) if row[t] else np.nan
                for t in range(5)
            ]
            for row in subsets
        ]
        return make_scores({"score": rows}, subsets, NAMES)

    two = pairs(5)[5:]
    known = make_scores(
        {"score": np.vstack([np.diag(level), np.nan_to_num(additive(two)["score"].values)])}, pairs(5), NAMES
    )
    subsets = sample_subsets(5, 3, 40, 0)
    estimated = PairAverage(known).scores(subsets)["score"]
    assert np.allclose(estimated, additive(subsets)["score"], equal_nan=True)
    assert np.allclose(
        higher_order_affinity(estimated), higher_order_affinity(additive(subsets)["score"]), equal_nan=True
    )


def test_relabelled_tasks_and_duplicated_subsets():
    known, order = scored(pairs(5)), [3, 0, 4, 1, 2]
    subsets = np.repeat(sample_subsets(5, 3, 4, 0), 2, axis=0)
    plain = PairAverage(known).scores(subsets)["score"].values
    moved_scores = make_scores(
        {"score": np.nan_to_num(known["score"].values[:, order])}, pairs(5)[:, order], [NAMES[i] for i in order]
    )
    moved = PairAverage(moved_scores).scores(subsets[:, order])["score"].values
    assert np.allclose(moved, plain[:, order], equal_nan=True)
    assert np.array_equal(plain[::2], plain[1::2], equal_nan=True)


def test_bad_input():
    with pytest.raises(InputError, match="no metric"):
        PairAverage(scored(pairs(5)).drop_vars(["score", "negative_loss"]))
    with pytest.raises(InputError, match="no subset"):
        PairAverage(scored(pairs(5)[:-1]))
    with pytest.raises(InputError, match="more than two"):
        PairAverage(scored(sample_subsets(5, 3, 4, 0)))
    with pytest.raises(InputError, match="subsets"):
        PairAverage(scored(pairs(5))).scores(np.ones((1, 4), dtype=bool))
