"""The surrogate on affinities drawn from its own model, at the ends where its answer is known, and against algebra."""

import numpy as np
import pytest
import scipy.optimize
import scipy.stats

from taskgroup_core.affinity.surrogate import SurrogateAffinity
from taskgroup_core.affinity.variance_components import fit_mixed_model
from taskgroup_core.matrices import make_scores
from taskgroup_core.metrics import partner_spearman
from taskgroup_core.subsets import pairs, sample_subsets

N = 8
NAMES = [f"t{index}" for index in range(N)]
OFF = ~np.eye(N, dtype=bool)


def planted(seed=0, n=N):
    rng = np.random.default_rng(seed)
    prior = rng.normal(size=(n, n))
    effect = 2 * rng.normal(size=(n, 1)) + 0.5 * rng.normal(size=(1, n)) + 0.3 * rng.normal(size=(n, n))
    return prior, effect + 0.7 * np.where(np.eye(n, dtype=bool), 0, prior)


def trained(truth, subsets, noise=0.0, seed=0):
    """Scores that follow the model: the mean of T over partners, plus noise."""
    rng, values = np.random.default_rng(seed), np.zeros(subsets.shape)
    for row, subset in enumerate(subsets):
        for target in np.flatnonzero(subset):
            partners = [source for source in np.flatnonzero(subset) if source != target] or [target]
            values[row, target] = truth[target, partners].mean() + noise * rng.normal()
    return make_scores({"score": values}, subsets, [f"t{index}" for index in range(len(truth))])["score"]


def centred(matrix):
    level = np.where(OFF, matrix, 0).sum(axis=1, keepdims=True) / (N - 1)
    return np.where(OFF, matrix - level, 0)


def test_without_noise_all_pairs_come_back_and_larger_subsets_are_solved_for():
    prior, truth = planted()
    exact = SurrogateAffinity(prior, belief=None, variances={"noise": 0.0}).fit(trained(truth, pairs(N)))
    assert np.allclose(exact.affinity_, truth, atol=1e-6)
    assert np.allclose(exact.standard_error_, 0, atol=1e-4)
    subsets = np.vstack([sample_subsets(N, 3, 80, 0), np.eye(N, dtype=bool)])
    distinct = np.unique(subsets, axis=0)
    apart = SurrogateAffinity(variances={"noise": 1e-8}).fit(trained(truth, distinct))
    assert np.allclose(apart.affinity_, truth, atol=1e-2)


def test_with_nothing_but_noise_the_calibrated_prior_is_left():
    prior, truth = planted()
    scores = trained(truth, pairs(N), noise=0.5)
    none = {"target": 0.0, "source": 0.0, "pair": 0.0, "noise": 1e6}
    fitted = SurrogateAffinity(prior, belief=None, variances=none).fit(scores)
    # Ordinary least squares of the scores on the prior, standardised, with an intercept.
    feature = centred(prior) / centred(prior)[OFF].std()
    rows = [(feature[t, s], scores.values[k, t]) for k, (t, s) in _ordered(pairs(N))]
    slope, intercept = np.polyfit(*np.array(rows).T, 1)
    assert fitted.slope_ == pytest.approx(slope)
    assert np.allclose(fitted.affinity_, intercept + slope * feature)
    assert partner_spearman(fitted.affinity_, prior) == pytest.approx(1)


def _ordered(subsets):
    for row, subset in enumerate(subsets):
        tasks = np.flatnonzero(subset)
        yield row, (tasks[0], tasks[-1])
        if len(tasks) == 2:
            yield row, (tasks[1], tasks[0])


