"""From soft membership to groups that may overlap, and what becomes of groups of one task."""

from __future__ import annotations

import numpy as np

from taskgroup_core.grouping.grouping import Grouping
from taskgroup_core.matrices import FloatArray

SINGLETONS = ("merge", "copy", "keep")


def soft_groups(responsibilities: FloatArray, threshold: float, singletons: str) -> Grouping:
    """The grouping of n tasks by b components; each task is served by its most responsible one.

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
    """
    served = responsibilities.argmax(axis=1)
    member = responsibilities >= threshold
    member[np.arange(len(served)), served] = True
    groups = {b: set(np.flatnonzero(member[:, b]).tolist()) for b in np.unique(served).tolist()}
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
            groups[b] = groups[nearest] | {task}
    order = sorted(groups, key=lambda b: (sorted(groups[b]), b))
    return Grouping(tuple(tuple(sorted(groups[b])) for b in order), tuple(order.index(b) for b in served.tolist()))
