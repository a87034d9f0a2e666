"""GRAD-TAG's toy affinity: the matrix of Appendix B and the variant that Example 4.1's text describes."""

from __future__ import annotations

import numpy as np
import pytest

from taskgroup_core.grouping.exhaustive import ExhaustiveGrouper
from taskgroup_core.grouping.grouping import average_density
from taskgroup_core.grouping.lloyd import LloydGrouper
from taskgroup_core.grouping.sdp import SDPGrouper
from taskgroup_core.grouping.spectral import SpectralGrouper

APPENDIX_B = np.kron([[7.0, 6.0, 5.0], [6.0, 20.0, 19.0], [5.0, 19.0, 20.0]], np.ones((2, 2)))
# The text gives 7, 20, 19 within the groups and nothing across: across as in the appendix, and one step lower.
TEXT = np.kron([[7.0, 6.0, 5.0], [6.0, 20.0, 19.0], [5.0, 19.0, 19.0]], np.ones((2, 2)))
TEXT_LOWER = np.kron([[7.0, 6.0, 5.0], [6.0, 20.0, 18.0], [5.0, 18.0, 19.0]], np.ones((2, 2)))
PAIRS = ((0, 1), (2, 3), (4, 5))
MERGED = ((0,), (1,), (2, 3, 4, 5))


@pytest.mark.parametrize("solver", ["CLARABEL", "SCS"])
def test_the_relaxation_is_integral_and_reaches_94(solver: str) -> None:
    grouper = SDPGrouper(3, solver=solver).fit(APPENDIX_B)
    assert 3 * grouper.relaxation_objective_ == pytest.approx(94, abs=1e-4)
    assert np.abs(grouper.relaxation_ - np.kron(np.eye(3), np.full((2, 2), 0.5))).max() < 1e-5
    assert grouper.groups_ == PAIRS
    assert 3 * grouper.objective_ == pytest.approx(94, rel=1e-12)
    assert abs(grouper.gap_) < 1e-5


def test_every_threshold_constant_from_a_half_to_almost_three_gives_the_pairs() -> None:
    grouper = SDPGrouper(3).fit(APPENDIX_B)
    low, high = grouper.rounding_.interval or (np.nan, np.nan)
    assert low < 0.5 and high > 2.75
    for c in np.arange(0.5, 2.76, 0.25):
        together = grouper.relaxation_ >= c / 6
        assert (together == np.kron(np.eye(3), np.ones((2, 2))).astype(bool)).all()


@pytest.mark.parametrize("values", [APPENDIX_B, TEXT, TEXT_LOWER])
def test_the_pairs_are_best_of_all_partitions(values: np.ndarray) -> None:
    assert ExhaustiveGrouper(3).fit(values).groups_ == PAIRS
    assert SDPGrouper(3).fit(values).groups_ == PAIRS


@pytest.mark.parametrize("values", [APPENDIX_B, TEXT, TEXT_LOWER])
@pytest.mark.parametrize("random_state", range(5))
def test_spectral_merges_the_two_dense_groups_as_the_paper_says(values: np.ndarray, random_state: int) -> None:
    assert SpectralGrouper(3, random_state=random_state).fit(values).groups_ == MERGED


@pytest.mark.parametrize("values", [APPENDIX_B, TEXT, TEXT_LOWER])
@pytest.mark.parametrize("random_state", range(5))
def test_spectral_finds_the_pairs_once_the_smallest_entry_is_zero(values: np.ndarray, random_state: int) -> None:
    assert SpectralGrouper(3, shift="always", random_state=random_state).fit(values).groups_ == PAIRS


@pytest.mark.parametrize("values", [APPENDIX_B, TEXT, TEXT_LOWER])
@pytest.mark.parametrize("random_state", range(5))
def test_lloyd_finds_the_pairs_unlike_what_the_paper_says(values: np.ndarray, random_state: int) -> None:
    assert LloydGrouper(3, random_state=random_state).fit(values).groups_ == PAIRS


def test_merging_costs_two_thirds_of_a_unit() -> None:
    pairs, merged = (average_density(APPENDIX_B, groups) for groups in (PAIRS, MERGED))
    assert pairs - merged == pytest.approx(2 / 3)
