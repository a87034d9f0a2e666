import numpy as np
import pytest
import xarray as xr

from taskgroup_core.matrices import make_affinity, make_scores
from taskgroup_core.metrics import partner_spearman, relative_distance
from taskgroup_core.runs.accuracy_per_flop import HeldOut, surrogates
from taskgroup_core.subsets import pairs

N = 120
NAMES = [str(index) for index in range(N)]


def replicates(noise, count=4, n=N, seed=0):
    rng = np.random.default_rng(seed)
    signal = rng.normal(size=(n, n))
    drawn = [signal + noise * rng.normal(size=(n, n)) for _ in range(count)]
    return signal, xr.concat([make_affinity(one, NAMES[:n]) for one in drawn], "replicate")


def test_a_perfect_estimate_reaches_the_reach_and_no_more():
    signal, stack = replicates(noise=1.5)
    held_out = HeldOut("pairwise", "score", stack, stack, 100)
    perfect = held_out.row("perfect", "cheap", [signal], 7)
    # Three replicates: signal 1, noise 1.5^2 / 3; on ranks of normal variables 6 / pi asin(r / 2).
    expected = 6 / np.pi * np.arcsin(0.5 / np.sqrt(1 + 1.5**2 / 3))
    assert perfect["partner"] == pytest.approx(expected, abs=0.02)
    assert held_out.reliability**0.5 == pytest.approx(perfect["partner"], abs=0.03)
    assert held_out.test_reliability == held_out.reliability and perfect["partner_test"] == perfect["partner"]
    assert (perfect["flops"], perfect["share"], perfect["runs"]) == (7, 0.07, 1)


def test_a_training_is_judged_by_the_other_replicates_by_plain_loops():
    _, stack = replicates(noise=0.8, n=6)
    row = HeldOut("pairwise", "score", stack, stack, 10).row("once", "trainings", list(stack.values), 10, own=True)
    partner, distance = [], []
    for r in range(4):
        others = np.mean([stack.values[q] for q in range(4) if q != r], axis=0)
        partner.append(partner_spearman(stack.values[r], others))
        distance.append(relative_distance(stack.values[r], others))
    assert row["partner"] == pytest.approx(np.mean(partner))
    assert row["distance"] == pytest.approx(np.mean(distance))
    assert (row["low"], row["high"]) == (pytest.approx(min(partner)), pytest.approx(max(partner)))


def test_an_estimate_without_the_unit_has_no_distance_but_the_affine_one():
    _, stack = replicates(noise=0.1, n=6)
    held_out = HeldOut("pairwise", "score", stack, stack, 10)
    row = held_out.row("scaled", "cheap", [-50 + 9 * stack.mean("replicate").values], 1, in_units=False)
    assert row["distance"] is None and row["affine_distance"] < 0.02
    backwards = held_out.row("backwards", "cheap", [-stack.mean("replicate").values], 1, in_units=False)
    assert backwards["affine_distance"] > 0.5 and backwards["partner"] < -0.9


def test_what_knows_no_partner_and_the_other_examples():
    signal, stack = replicates(noise=0.5, n=8)
    made = HeldOut("pairwise", "score", stack, -stack, 10).beside(np.diag(signal), 4)
    rows = {row["estimate"]: row for row in made}
    assert (rows["single task"]["share"], rows["constant"]["share"], rows["task mean"]["share"]) == (0.4, 0, 0)
    assert all(rows[name]["partner"] == 0 for name in ("constant", "task mean", "single task"))
    assert rows["one training"]["share"] == 1
    # The test examples say the opposite here.
    assert rows["one training"]["partner_test"] == pytest.approx(-rows["one training"]["partner"])


def test_the_surrogates_get_the_same_trainings_and_the_prior_its_price():
    rng = np.random.default_rng(1)
    two = pairs(6)[6:]
    given = []
    for _ in range(3):
        order = rng.permutation(len(two))
        scores = make_scores({"score": rng.normal(size=(15, 6))}, two[order], NAMES[:6])["score"]
        given.append((scores, list(range(1, 16))))
    prior = make_affinity(rng.normal(size=(6, 6)), NAMES[:6])
    found = surrogates(given, 5, ("TAG", prior, 100.0))
    assert [name for name, _, _ in found] == ["pairs alone", "surrogate", "surrogate, prior TAG"]
    assert [flops for _, _, flops in found] == [15, 15, 115]
    alone = found[0][1][0]
    scores = given[0][0][:5]
    for target in range(6):
        known = {}
        for row, subset in zip(scores.values, scores["member"].values, strict=True):
            if subset[target]:
                (partner,) = np.flatnonzero(subset & (np.arange(6) != target))
                known[partner] = row[target]
        level = np.mean(list(known.values())) if known else np.nanmean(scores.values)
        expected = [known.get(source, level) for source in range(6)]
        assert alone[target].tolist() == pytest.approx(expected)
