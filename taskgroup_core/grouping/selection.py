"""Forward and backward selection: groups grown or shrunk one task at a time, by the scores of an algorithm."""

from __future__ import annotations

from abc import abstractmethod
from typing import Self

import numpy as np
from sklearn.base import BaseEstimator

from taskgroup_core.algorithm import MultitaskAlgorithm
from taskgroup_core.errors import InputError
from taskgroup_core.grouping.grouping import Grouping, check_n_groups
from taskgroup_core.subsets import membership

ORDERS = ("given", "best")
Groups = tuple[frozenset[int], ...]


class _Selection(BaseEstimator):  # type: ignore[misc]
    """What both directions share: moves are compared by the mean score of all tasks that are in a group."""

    def __init__(self, n_groups: int, *, order: str = "given", metric: str = "score") -> None:
        self.n_groups = n_groups
        self.order = order
        self.metric = metric

    def fit(self, algorithm: MultitaskAlgorithm, y: None = None) -> Self:  # noqa: ARG002
        """Group the tasks of an algorithm.

        Parameters
        ----------
        algorithm : what answers f(S, t): full training, or an estimate of it.
        y : ignored; here because scikit-learn's conventions ask for it.

        Raises
        ------
        InputError : a number of groups, an order or a metric that cannot be used.
        """
        n_tasks = len(algorithm.task_names)
        n_groups = check_n_groups(self.n_groups, n_tasks)
        if self.order not in ORDERS:
            raise InputError("order", repr(self.order), f"Use one of {', '.join(ORDERS)}.")
        self._algorithm, self._values = algorithm, {frozenset[int](): 0.0}
        groups = self._start(n_groups, n_tasks)
        waiting = list(range(n_tasks))
        while waiting:
            candidates = waiting[:1] if self.order == "given" else waiting
            moves = [(task, moved) for task in candidates for moved in self._moves(groups, task)]
            totals = self._totals([moved for _, moved in moves])
            task, groups = moves[int(np.argmax(totals))]  # the first of equals
            waiting.remove(task)
        self.grouping_ = Grouping.from_labels(
            [next(g for g, group in enumerate(groups) if task in group) for task in range(n_tasks)]
        )
        self.groups_, self.labels_ = self.grouping_.groups, self.grouping_.labels()
        self.served_by_ = self.grouping_.served_by
        self.objective_ = float(self._totals([groups])[0]) / n_tasks
        self.n_scored_ = len(self._values) - 1
        short = "" if len(self.groups_) == n_groups else f"; only {len(self.groups_)} of {n_groups} groups are used"
        self.status_ = f"Greedy: {self.n_scored_} subsets scored{short}. A better grouping may exist."
        return self

    @abstractmethod
    def _start(self, n_groups: int, n_tasks: int) -> Groups:
        """The groups to begin with."""

    @abstractmethod
    def _moves(self, groups: Groups, task: int) -> list[Groups]:
        """What the groups may become when it is this task's turn."""

    def _totals(self, candidates: list[Groups]) -> list[float]:
        """The sum of the scores of all tasks in groups; subsets not seen before are scored in one call."""
        new = sorted({group for groups in candidates for group in groups} - self._values.keys(), key=sorted)
        if new:
            scores = self._algorithm.scores(
                membership([sorted(group) for group in new], len(self._algorithm.task_names))
            )
            if self.metric not in scores:
                raise InputError("metric", repr(self.metric), f"Use one of {', '.join(map(str, scores.data_vars))}.")
            self._values |= dict(zip(new, scores[self.metric].sum("task", skipna=True).values.tolist(), strict=True))
        return [sum(self._values[group] for group in groups) for groups in candidates]

    def _placed(self, groups: Groups, task: int) -> list[Groups]:
        """The groups with the task added to each of them; of several empty ones, to the first only."""
        targets = [g for g, group in enumerate(groups) if group or groups.index(frozenset()) == g]
        return [tuple(group | {task} if g == target else group for g, group in enumerate(groups)) for target in targets]


class ForwardSelection(_Selection):
    """Start from k empty groups; add one task after another to the group that gives the best mean score.

    Parameters
    ----------
    n_groups : k, from 1 to n; some groups may stay empty.
    order : "given" takes the tasks in their order, some n k subsets in all; "best" tries all tasks that are left in
        each round and takes the best one, some n^2 k / 2.
    metric : name of the score to add up.

    Attributes
    ----------
    grouping_, groups_, served_by_, labels_ : the groups, see `Grouping`.
    objective_ : mean over tasks of f(their group, task); higher is better.
    n_scored_ : distinct subsets whose scores were asked for: the trainings that an estimate of f saves.
    status_ : a sentence on the result.

    Raises
    ------
    InputError : (on fit) arguments that cannot be used.

    References
    ----------
    GRAD-TAG, C.1.2; driven by GRAD-TAE's estimate it is Remark 4.3.

    Deviations
    ----------
    1. The paper's sentence leaves open whether a round tries one task or all that are left: see `order`.
    2. The performance averaged is that of the tasks placed so far, as the others have none.
    """

    def _start(self, n_groups: int, n_tasks: int) -> Groups:  # noqa: ARG002
        return (frozenset[int](),) * n_groups

    def _moves(self, groups: Groups, task: int) -> list[Groups]:
        return self._placed(groups, task)


class BackwardSelection(_Selection):
    """Start with all tasks in the first of k groups; move one after another to the group with the best mean score.

    Parameters
    ----------
    n_groups, order, metric : as of `ForwardSelection`.

    Attributes
    ----------
    grouping_, groups_, served_by_, labels_, objective_, n_scored_, status_ : as of `ForwardSelection`.

    Raises
    ------
    InputError : (on fit) arguments that cannot be used.

    References
    ----------
    GRAD-TAG, C.1.2; driven by GRAD-TAE's estimate it is Remark 4.3.

    Deviations
    ----------
    1. A task may stay in the first group where that is best; the paper's sentence does not exclude it.
    2. The order is open in the paper: see `order`.
    """

    def _start(self, n_groups: int, n_tasks: int) -> Groups:
        return (frozenset(range(n_tasks)), *(frozenset[int](),) * (n_groups - 1))

    def _moves(self, groups: Groups, task: int) -> list[Groups]:
        return self._placed((groups[0] - {task}, *groups[1:]), task)
