"""What a grouping is and how it is judged."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone

from taskgroup_core.grouping.grouping import Grouping, average_density
from taskgroup_core.grouping.lloyd import LloydGrouper
from taskgroup_core.grouping.random import RandomGrouper
from taskgroup_core.grouping.sdp import SDPGrouper
from taskgroup_core.grouping.spectral import SpectralGrouper
from taskgroup_core.matrices import make_affinity


def test_labels_become_groups_in_the_order_of_their_first_member() -> None:
    grouping = Grouping.from_labels([7, 2, 7, 5])
    assert grouping.groups == ((0, 2), (1,), (3,))
    assert grouping.served_by == (0, 1, 0, 2)
    assert grouping.labels().tolist() == [0, 1, 0, 2]


def test_names_may_serve_as_labels() -> None:
    assert Grouping.from_labels(["b", "a", "b"]).groups == ((0, 2), (1,))


def test_groups_may_overlap() -> None:
    grouping = Grouping(groups=((0, 1), (1, 2)), served_by=(0, 1, 1))
    assert grouping.served_by[1] == 1


def test_average_density_counts_the_diagonal_and_both_directions() -> None:
    affinity = np.array([[1.0, 2.0, 0.0], [4.0, 3.0, 0.0], [0.0, 0.0, 5.0]])
    assert average_density(affinity, [(0, 1), (2,)]) == ((1 + 2 + 4 + 3) / 2 + 5) / 2


def test_average_density_of_overlapping_groups() -> None:
    affinity = np.array([[1.0, 2.0, 0.0], [4.0, 3.0, 6.0], [0.0, 2.0, 5.0]])
    assert average_density(affinity, [(0, 1), (2, 1)]) == ((1 + 2 + 4 + 3) / 2 + (3 + 6 + 2 + 5) / 2) / 2


def test_average_density_is_the_trace_form_of_the_paper() -> None:
    affinity = np.random.default_rng(0).standard_normal((5, 5))
    groups = [(0, 3), (1, 2, 4)]
    x = np.zeros((5, 5))
    for group in groups:
        v = np.isin(np.arange(5), group).astype(float)
        x += np.outer(v, v) / (v @ v)
    assert average_density(affinity, groups) == pytest.approx(np.vdot(affinity, x) / 2, rel=1e-12)


@pytest.mark.parametrize("grouper", [SDPGrouper(2), SpectralGrouper(2), LloydGrouper(2), RandomGrouper(2)])
def test_groupers_keep_scikit_learns_conventions(grouper: SDPGrouper) -> None:
    values = np.kron(np.eye(2), np.ones((2, 2))) + 0.1
    copy = clone(grouper)
    assert copy.get_params() == grouper.get_params()
    assert copy.fit(values) is copy
    assert copy.fit_predict(values).tolist() == copy.labels_.tolist()
    assert copy.objective_ == average_density(values, copy.groups_)
    assert copy.status_.endswith(".")


def test_a_labelled_affinity_may_come_transposed() -> None:
    values = np.random.default_rng(1).standard_normal((5, 5))
    affinity = make_affinity(values, list("abcde"))
    plain = LloydGrouper(2).fit(values).labels_
    assert LloydGrouper(2).fit(affinity.transpose("source", "target")).labels_.tolist() == plain.tolist()
