"""The figure of an affinity with its groups outlined."""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.patches import Rectangle

from taskgroup_core.grouping.grouping import Grouping
from taskgroup_core.matrices import make_affinity
from taskgroup_core.report.clusters import clusters_figure


@pytest.fixture(autouse=True)
def _close_figures() -> Iterator[None]:
    yield
    plt.close("all")


def test_tasks_are_ordered_by_group_and_each_group_is_outlined() -> None:
    values = np.arange(16.0).reshape(4, 4)
    figure = clusters_figure(make_affinity(values, list("abcd")), {"two groups": Grouping.from_labels([0, 1, 0, 1])})
    axes = figure.axes[0]
    assert axes.get_title() == "two groups"
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "c", "b", "d"]
    assert np.array_equal(axes.images[0].get_array(), values[np.ix_([0, 2, 1, 3], [0, 2, 1, 3])])
    outlines = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    assert [(patch.get_xy(), patch.get_width()) for patch in outlines] == [((-0.5, -0.5), 2), ((1.5, 1.5), 2)]


def test_one_panel_for_each_grouping_and_one_colour_bar() -> None:
    groupings = {name: Grouping.from_labels([0, 0, 1]) for name in ("first", "second", "third", "fourth", "fifth")}
    figure = clusters_figure(np.eye(3), groupings)
    assert len(figure.axes) == 6  # five panels, in rows of two, and the colour bar
    assert figure.get_facecolor() == (1.0, 1.0, 1.0, 1.0)  # opaque: readable on a dark page too


def test_a_large_affinity_is_drawn_without_numbers_in_its_cells() -> None:
    figure = clusters_figure(np.eye(30), {"one each": Grouping.from_labels(range(30))})
    assert not figure.axes[0].texts and not figure.axes[0].get_xticklabels()


def test_a_middling_affinity_has_names_and_no_numbers() -> None:
    figure = clusters_figure(np.eye(12), {"two": Grouping.from_labels([1, 0] * 6)})
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == [str(task) for task in (*range(0, 12, 2), *range(1, 12, 2))] and not figure.axes[0].texts
