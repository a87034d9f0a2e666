"""A figure of an affinity with the groups of one or more groupings outlined."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from taskgroup_core.errors import InputError, MissingExtra
from taskgroup_core.grouping.grouping import Grouping
from taskgroup_core.matrices import check_affinity

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LARGEST_WITH_NUMBERS = 8
LARGEST_WITH_NAMES = 20
MOST_IN_A_ROW = 3


def clusters_figure(affinity: xr.DataArray | ArrayLike, groupings: Mapping[str, Grouping]) -> Figure:
    """Draw the affinity once for each grouping, its tasks ordered by group and each group outlined.

    Parameters
    ----------
    affinity : T[target, source], labelled or a plain array with shape (n, n); targets are the rows.
    groupings : title of the panel -> disjoint grouping of the n tasks.

    Returns
    -------
    A figure with one panel per grouping and one colour bar; entries are written into the cells up to 8 tasks, names
    beside them up to 20.

    Raises
    ------
    InputError : no grouping, a grouping of another number of tasks, or groups that overlap.
    MissingExtra : matplotlib is absent.

    References
    ----------
    GRAD-TAG, Figure 2.
    """
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise MissingExtra("matplotlib", "notebooks") from error
    values = check_affinity(affinity)
    if not groupings:
        raise InputError("groupings", "none", "Give at least one grouping.")
    for title, grouping in groupings.items():
        if len(grouping.labels()) != len(values):
            found = f"{len(grouping.served_by)} tasks in {title!r}"
            raise InputError("groupings", found, f"Group the {len(values)} tasks of the affinity.")
    coordinate = affinity["target"].values if isinstance(affinity, xr.DataArray) else np.arange(len(values))
    names = np.asarray(coordinate).astype(str)
    side = 3.0 if len(values) <= LARGEST_WITH_NUMBERS else 4.0
    columns = len(groupings) if len(groupings) <= MOST_IN_A_ROW else 2
    rows = -(-len(groupings) // columns)
    size = (side * columns + 0.8, (side + 0.5) * rows)
    figure, grid = pyplot.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained", facecolor="white")
    panels = list(grid.flat)
    for axes, (title, grouping) in zip(panels, groupings.items(), strict=False):
        _panel(axes, values, grouping, names)
        axes.set_title(title)
    for axes in panels[len(groupings) :]:
        axes.remove()
    drawn = panels[: len(groupings)]
    figure.colorbar(drawn[0].images[0], ax=drawn, label="affinity", shrink=0.8)
    return figure


def _panel(axes: Axes, values: np.ndarray, grouping: Grouping, names: np.ndarray) -> None:
    from matplotlib.patches import Rectangle

    order = np.concatenate([np.asarray(group) for group in grouping.groups])
    shown, n = values[np.ix_(order, order)], len(values)
    axes.imshow(shown, cmap="viridis", vmin=values.min(), vmax=values.max())
    axes.grid(visible=False)
    axes.set(xlabel="source task", ylabel="target task")
    named, small = n <= LARGEST_WITH_NAMES, None if n <= LARGEST_WITH_NUMBERS else 7
    turned = 90 if max(map(len, names)) > 3 else 0
    axes.set_xticks(range(n) if named else [], names[order] if named else [], rotation=turned, fontsize=small)
    axes.set_yticks(range(n) if named else [], names[order] if named else [], fontsize=small)
    if n <= LARGEST_WITH_NUMBERS:
        middle = (values.min() + values.max()) / 2
        for row, column in np.ndindex(shown.shape):
            ink = "white" if shown[row, column] < middle else "black"
            axes.text(column, row, f"{shown[row, column]:.3g}", ha="center", va="center", color=ink, fontsize=8)
    start = 0
    for group in grouping.groups:
        corner, size = (start - 0.5, start - 0.5), len(group)
        axes.add_patch(Rectangle(corner, size, size, fill=False, edgecolor="#D55E00", linewidth=3, clip_on=False))
        start += size