@pytest.mark.parametrize("belief", [None, 0.4])
def test_the_prediction_is_that_of_normal_conditioning(belief):
    # T and the scores as one normal vector, unknown constants with a variance that is all but infinite: conditioning
    # gives both the prediction and its error.
    prior, truth = planted(n=4)
    variances = {"target": 2.0, "source": 0.3, "pair": 0.2, "alike": 0.4, "noise": 0.1}
    root = np.random.default_rng(5).normal(size=(4, 4))
    alike = root @ root.T
    subsets = np.array([[1, 1, 0, 0], [1, 0, 1, 1], [0, 0, 1, 0], [0, 1, 1, 1], [1, 1, 0, 0]], dtype=bool)
    scores = trained(truth, subsets, noise=0.3)
    fitted = SurrogateAffinity(prior, alike, belief, variances).fit(scores)
    level = np.where(~np.eye(4, dtype=bool), prior, 0).sum(axis=1, keepdims=True) / 3
    feature = np.where(~np.eye(4, dtype=bool), prior - level, 0)
    feature /= np.sqrt((feature**2).sum() / 12)
    read, y, of = [], [], []
    for row, subset in enumerate(subsets):
        for target in np.flatnonzero(subset):
            weights = np.zeros((4, 4))
            weights[target, [s for s in np.flatnonzero(subset) if s != target] or [target]] = 1
            read.append(weights.ravel() / weights.sum())
            y.append(scores.values[row, target])
            of.append(target)
    A, y, of = np.array(read), np.array(y), np.array(of)
    residual = y - np.array([y[of == target].mean() for target in range(4)])[of]
    slope = 0.0 if belief is None else belief * np.sqrt((residual**2).sum() / (len(y) - 4))
    same, ones = np.eye(4), np.ones((4, 4))
    covariance = (
        2.0 * np.kron(same, ones)
        + 0.3 * np.kron(ones, same)
        + 0.2 * np.eye(16)
        + 0.4 * np.kron(alike, alike)
        + 1e5
        + (1e5 if belief is None else slope**2) * np.outer(feature.ravel(), feature.ravel())
    )
    mean = slope * feature.ravel()
    gain = covariance @ A.T @ np.linalg.inv(A @ covariance @ A.T + 0.1 * np.eye(len(y)))
    assert np.allclose(fitted.affinity_.values.ravel(), mean + gain @ (y - A @ mean), atol=1e-3)
    left = np.eye(16) - gain @ A
    error = np.sqrt(np.diag(left @ covariance @ left.T + 0.1 * gain @ gain.T))
    assert np.allclose(fitted.standard_error_.values.ravel(), error, atol=1e-3)
    assert "belief" not in fitted.variances_


def test_few_scores_without_any_effect_leave_the_order_to_the_prior():
    found = {0.3: [], None: []}
    for seed in range(10):
        prior = planted(seed)[0]
        scores = trained(np.zeros((N, N)), pairs(N)[N + seed : N + seed + 5], noise=1.0, seed=seed)
        for belief, agreements in found.items():
            predicted = SurrogateAffinity(prior, belief=belief).fit(scores).affinity_
            agreements.append(partner_spearman(predicted, prior))
    assert np.mean(found[0.3]) > 0.3  # without a belief the sign of the slope is a coin's
    assert np.mean(found[0.3]) > np.mean(found[None]) + 0.25


def test_scores_that_are_equal_within_every_target_give_a_finite_answer():
    levels = np.repeat(0.1 * np.arange(1, N + 1)[:, None], N, axis=1)
    fitted = SurrogateAffinity(planted()[0]).fit(trained(levels, pairs(N)[N:]))
    assert np.allclose(fitted.affinity_.values[OFF], levels[OFF], atol=0.02)
    assert np.isfinite(fitted.standard_error_).all()


