import numpy as np
import pytest
import xarray as xr
from scipy.stats import spearmanr

from taskgroup_core import metrics
from taskgroup_core.errors import InputError
from taskgroup_core.matrices import make_affinity
from taskgroup_core.runs.judgement import judge

RNG = np.random.default_rng(0)
TRUTH, ESTIMATE = RNG.normal(size=(6, 6)), RNG.normal(size=(6, 6))


def test_distance_is_the_squared_ratio():
    expected = np.linalg.norm(ESTIMATE - TRUTH, "fro") ** 2 / np.linalg.norm(TRUTH, "fro") ** 2
    assert metrics.relative_distance(ESTIMATE, TRUTH) == pytest.approx(expected)
    assert metrics.relative_distance(TRUTH, TRUTH) == 0
    assert metrics.relative_distance(1.1 * TRUTH, TRUTH) == pytest.approx(0.01)


def test_the_three_spearmans_against_scipy():
    columns = [spearmanr(ESTIMATE[:, j], TRUTH[:, j])[0] for j in range(6)]
    rows = [spearmanr(ESTIMATE[i], TRUTH[i])[0] for i in range(6)]
    partners = [spearmanr(np.delete(ESTIMATE[i], i), np.delete(TRUTH[i], i))[0] for i in range(6)]
    assert metrics.spearman_over_targets(ESTIMATE, TRUTH) == pytest.approx(np.mean(columns))
    assert metrics.spearman_over_sources(ESTIMATE, TRUTH) == pytest.approx(np.mean(rows))
    assert metrics.partner_spearman(ESTIMATE, TRUTH) == pytest.approx(np.mean(partners))


def test_knowing_the_task_is_not_knowing_the_partner():
    # Tasks differ in level by far more than partners differ within a task, as in real affinities.
    truth = make_affinity(RNG.normal(size=(8, 1)) + 0.05 * RNG.normal(size=(8, 8)), [str(i) for i in range(8)])
    trivial = metrics.trivial_predictors(truth, np.diag(truth.values))
    for name in ("task mean", "single task"):
        assert metrics.relative_distance(trivial[name], truth) < 0.02
        assert metrics.spearman_over_targets(trivial[name], truth) > 0.9
    for predictor in trivial.values():
        assert metrics.partner_spearman(predictor, truth) == 0


def test_measures_are_unchanged_by_relabelling():
    order = RNG.permutation(6)
    moved = [matrix[np.ix_(order, order)] for matrix in (ESTIMATE, TRUTH)]
    for measure in (metrics.relative_distance, metrics.partner_spearman, metrics.spearman_over_targets):
        assert measure(*moved) == pytest.approx(measure(ESTIMATE, TRUTH))


def test_pairs_never_measured_are_left_out():
    truth, estimate = TRUTH.copy(), ESTIMATE.copy()
    truth[0, 3] = truth[4, 1] = np.nan
    estimate[0, 3] = np.nan
    partners = []
    for i in range(6):
        keep = [j for j in range(6) if j != i and np.isfinite(truth[i, j])]
        partners.append(spearmanr(estimate[i, keep], truth[i, keep])[0])
    assert metrics.partner_spearman(estimate, truth) == pytest.approx(np.mean(partners))
    measured = np.isfinite(truth)
    expected = ((estimate - truth)[measured] ** 2).sum() / (truth[measured] ** 2).sum()
    assert metrics.relative_distance(estimate, truth) == pytest.approx(expected)


def test_the_ceiling_follows_spearman_and_brown():
    signal = RNG.normal(size=(80, 80))
    replicates = np.stack([signal + 1.5 * RNG.normal(size=(80, 80)) for _ in range(4)])
    # Halves of 2 correlate by 1 / (1 + 2.25 / 2); for normal variables Spearman's is 6 / pi * asin(r / 2).
    half = 6 / np.pi * np.arcsin(0.5 / (1 + 2.25 / 2))
    assert metrics.replicate_ceiling(replicates) == pytest.approx(2 * half / (1 + half), abs=0.04)
    assert metrics.replicate_ceiling(np.stack([signal] * 2)) == pytest.approx(1)
    one = metrics.partner_spearman(replicates[0], replicates[1])
    assert metrics.replicate_ceiling(replicates[:2]) == pytest.approx(2 * one / (1 + one))


def test_stepping_up_and_down_undo_each_other():
    assert metrics.stepped_up(metrics.stepped_up(0.6, 3), 1 / 3) == pytest.approx(0.6)
    # Noise of variance 1 on a signal of variance 1: the mean of k replicates has reliability k / (k + 1).
    assert metrics.stepped_up(0.5, 4) == pytest.approx(4 / 5)
    assert metrics.stepped_up(-0.2, 4) == 0


