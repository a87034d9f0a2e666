"""The choice of k: against closed forms, planted groups, and affinities without groups."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from taskgroup_core.errors import InputError
from taskgroup_core.grouping.choice_of_k import ChoiceOfK, _dealt_out, _silhouette
from taskgroup_core.grouping.exhaustive import ExhaustiveGrouper
from taskgroup_core.grouping.grouping import Grouper, average_density, random_density
from taskgroup_core.grouping.lloyd import LloydGrouper
from taskgroup_core.grouping.random import RandomGrouper
from taskgroup_core.grouping.sdp import SDPGrouper
from taskgroup_core.grouping.spectral import SpectralGrouper
from taskgroup_core.matrices import FloatArray

FAST = SDPGrouper(2, solver="ADMM", rounding="local_search", solver_options={"tolerance": 1e-2})


def planted(n: int, k: int, noise: float, seed: int) -> FloatArray:
    labels = np.arange(n) % k
    return (labels[:, None] == labels) + noise * np.random.default_rng(seed).standard_normal((n, n))


def least_squares_residuals(values: FloatArray) -> FloatArray:
    """Of (T + T') / 2 off the diagonal on m + a_i + a_j, by an ordinary regression."""
    n = len(values)
    first, second = np.triu_indices(n, 1)
    design = np.ones((len(first), n + 1))
    design[:, 1:] = np.eye(n)[first] + np.eye(n)[second]
    target = (values + values.T)[first, second] / 2
    residuals: FloatArray = target - design @ np.linalg.lstsq(design, target, rcond=None)[0]
    return residuals


@pytest.mark.parametrize("sizes", [(1, 5), (2, 2, 2), (1, 2, 3)])
def test_the_mean_over_all_relabellings_has_its_closed_form(sizes: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).standard_normal((6, 6))
    cuts = np.cumsum(sizes)[:-1]
    brute = np.mean([average_density(values, np.split(np.array(order), cuts)) for order in permutations(range(6))])
    assert random_density(values, len(sizes)) == pytest.approx(brute, abs=1e-12)


def test_one_task_has_one_density() -> None:
    assert random_density([[2.5]], 1) == 2.5


@pytest.mark.parametrize("k", [2, 3, 4, 5])
def test_the_gain_of_noiseless_blocks_has_its_closed_form(k: int) -> None:
    n, blocks = 12, 3
    s = n // blocks
    choice = ChoiceOfK(ExhaustiveGrouper(2), [k], draws=1, level=0.5).fit(planted(n, blocks, 0, 0))
    up_to = (s - 1) * n * (k - 1) / (n - 1)  # merged blocks lose no density
    beyond = blocks * s - k - (n - k) * (s - 1) / (n - 1)  # blocks that are cut gain none
    assert choice.gains_[0] == pytest.approx(up_to if k <= blocks else beyond, abs=1e-9)


def test_planted_groups_are_counted_at_low_noise() -> None:
    values = planted(12, 3, 0.3, 3)
    choice = ChoiceOfK(FAST).fit(values)
    assert choice.n_groups_ == 3 and choice.p_value_ == pytest.approx(0.05)
    assert choice.candidates_.tolist() == [2, 3, 4, 5, 6]
    assert choice.grouper_.groups_ == tuple(tuple(range(first, 12, 3)) for first in range(3))
    assert choice.status_ == "3 groups (largest excess gain at k = 3 among 5 candidates, p = 0.05)."
    assert int(choice.candidates_[choice.silhouettes_.argmax()]) == 3


@pytest.mark.parametrize("k", [2, 4])
def test_few_and_many_planted_groups_are_counted(k: int) -> None:
    choice = ChoiceOfK(ExhaustiveGrouper(2), [2, 3, 4, 5]).fit(planted(8, k, 0.1, k))
    assert choice.n_groups_ == k and len(choice.grouper_.groups_) == k


def test_false_alarms_on_noise_are_as_rare_as_the_level_says() -> None:
    found = [
        ChoiceOfK(ExhaustiveGrouper(2), [2, 3], draws=4, level=0.2).fit(np.random.default_rng(seed).normal(size=(6, 6)))
        for seed in range(60)
    ]
    alarms = sum(one.n_groups_ > 1 for one in found)
    assert 2 <= alarms <= 22  # 12 are expected; 1 in 1,000 binomial draws lies outside
    quiet = next(one for one in found if one.n_groups_ == 1)
    assert "No groups found" in quiet.status_ and len(quiet.grouper_.groups_) == 1 and quiet.p_value_ > 0.2


@pytest.mark.parametrize("values", [np.full((6, 6), -3.0), np.add.outer(np.arange(6.0), np.arange(6.0) ** 2)])
def test_without_pairs_there_is_nothing_to_choose(values: FloatArray) -> None:
    choice = ChoiceOfK(ExhaustiveGrouper(2), [2, 3]).fit(values)
    assert choice.n_groups_ == 1 and choice.p_value_ == 1.0
    assert np.abs(choice.gains_ - choice.null_gains_).max() < 1e-12


def test_of_equal_excess_gains_the_smallest_k_is_taken() -> None:
    class SameForAll(Grouper):
        """Finds the same two groups whatever it is asked for."""

        def __init__(self, n_groups: int) -> None:
            self.n_groups = n_groups

        def _group(self, values: FloatArray, n_groups: int) -> tuple[np.ndarray, str]:
            return np.arange(len(values)) % 2 if n_groups > 1 else np.zeros(len(values), dtype=np.int64), ""

    choice = ChoiceOfK(SameForAll(2), [4, 3, 2]).fit(planted(12, 2, 0.1, 0))
    assert choice.candidates_.tolist() == [2, 3, 4] and np.ptp(choice.excess_) < 1e-12
    assert choice.n_groups_ == 2


def test_the_largest_k_compared_is_told() -> None:
    choice = ChoiceOfK(FAST, [2, 3], draws=9, level=0.1).fit(planted(12, 4, 0.1, 0))
    assert choice.n_groups_ == 3 and "try larger ones" in choice.status_


def test_shift_scale_and_levels_of_tasks_change_nothing() -> None:
    values, generator = planted(8, 2, 0.5, 1), np.random.default_rng(1)
    moved = 3 * values - 7 + generator.standard_normal((8, 1)) + generator.standard_normal(8)
    plain, other = (ChoiceOfK(ExhaustiveGrouper(2), [2, 3], draws=4, level=0.2).fit(one) for one in (values, moved))
    assert np.allclose(3 * plain.gains_, other.gains_) and np.allclose(3 * plain.null_gains_, other.null_gains_)
    assert (plain.n_groups_, plain.p_value_) == (other.n_groups_, other.p_value_)


def test_a_copy_keeps_levels_diagonal_and_spread_and_deals_out_the_rest() -> None:
    values = np.random.default_rng(2).standard_normal((7, 7))
    symmetric = (values + values.T) / 2
    copy = _dealt_out(symmetric, np.random.default_rng(3))
    assert np.allclose(copy, copy.T, atol=1e-15) and np.array_equal(np.diag(copy), np.diag(symmetric))
    kept, dealt = least_squares_residuals(symmetric), least_squares_residuals(copy)
    upper = np.triu_indices(7, 1)
    assert np.allclose(copy[upper] - dealt, symmetric[upper] - kept)  # the fitted part is the same
    assert np.linalg.norm(dealt) == pytest.approx(np.linalg.norm(kept)) and abs(np.corrcoef(dealt, kept)[0, 1]) < 0.9
    order = np.random.default_rng(3).permutation(kept)
    shuffled = np.zeros((7, 7))
    shuffled[upper] = order
    expected = least_squares_residuals(shuffled + shuffled.T)
    assert np.allclose(dealt, expected * np.linalg.norm(kept) / np.linalg.norm(expected))


def test_the_p_value_is_the_rank_of_the_largest_excess_over_the_others() -> None:
    choice = ChoiceOfK(ExhaustiveGrouper(2), [2, 3], draws=9, level=0.1).fit(planted(8, 2, 1.0, 4))
    everyone = [choice.gains_, *choice.null_gains_]
    largest = []
    for i, one in enumerate(everyone):
        others = [other for j, other in enumerate(everyone) if j != i]
        largest.append((one - np.mean(others, axis=0)).max())
    assert choice.p_value_ == pytest.approx(np.mean([one >= largest[0] - 1e-12 for one in largest]))
    assert choice.excess_.max() == pytest.approx(largest[0])


def test_two_choices_with_one_seed_agree_and_with_two_differ() -> None:
    values = planted(9, 3, 1.0, 5)
    first, second, other = (ChoiceOfK(FAST, [2, 3], draws=3, level=0.3, random_state=s).fit(values) for s in (0, 0, 1))
    assert np.array_equal(first.null_gains_, second.null_gains_)
    assert not np.array_equal(first.null_gains_, other.null_gains_)


@pytest.mark.parametrize("make", [LloydGrouper, SpectralGrouper])
def test_any_grouper_may_be_asked(make: type[Grouper]) -> None:
    choice = ChoiceOfK(make(2), [2, 3, 4], draws=3, level=0.25).fit(planted(12, 3, 0.1, 6))
    assert choice.n_groups_ == 3


def test_a_grouper_that_does_not_look_finds_no_groups() -> None:
    assert ChoiceOfK(RandomGrouper(2), [2, 3, 4]).fit(planted(12, 3, 0.1, 0)).n_groups_ == 1


def test_the_silhouette_is_that_of_its_definition() -> None:
    values, labels = planted(6, 2, 0.5, 7), np.array([0, 1, 0, 1, 2, 1])
    symmetric = (values + values.T) / 2
    distances = symmetric.max() - symmetric
    scores = []
    for i in range(6):
        own = [j for j in range(6) if labels[j] == labels[i] and j != i]
        other = min(distances[i, labels == g].mean() for g in set(labels.tolist()) - {labels[i]})
        a = np.mean([distances[i, j] for j in own]) if own else 0.0
        scores.append((other - a) / max(a, other) if own else 0.0)
    assert _silhouette(symmetric, labels) == pytest.approx(np.mean(scores))
    assert np.isnan(_silhouette(symmetric, np.arange(6))) and np.isnan(_silhouette(symmetric, np.zeros(6, dtype=int)))


@pytest.mark.parametrize(
    ("argument", "options"),
    [
        ("grouper", {"grouper": "sdp"}),
        ("candidates", {"candidates": []}),
        ("candidates", {"candidates": [1, 2]}),
        ("candidates", {"candidates": 3}),
        ("candidates", {"candidates": [2, 9]}),
        ("candidates", {"candidates": [2.0]}),
        ("draws", {"draws": 0}),
        ("draws", {"draws": 2.0}),
        ("draws", {"draws": True}),
        ("level", {"level": 0.01}),
        ("level", {"level": 1}),
        ("level", {"level": "5 %"}),
        ("random_state", {"random_state": -1}),
    ],
)
def test_arguments_that_cannot_be(argument: str, options: dict[str, object]) -> None:
    with pytest.raises(InputError, match=argument):
        ChoiceOfK(**{"grouper": ExhaustiveGrouper(2), **options}).fit(np.eye(8))  # type: ignore[arg-type]


@pytest.mark.parametrize("affinity", [np.eye(3), np.full((5, 5), np.nan), np.zeros((4, 5))])
def test_an_affinity_that_cannot_be(affinity: FloatArray) -> None:
    with pytest.raises(InputError, match="affinity"):
        ChoiceOfK(ExhaustiveGrouper(2)).fit(affinity)
