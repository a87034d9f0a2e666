"""From soft membership to groups that may overlap, what becomes of groups of one task, and how distinct groups are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from taskgroup_core.grouping.grouping import Grouping
from taskgroup_core.matrices import FloatArray
from taskgroup_core.subsets import Subsets

SINGLETONS = ("merge", "copy", "keep")


def soft_members(responsibilities: FloatArray, threshold: float) -> NDArray[np.bool_]:
    """Which tasks each component has: those from the threshold on, and those it is most responsible for; (n, b)."""
    member: NDArray[np.bool_] = responsibilities >= threshold
    member[np.arange(len(member)), responsibilities.argmax(axis=1)] = True
    return member


def soft_groups(responsibilities: FloatArray, threshold: float, singletons: str) -> Grouping:
    """The grouping of n tasks by b components, all that have members; each task is served by its most responsible one.

    Parameters
    ----------
    responsibilities : of the components for the tasks, rows summing to 1, with shape (n, b).
    threshold : responsibility from which a task is a member.
    singletons : a group of one task is put into the nearest group ("merge"), becomes that group and itself ("copy"),
        or stays ("keep"). Nearest is the other group whose component has the highest responsibility for the task,
        the first of equals.

    References
    ----------
    Thakur et al., 2024, section 4.2 and supplement, Eq. (4): the refinement of singletons.

    Deviations
    ----------
    1. The paper's "new cluster that replaces the singular one" can be read as either "merge" or "copy".
    2. Groups that come out alike are all kept, and each serves the tasks that are most its own.
    """
    served = responsibilities.argmax(axis=1)
    member = soft_members(responsibilities, threshold)
    groups = {b: set(np.flatnonzero(member[:, b]).tolist()) for b in np.flatnonzero(member.any(axis=0)).tolist()}
    before = dict(groups)  # a copy is of the nearest group as it was, whatever was copied first
    for b in [b for b, group in groups.items() if len(group) == 1]:
        others = [other for other in groups if other != b]
        if singletons == "keep" or not others or len(groups[b]) > 1:
            continue
        (task,) = groups[b]
        nearest = max(others, key=lambda other: responsibilities[task, other])
        if singletons == "merge":
            del groups[b]
            groups[nearest].add(task)
            served[task] = nearest
        else:
            groups[b] = before[nearest] | {task}
    order = sorted(groups, key=lambda b: (sorted(groups[b]), b))
    return Grouping(tuple(tuple(sorted(groups[b])) for b in order), tuple(order.index(b) for b in served.tolist()))


def membership_silhouette(points: FloatArray, member: Subsets) -> float:
    """The mean silhouette of groups that may overlap: over the memberships of each point, then over points.

    For a membership, a is the mean distance to the group's other members, and b the smallest mean distance to a group
    that does not hold the point. A membership counts 0 in a group of one, and where every group holds the point.
    Without overlap it is the usual mean silhouette.

    Parameters
    ----------
    points : with shape (n, d).
    member : with shape (n, b), each point in a group at least; empty groups are left out.

    References
    ----------
    P. Rousseeuw, Silhouettes: a graphical aid to the interpretation and validation of cluster analysis, 1987.
    """
    groups = member[:, member.any(axis=0)].astype(np.float64)
    size = groups.sum(axis=0)
    total = cdist(points, points) @ groups  # [point, group]: summed distances to the members
    inside = total / np.maximum(size - 1, 1)
    outside = np.where(groups > 0, np.inf, total / size).min(axis=1)[:, None]
    counts = (groups > 0) & (size > 1) & np.isfinite(outside)
    larger = np.maximum(inside, outside)
    counts &= larger > 0  # points that coincide with both groups tell neither apart
    widths = np.zeros_like(total)
    np.divide(outside - inside, larger, out=widths, where=counts)
    return float((widths.sum(axis=1) / groups.sum(axis=1)).mean())
