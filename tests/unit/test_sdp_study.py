"""The study of the relaxation: its rows against what the grouper and an exhaustive search say."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from taskgroup_core.errors import InputError
from taskgroup_core.grouping.exhaustive import ExhaustiveGrouper
from taskgroup_core.grouping.grouping import random_density
from taskgroup_core.grouping.sdp import SDPGrouper
from taskgroup_core.runs.checkpoint import Checkpoint
from taskgroup_core.runs.sdp_parameters import SDPParameters
from taskgroup_core.runs.sdp_study import measure_relaxation, planted_affinity, sdp_study
from taskgroup_core.runs.solver_times import SCS_TOLERANCES, solver_times

CPU = torch.device("cpu")
ASKED = SDPParameters(sizes=(12,), group_sizes=(6, 3), noises=(0.25, 1.0), instances=2)
RING = np.eye(5) + np.roll(np.eye(5), 1, axis=0) + np.roll(np.eye(5), -1, axis=0)


@pytest.fixture(scope="module")
def record():
    return sdp_study(ASKED, CPU, {"ring": RING}, progress=False)


def test_planted_groups_stand_out_by_one():
    values, labels = planted_affinity(9, 3, 0.0, 0)
    assert np.array_equal(values, labels[:, None] == labels) and np.bincount(labels).tolist() == [3, 3, 3]
    noisy, _ = planted_affinity(9, 3, 2.0, 0)
    half, _ = planted_affinity(9, 3, 1.0, 0)
    assert np.allclose(noisy - values, 2 * (half - values)) and not np.allclose(noisy, noisy.T)
    assert not np.array_equal(planted_affinity(9, 3, 1.0, 0, 1)[0], half)


def test_every_relaxation_has_its_row(record):
    rows = record.results["rows"]
    assert len(rows) == 2 * 2 * 2 + 1
    assert {(row["n"], row["k"]) for row in rows if row["affinity"] == "planted"} == {(12, 2), (12, 4)}
    assert [(row["n"], row["k"], row["loss_planted"]) for row in rows if row["affinity"] == "ring"] == [(5, 2, None)]


def test_losses_are_shares_of_the_certified_gain(record):
    row = next(row for row in record.results["rows"] if (row["n"], row["k"], row["noise"]) == (12, 4, 1.0))
    values, _ = planted_affinity(12, 4, 1.0, ASKED.seed, row["instance"])
    sdp = SDPGrouper(4, solver="ADMM", solver_options={"tolerance": ASKED.tolerance}).fit(values)
    assert row["loss_threshold"] == pytest.approx(sdp.certified_gap_, abs=1e-9)
    assert (row["c_low"], row["c_high"]) == pytest.approx(sdp.rounding_.interval)
    best, random = ExhaustiveGrouper(4).fit(values).objective_, random_density(values, 4)
    least = (sdp.certified_bound_ - best) / (sdp.certified_bound_ - random)
    for name in ("threshold", "average_linkage", "local_search"):
        assert row[f"loss_{name}"] >= least - 1e-12
    assert row["loss_local_search"] <= min(row["loss_threshold"], row["loss_average_linkage"])
    assert row["loss_planted"] >= least - 1e-12 and 0 <= row["solver_gap"] <= 2 * ASKED.tolerance


def test_little_noise_is_tight_and_the_ring_is_not(record):
    for row in record.results["rows"]:
        if row["noise"] == 0.25:
            assert row["tight"] == 1 and row["recovered"] == 1 and row["in_range"] == 1
            assert row["loss_local_search"] <= 1e-3
        if row["affinity"] == "ring":
            assert row["tight"] == 0 and row["not_idempotent"] > 0.01
            assert (row["c_low"], row["in_range"], row["in_wider_range"]) == (None, 0, 0)
            # 2 (bound) = 4 + 2 cos(72 degrees); the best of all groups reach 13 / 3; random ones 1 + 1/2 of 3 each.
            bound, random = 4 + 2 * np.cos(2 * np.pi / 5), 2 + 1.5
            assert row["loss_local_search"] == pytest.approx((bound - 13 / 3) / (bound - random), abs=1e-3)


def test_a_range_of_c_is_met_or_missed():
    values, _ = planted_affinity(12, 2, 0.0, 0)  # X is 1/6 in the blocks: every c up to 2 gives them
    row = measure_relaxation(values, 2, 1e-6, CPU)
    assert (row["c_low"], row["c_high"]) == pytest.approx((0, 2), abs=1e-3)
    assert (row["in_range"], row["in_wider_range"]) == (1, 1)


def test_an_interrupted_run_goes_on_to_the_same_record(record, tmp_path):
    checkpoint = Checkpoint(tmp_path / "slices", "key")
    sdp_study(ASKED, CPU, {"ring": RING}, progress=False, checkpoint=checkpoint)
    (tmp_path / "slices" / "planted-12-3-1.0.npz").unlink()
    again = sdp_study(ASKED, CPU, {"ring": RING}, progress=False, checkpoint=checkpoint)
    assert again.id == record.id


def test_both_solvers_are_timed_at_the_accuracy_asked():
    found = solver_times(planted_affinity(12, 3, 0.5, 0)[0], 3, 1e-3)
    assert max(found.our_error, found.scs_error) <= 1e-3 and found.scs_tolerance in SCS_TOLERANCES
    assert 0 < found.ours < np.inf and found.ratio == found.scs / found.ours


def test_an_affinity_with_nothing_to_gain():
    with pytest.raises(InputError, match="nothing to gain"):
        sdp_study(ASKED, CPU, {"flat": np.ones((6, 6))}, progress=False)


@pytest.mark.parametrize(
    ("name", "value"),
    [("sizes", ()), ("group_sizes", (1,)), ("group_sizes", (11,)), ("noises", (-1.0,)), ("instances", 0)],
)
def test_parameters_that_cannot_be(name, value):
    with pytest.raises(InputError, match=name):
        SDPParameters(**{name: value})
