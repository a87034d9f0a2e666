import numpy as np
import pytest

from taskgroup_core.errors import InputError
from taskgroup_core.grouping.exhaustive import ExhaustiveGrouper
from taskgroup_core.matrices import make_affinity, make_scores
from taskgroup_core.runs.regret import all_partitions, regret_rows, score_partitions
from taskgroup_core.subsets import all_subsets, pairs

NAMES = list("abcdef")


def table(function, n=6):
    subsets = all_subsets(n)
    values = [
        [function(frozenset(np.flatnonzero(row)), t) if row[t] else 0.0 for t in range(n)] for row in subsets.tolist()
    ]
    return make_scores({"score": values}, subsets, NAMES[:n])["score"]


def random_table(seed):
    known = {}
    rng = np.random.default_rng(seed)
    return table(lambda members, t: known.setdefault((members, t), rng.normal()))


def test_there_are_as_many_partitions_as_stirling_says_each_once():
    for n, k, count in ((4, 2, 7), (6, 3, 90), (8, 4, 1701), (5, 1, 1), (5, 5, 1)):
        labels = all_partitions(n, k)
        together = labels[:, :, None] == labels[:, None, :]
        assert len(labels) == count == len(np.unique(together.reshape(len(labels), -1), axis=0))
        assert all(len(set(row)) == k for row in labels.tolist())


def test_a_partition_scores_the_mean_over_its_tasks_by_plain_loops():
    scores = random_table(0)
    member = scores["member"].values
    for row, found in zip(all_partitions(6, 3)[:20], score_partitions(scores, all_partitions(6, 3)), strict=False):
        expected = []
        for task in range(6):
            group = row == row[task]
            (at,) = np.flatnonzero((member == group).all(axis=1))
            expected.append(scores.values[at, task])
        assert found == pytest.approx(np.mean(expected))


def test_the_rows_order_as_they_must():
    validation, test = random_table(1), random_table(2)
    good = make_affinity(np.random.default_rng(3).normal(size=(6, 6)), NAMES)
    rows = {row["chosen by"]: row for row in regret_rows({"some": good}, validation, test, 3)}
    every = score_partitions(test, all_partitions(6, 3))
    assert rows["best on test"]["test_score"] == pytest.approx(every.max())
    assert rows["best on validation"]["regret"] == 0
    assert rows["random"]["test_score"] == pytest.approx(every.mean())
    assert rows["best on test"]["regret"] <= rows["some"]["regret"]
    assert rows["best on test"]["beaten"] == pytest.approx(89 / 90)
    labels = ExhaustiveGrouper(3).fit(good).labels_
    assert rows["some"]["test_score"] == pytest.approx(score_partitions(test, labels[None])[0])
    assert sorted(t for group in rows["some"]["groups"] for t in group) == list(range(6))


def test_families_that_help_within_are_found_without_regret():
    def families(members, task):
        return sum(1.0 if other // 2 == task // 2 else -1.0 for other in members if other != task)

    scores = table(families)
    truth = make_affinity([[families({t, s}, t) for s in range(6)] for t in range(6)], NAMES)
    rows = {row["chosen by"]: row for row in regret_rows({"T*": truth, "minus T*": -truth}, scores, scores, 3)}
    assert rows["T*"]["groups"] == [[0, 1], [2, 3], [4, 5]] and rows["T*"]["regret"] == 0
    assert rows["minus T*"]["regret"] > rows["random"]["regret"] > 0


def test_bad_input():
    scores = random_table(0)
    with pytest.raises(InputError, match="at most 9"):
        all_partitions(10, 2)
    with pytest.raises(InputError, match="n_groups"):
        all_partitions(4, 5)
    with pytest.raises(InputError, match="all_subsets"):
        two = make_scores({"score": np.zeros((21, 6))}, pairs(6), NAMES)["score"]
        score_partitions(two, all_partitions(6, 2))
    with pytest.raises(InputError, match="n_groups"):
        regret_rows({}, scores, scores, 0)
