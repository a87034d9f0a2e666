"""The three baselines."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from scipy.stats import chisquare

from taskgroup_core.grouping.lloyd import LloydGrouper
from taskgroup_core.grouping.random import RandomGrouper
from taskgroup_core.grouping.spectral import SpectralGrouper

BLOCKS = np.kron(np.eye(3), np.ones((3, 3)))
GROUPS = ((0, 1, 2), (3, 4, 5), (6, 7, 8))


@pytest.mark.parametrize("grouper", [SpectralGrouper(3), SpectralGrouper(3, shift="always"), LloydGrouper(3)])
@pytest.mark.parametrize("offset", [0.1, 5.0, -5.0])
def test_plain_blocks_are_found_at_any_offset(grouper: SpectralGrouper, offset: float) -> None:
    assert grouper.fit(BLOCKS + offset).groups_ == GROUPS


def test_spectral_sees_the_symmetric_part_only() -> None:
    values = np.random.default_rng(0).random((9, 9)) + BLOCKS
    assert SpectralGrouper(3).fit(values).labels_.tolist() == SpectralGrouper(3).fit(values.T).labels_.tolist()


def test_spectral_always_shifted_ignores_a_constant() -> None:
    values = np.random.default_rng(1).random((9, 9))
    labels = [SpectralGrouper(3, shift="always").fit(values + b).labels_.tolist() for b in (-3.0, 0.0, 8.0)]
    assert labels[0] == labels[1] == labels[2]


def test_spectral_tells_of_the_shift_and_of_what_scikit_learn_warned() -> None:
    assert "less its smallest entry, -1" in SpectralGrouper(3).fit(2 * BLOCKS - 1).status_
    assert "not fully connected" in SpectralGrouper(3).fit(BLOCKS).status_


@pytest.mark.parametrize("k", [1, 2, 8, 9])
def test_spectral_works_at_the_extremes_of_k(k: int) -> None:
    values = np.random.default_rng(2).random((9, 9))
    assert len(SpectralGrouper(k).fit(values).groups_) == k


def test_lloyd_looks_at_rows_only() -> None:
    values = np.zeros((4, 4))
    values[:2, 0] = 1  # targets 0 and 1 gain from source 0; as sources they are not alike
    assert LloydGrouper(2).fit(values).groups_ == ((0, 1), (2, 3))


def test_lloyd_says_when_it_finds_fewer_groups() -> None:
    grouper = LloydGrouper(4).fit(BLOCKS)
    assert grouper.groups_ == GROUPS
    assert "only 3 of 4" in grouper.status_


@pytest.mark.parametrize("k", range(1, 8))
def test_random_gives_exactly_k_groups(k: int) -> None:
    for seed in range(20):
        assert len(RandomGrouper(k, random_state=seed).fit(np.zeros((7, 7))).groups_) == k


def test_random_is_uniform_over_partitions() -> None:
    draws = Counter(RandomGrouper(3, random_state=seed).fit(np.zeros((5, 5))).groups_ for seed in range(5000))
    assert len(draws) == 25  # S(5, 3)
    assert chisquare(list(draws.values())).pvalue > 0.001


def test_random_copes_with_many_tasks() -> None:
    assert len(RandomGrouper(40).fit(np.zeros((400, 400))).groups_) == 40