def test_the_variances_maximise_the_restricted_likelihood():
    rng = np.random.default_rng(3)
    groups = np.repeat(np.eye(12), 5, axis=0)
    y = groups @ rng.normal(size=12) * 1.5 + 0.7 * rng.normal(size=60) + 4
    X = np.column_stack([np.ones(60), rng.normal(size=60)])
    kernels = {"group": groups @ groups.T, "noise": np.eye(60)}
    model = fit_mixed_model(y, X, kernels, {})

    # The restricted likelihood is that of contrasts which X does not reach.
    contrasts = np.linalg.svd(X)[0][:, 2:]

    def likelihood(logarithms):
        covariance = sum(np.exp(v) * kernels[k] for v, k in zip(logarithms, kernels, strict=True))
        return -scipy.stats.multivariate_normal.logpdf(contrasts.T @ y, cov=contrasts.T @ covariance @ contrasts)

    reference = scipy.optimize.minimize(likelihood, [0.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-6})
    assert list(model.variances.values()) == pytest.approx(np.exp(reference.x).tolist(), rel=1e-3)


def test_planted_variances_are_found_and_the_errors_are_honest():
    squared = []
    for seed in range(4):
        prior, truth = planted(seed, 14)
        subsets = pairs(14)[14:][np.random.default_rng(seed).permutation(91)[:60]]
        fitted = SurrogateAffinity(prior).fit(trained(truth, subsets, noise=0.2, seed=seed))
        assert fitted.slope_ == pytest.approx(0.7, abs=0.15)
        assert 0.02 < fitted.variances_["pair"] < 0.25 and fitted.variances_["target"] > 0.5
        off = ~np.eye(14, dtype=bool)
        squared.append((((fitted.affinity_ - truth) / fitted.standard_error_).values[off] ** 2).mean())
    assert 0.6 < np.mean(squared) < 1.7


def test_a_good_prior_and_few_trainings_beat_either_alone():
    wins = []
    for seed in range(4):
        prior, truth = planted(seed, 12)
        subsets = pairs(12)[12:][np.random.default_rng(seed).permutation(66)[:22]]
        scores = trained(truth, subsets, noise=0.2, seed=seed)
        both = partner_spearman(SurrogateAffinity(prior).fit(scores).affinity_, truth)
        wins.append(
            both
            - max(partner_spearman(prior, truth), partner_spearman(SurrogateAffinity().fit(scores).affinity_, truth))
        )
    assert np.mean(wins) > 0.02


def test_a_useless_prior_gets_a_small_slope():
    _, truth = planted()
    useless = np.random.default_rng(99).normal(size=(N, N))
    scores = trained(truth, pairs(N), noise=0.1)
    with_it, without = SurrogateAffinity(useless).fit(scores), SurrogateAffinity().fit(scores)
    assert abs(with_it.slope_) < 0.3 and without.slope_ == 0
    assert partner_spearman(with_it.affinity_, truth) > partner_spearman(without.affinity_, truth) - 0.05


def test_relabelled_tasks_repeated_trainings_and_units():
    prior, truth = planted()
    subsets = sample_subsets(N, 3, 30, 1)
    scores, order = trained(truth, subsets, noise=0.2), [3, 1, 7, 0, 2, 6, 5, 4]
    plain = SurrogateAffinity(prior).fit(scores)
    moved_scores = make_scores(
        {"score": np.nan_to_num(scores.values[:, order])}, subsets[:, order], [NAMES[i] for i in order]
    )["score"]
    moved = SurrogateAffinity(prior[np.ix_(order, order)]).fit(moved_scores)
    assert moved.affinity_["target"].values.tolist() == [NAMES[i] for i in order]
    assert np.allclose(moved.affinity_, plain.affinity_.values[np.ix_(order, order)], atol=1e-4)
    scaled = SurrogateAffinity(5 * prior + 3).fit(100 * scores)
    assert np.allclose(scaled.affinity_, 100 * plain.affinity_, rtol=1e-3, atol=1e-2)
    twice = make_scores({"score": np.nan_to_num(np.vstack([scores] * 2))}, np.vstack([subsets] * 2), NAMES)["score"]
    repeated = SurrogateAffinity(prior, variances=plain.variances_).fit(twice)
    assert (repeated.standard_error_ <= plain.standard_error_ + 1e-9).all()
    assert plain.affinity_.attrs["method"] == "surrogate" and plain.affinity_.dims == ("target", "source")