def test_the_affine_distance_forgets_unit_and_level_but_not_sign():
    constant = metrics.relative_distance(np.full((6, 6), TRUTH.mean()), TRUTH)
    assert metrics.affine_distance(-100 + 7 * TRUTH, TRUTH) == pytest.approx(0, abs=1e-12)
    assert metrics.affine_distance(-TRUTH, TRUTH) == pytest.approx(constant)
    assert metrics.affine_distance(np.full((6, 6), 0.1), TRUTH) == pytest.approx(constant)
    slope, intercept = np.polyfit(TRUTH.ravel() + ESTIMATE.ravel(), TRUTH.ravel(), 1)
    fitted = metrics.relative_distance(intercept + slope * (TRUTH + ESTIMATE), TRUTH)
    assert metrics.affine_distance(TRUTH + ESTIMATE, TRUTH) == pytest.approx(fitted)
    truth = TRUTH.copy()
    truth[0, 1] = np.nan
    assert metrics.affine_distance(3 * TRUTH, truth) == pytest.approx(0, abs=1e-12)


def test_labels_are_compared_by_dims_and_names():
    truth, estimate = (make_affinity(values, list("abcdef")) for values in (TRUTH, ESTIMATE))
    moved = estimate.isel(target=[3, 0, 5, 1, 2, 4], source=[3, 0, 5, 1, 2, 4]).transpose("source", "target")
    measures = (metrics.relative_distance, metrics.affine_distance, metrics.spearman_over_targets)
    for measure in (*measures, metrics.spearman_over_sources, metrics.partner_spearman):
        assert measure(moved, truth) == measure(ESTIMATE, TRUTH)
        assert measure(estimate.transpose("source", "target"), TRUTH) == measure(ESTIMATE, TRUTH)
        assert measure(ESTIMATE, truth.transpose("source", "target")) == measure(ESTIMATE, TRUTH)
        for other in (
            estimate.assign_coords(target=list("abcdeg"), source=list("abcdeg")),
            estimate.rename(source="from"),
        ):
            with pytest.raises(InputError, match="estimate"):
                measure(other, truth)
        if measure is not metrics.relative_distance:
            with pytest.raises(InputError, match="one order"):
                measure(estimate.isel(source=[1, 0, 2, 3, 4, 5]), truth)
    level = metrics.trivial_predictors(truth.transpose("source", "target"), np.ones(6))["task mean"]
    assert level.equals(metrics.trivial_predictors(truth, np.ones(6))["task mean"])
    replicates = xr.concat([truth, truth + estimate], "replicate")
    turned = replicates.transpose("source", "replicate", "target")
    assert metrics.replicate_ceiling(turned) == metrics.replicate_ceiling(replicates.values)
    assert judge(turned, {"e": moved}, np.ones(6)) == judge(replicates, {"e": estimate}, np.ones(6))


def test_replicates_without_anything_in_common_have_no_ceiling():
    assert metrics.replicate_ceiling(np.stack([TRUTH, -TRUTH])) == 0


@pytest.mark.parametrize(
    "call",
    [
        lambda: metrics.relative_distance(TRUTH * (1 + 0.5j), TRUTH),
        lambda: metrics.relative_distance([[1.0], [1.0, 2.0]], TRUTH),
        lambda: metrics.trivial_predictors(make_affinity(TRUTH * np.nan, list("abcdef")), np.ones(6)),
        lambda: metrics.trivial_predictors(make_affinity([[1.0]], ["a"]), [1.0]),
        lambda: metrics.relative_distance(TRUTH[:5, :5], TRUTH),
        lambda: metrics.relative_distance(TRUTH, np.zeros((6, 6))),
        lambda: metrics.relative_distance(TRUTH * np.nan, TRUTH),
        lambda: metrics.partner_spearman(TRUTH * np.nan, TRUTH),
        lambda: metrics.partner_spearman(TRUTH[:3, :3], TRUTH[:3, :3]),
        lambda: metrics.partner_spearman(TRUTH[:3], TRUTH),
        lambda: metrics.replicate_ceiling(TRUTH[None]),
        lambda: metrics.replicate_ceiling(TRUTH),
        lambda: metrics.trivial_predictors(make_affinity(TRUTH, list("abcdef")), [1.0, 2.0]),
    ],
)
@pytest.mark.filterwarnings("error")
def test_bad_input(call):
    with pytest.raises(InputError):
        call()


@pytest.mark.filterwarnings("error")
def test_nothing_measured_names_what_was_given():
    for measure in (metrics.relative_distance, metrics.affine_distance, metrics.partner_spearman):
        with pytest.raises(InputError, match="truth: found no measured entry"):
            measure(TRUTH, TRUTH * np.nan)
    with pytest.raises(InputError, match="replicates: found no measured entry"):
        metrics.replicate_ceiling(np.stack([TRUTH, TRUTH]) * np.nan)
