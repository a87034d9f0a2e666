"""A problem: tasks, inputs, splits, and how to build the network that learns them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from taskgroup_core.errors import InputError
from taskgroup_core.examples import Examples, all_finite, check_examples, check_tensor
from taskgroup_core.flops import network_flops
from taskgroup_core.problems.build_check import check_build
from taskgroup_core.seeds import seeded
from taskgroup_core.tasks import Task, check_tasks, output_columns

Split = Literal["train", "val", "test"]


@dataclass(frozen=True)
class Problem:
    """Tasks with their examples, and a network for them.

    Parameters
    ----------
    name : for records and figures.
    tasks : the n tasks.
    inputs : tensor with shape (N, ...): what the network reads; floats, bytes (uint8) that it scales by itself, or
        int64 token ids.
    train, val, test : examples (rows) of the three splits; every task occurs in each.
    build : makes a freshly initialised network that maps inputs with shape (B, ...) to outputs with shape
        (B, n_outputs): one column a task, one a class for multiclass tasks, one a number for regression tasks whose
        labels are H numbers, in the order of `tasks`. Networks for a subset have all columns too; those of other
        tasks get no gradient, so the subset's network is the same function as one without them.

    Raises
    ------
    InputError : see `check_tasks` and `check_examples`; inputs that are no tensor, NaN or infinite.
    """

    name: str
    tasks: tuple[Task, ...]
    inputs: Tensor
    train: Examples
    val: Examples
    test: Examples
    build: Callable[[], nn.Module]

    def __post_init__(self) -> None:
        check_tasks(self.tasks)
        check_tensor("inputs", self.inputs)
        if self.inputs.is_floating_point() and not all_finite(self.inputs):
            raise InputError("inputs", "NaN or infinity", "Impute or remove those inputs.")
        for split in get_args(Split):
            check_examples(getattr(self, split), self.tasks, len(self.inputs), split)

    @property
    def n_tasks(self) -> int:
        """Number of tasks, n."""
        return len(self.tasks)

    @property
    def n_outputs(self) -> int:
        """Number of columns of the network's output: the sum of the tasks' `n_outputs`."""
        return sum(task.n_outputs for task in self.tasks)

    def columns(self, members: Sequence[int]) -> Tensor:
        """The output columns of some tasks (indices), in their order, int64."""
        columns = output_columns(self.tasks)
        return torch.cat([torch.arange(columns[index].start, columns[index].stop) for index in members])

    @property
    def task_names(self) -> Sequence[str]:
        """The n task names."""
        return [task.name for task in self.tasks]

    @cached_property
    def _tables(self) -> dict[Split, tuple[Tensor, Tensor]]:
        return {}

    def table(self, split: Split) -> tuple[Tensor, Tensor]:
        """A split as a table: the u inputs it uses, int64 (u,), and their labels, NaN where missing.

        Labels have the shape (u, n), or (u, n, H) where each is H numbers; `present` says which are there.
        """
        if split not in self._tables:
            examples: Examples = getattr(self, split)
            self._tables[split] = examples.table(self.n_tasks)
        return self._tables[split]

    @cached_property
    def row_flops(self) -> tuple[int, int]:
        """Operations per input row of its network: forward, and forward with backward (see `network_flops`)."""
        return network_flops(self.network(0), self.inputs[:1])

    @cached_property
    def _build_checked(self) -> bool:
        with seeded(0, "build check"):  # whose numbers are its own: networks and callers see no difference
            check_build(self.build, self.inputs, self.n_outputs)
        return True

    def network(self, seed: int) -> nn.Module:
        """A network initialised from `seed`, on the CPU: the same weights on every device.

        Raises
        ------
        InputError : at the first call, where `build` does not keep what `Problem` says of it; see `check_build`.
        """
        _ = self._build_checked
        with seeded(seed, "initialisation"):
            return self.build()
