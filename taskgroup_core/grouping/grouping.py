"""What a grouping is, the objective it is judged by, and what all groupers share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClusterMixin

from taskgroup_core.checks import is_whole, rectangular
from taskgroup_core.errors import InputError
from taskgroup_core.matrices import FloatArray, check_affinity
from taskgroup_core.subsets import membership

Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Grouping:
    """Groups of tasks (a task may be in several) and, for each task, the group that serves it.

    Parameters
    ----------
    groups : k groups, each a tuple of distinct task indices; together they hold every task.
    served_by : for each of the n tasks, the index of a group that it is a member of.

    Raises
    ------
    InputError : no group, an empty group, a task twice in one group, an index out of range or no integer, or a task
        that is served by a group it is not in.
    """

    groups: tuple[tuple[int, ...], ...]
    served_by: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.groups or not self.served_by:
            raise InputError("groups, served_by", "no group or no task", "Give at least one group and one task.")
        members = membership(self.groups, len(self.served_by))
        for task, group in enumerate(self.served_by):
            if not is_whole(group) or not 0 <= group < len(self.groups) or not members[group, task]:
                remedy = "Serve every task by a group that it is a member of."
                raise InputError("served_by", f"group {group!r} for task {task}", remedy)

    @classmethod
    def from_labels(cls, labels: ArrayLike) -> Grouping:
        """The disjoint grouping of n labels (any values): groups in the order of their first member.

        Raises
        ------
        InputError : labels that are not a vector, empty, or NaN.
        """
        array = rectangular(labels, "labels")
        if array.ndim != 1 or array.size == 0:
            raise InputError("labels", f"shape {array.shape}", "Give one label per task, in a vector.")
        if (array != array).any():  # of all values NaN alone differs from itself
            raise InputError("labels", "NaN", "Give every task a label.")
        order: dict[Any, int] = {}
        served_by = tuple(order.setdefault(label, len(order)) for label in array.tolist())
        groups = tuple(tuple(np.flatnonzero(np.equal(served_by, group)).tolist()) for group in range(len(order)))
        return cls(groups, served_by)

    def labels(self) -> Labels:
        """The group of each task, with shape (n,).

        Raises
        ------
        InputError : groups that overlap, which no vector of labels can say.
        """
        if sum(map(len, self.groups)) > len(self.served_by):
            raise InputError("groups", "a task in several groups", "Read `groups` and `served_by` instead.")
        return np.array(self.served_by, dtype=np.int64)


def average_density(affinity: xr.DataArray | ArrayLike, groups: Iterable[Sequence[int]]) -> float:
    """The mean over groups of (sum of T over the pairs of members, the diagonal counted) / (number of members).

    Parameters
    ----------
    affinity : T[target, source], with shape (n, n); the result has its unit.
    groups : task indices of each group; groups may overlap.

    Raises
    ------
    InputError : an affinity or indices that cannot be used, a task twice in one group, an empty group, or no group.

    References
    ----------
    GRAD-TAG, Equation (7).
    """
    values = check_affinity(affinity)
    members = membership(groups, len(values)).astype(np.float64)
    if not len(members):
        raise InputError("groups", "no group", "Give at least one group.")
    return float(np.mean(((members @ values) * members).sum(axis=1) / members.sum(axis=1)))


def random_density(affinity: xr.DataArray | ArrayLike, n_groups: int) -> float:
    """The mean of `average_density` over all relabellings of a partition into k groups: the same for every partition.

    A relabelling puts the mean diagonal d into every group, and the mean o off the diagonal everywhere else. A group of
    s tasks then has density d + (s - 1) o, so the mean over groups is d + (n - k) o / k, whatever the sizes.

    Parameters
    ----------
    affinity : T[target, source], with shape (n, n); the result has its unit.
    n_groups : k, from 1 to n.

    Raises
    ------
    InputError : an affinity or a number of groups that cannot be used.

    References
    ----------
    Ours, for GRAD-TAG, Equation (7).
    """
    values = check_affinity(affinity)
    n, k = len(values), check_n_groups(n_groups, len(values))
    trace = float(values.trace())
    return trace / n + (float(values.sum()) - trace) / (n * max(n - 1, 1)) * (n - k) / k


def check_n_groups(n_groups: Any, n_tasks: int) -> int:
    """Return `n_groups` as an int, after checking that n tasks can be split into so many non-empty groups.

    Raises
    ------
    InputError : not an integer, below 1, or above the number of tasks.
    """
    if not is_whole(n_groups) or not 1 <= n_groups <= n_tasks:
        raise InputError("n_groups", repr(n_groups), f"Use an integer from 1 to the number of tasks, {n_tasks}.")
    return int(n_groups)


def check_random_state(random_state: Any) -> int:
    """Return `random_state` as an int; an integer and nothing else, so that every run can be repeated.

    Raises
    ------
    InputError : not a non-negative integer.
    """
    if not is_whole(random_state) or random_state < 0:
        raise InputError("random_state", repr(random_state), "Use a non-negative integer.")
    return int(random_state)


def status_of(method: str, labels: Labels, n_groups: int) -> str:
    """The status sentence of a baseline, which may find fewer groups than it was asked for."""
    found = len(np.unique(labels))
    if found == n_groups:
        return f"{method}; groups found: {found}."
    return f"{method}; groups found: only {found} of {n_groups}, because too many tasks look alike."


class Grouper(ClusterMixin, BaseEstimator):  # type: ignore[misc]
    """Base of the groupers that split the tasks into disjoint groups, in scikit-learn's conventions.

    Attributes
    ----------
    grouping_ : the `Grouping`; `groups_` and `labels_` are its two forms, groups in the order of their first member.
    objective_ : average density of the groups, in the affinity's unit (GRAD-TAG, Equation 7); higher is better.
    status_ : a sentence that says how the result came about and whether to trust it.
    """

    n_groups: int

    def fit(self, affinity: xr.DataArray | ArrayLike, y: None = None) -> Self:  # noqa: ARG002
        """Group the tasks of an affinity.

        Parameters
        ----------
        affinity : T[target, source], labelled or a plain array with shape (n, n).
        y : ignored; here because scikit-learn's conventions ask for it.

        Raises
        ------
        InputError : an affinity or a constructor argument that cannot be used.
        """
        values = check_affinity(affinity)
        labels, self.status_ = self._group(values, check_n_groups(self.n_groups, len(values)))
        self.grouping_ = Grouping.from_labels(labels)
        self.groups_, self.labels_ = self.grouping_.groups, self.grouping_.labels()
        self.objective_ = average_density(values, self.groups_)
        return self

    @abstractmethod
    def _group(self, values: FloatArray, n_groups: int) -> tuple[Labels, str]:
        """Labels with shape (n,), and the status sentence, for a checked affinity."""
