"""Several networks as one: their parameters carry a leading axis, and one optimiser steps them all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, groupby

import torch
from torch import Tensor, nn
from torch.func import stack_module_state
from torch.nn.utils.rnn import pad_sequence

from taskgroup_core.problems.problem import Problem
from taskgroup_core.scores import elementwise_loss
from taskgroup_core.seeds import torch_generator
from taskgroup_core.training.fit import Recipe
from taskgroup_core.training.stackable import stacked_forward


@dataclass(frozen=True)
class StackedRun:
    """One network to train: its tasks, its seed, and the rows of the training table that have a label of them."""

    members: tuple[int, ...]
    seed: int
    rows: Tensor


class NetworkStack:
    """B networks that are trained together; one Adam serves all, as it works on every parameter by itself.

    Parameters
    ----------
    problem, recipe : as of `fit`.
    runs : the tasks, seed and rows of each network, in ascending number of rows and with equally many steps an epoch.
    networks : freshly initialised, in training mode and on the device where to train.
    mix : whether rows of a batch influence each other (see `rows_mix`): then no batch is filled up.
    """

    def __init__(
        self, problem: Problem, runs: Sequence[StackedRun], networks: Sequence[nn.Module], recipe: Recipe, mix: bool
    ) -> None:
        self.networks, self.tasks, self.batch_size, self.mix = networks, problem.tasks, recipe.batch_size, mix
        self.parameters, self.buffers = stack_module_state(list(networks))
        self.place = next(iter(self.parameters.values())).device
        self.forward = stacked_forward(networks[0])
        used, labels = problem.table("train")
        self.inputs, self.labels = problem.inputs[used].to(self.place), labels.to(self.place)
        self.member = torch.zeros(len(runs), problem.n_tasks, dtype=torch.bool)
        for index, run in enumerate(runs):
            self.member[index, list(run.members)] = True
        self.member = self.member.to(self.place)
        self.rows = [run.rows for run in runs]
        self.sizes = torch.tensor([len(rows) for rows in self.rows])
        self.orders = [torch_generator(run.seed, "order", *run.members) for run in runs]
        trained = [parameter for parameter in self.parameters.values() if parameter.requires_grad]
        # One pass over the memory instead of a dozen, which is what bounds a stack with small batches.
        fused = all(parameter.is_floating_point() for parameter in trained)
        self.optimiser = torch.optim.Adam(trained, recipe.learning_rate, weight_decay=recipe.weight_decay, fused=fused)

    def epoch(self) -> Tensor:
        """One pass of every network over its own inputs in its own order; mean losses with shape (B,)."""
        shuffled = [
            rows[torch.randperm(len(rows), generator=order)] for rows, order in zip(self.rows, self.orders, strict=True)
        ]
        table = pad_sequence(shuffled, batch_first=True, padding_value=-1).to(self.place)
        total = torch.zeros(len(self.networks), device=self.place)
        for start in range(0, table.shape[1], self.batch_size):
            lengths = (self.sizes - start).clamp(max=self.batch_size)
            self.optimiser.zero_grad(set_to_none=True)
            losses = self._losses(table[:, start : start + self.batch_size], lengths.tolist())
            losses.sum().backward()
            self.optimiser.step()
            total += losses.detach() * lengths.to(self.place)
        return total / self.sizes.to(self.place)

    def _losses(self, rows: Tensor, lengths: list[int]) -> Tensor:
        """Loss of every network on its batch; where rows mix, only batches of one length go together."""
        parts, low = [], 0
        for length, alike in groupby(lengths, key=lambda length: length if self.mix else max(lengths)):
            part = slice(low, low + len(list(alike)))
            parts.append(self._loss_of_part(part, rows[part, :length]))
            low = part.stop
        return torch.cat(parts)

    def _loss_of_part(self, part: slice, rows: Tensor) -> Tensor:
        filled = rows.clamp_min(0)  # a row of the table where there is none; its labels are not counted
        parameters, buffers = (
            {name: value[part] for name, value in x.items()} for x in (self.parameters, self.buffers)
        )
        outputs, labels = self.forward(parameters, buffers, self.inputs[filled]), self.labels[filled]
        present = ~labels.isnan() & self.member[part, None] & (rows >= 0).unsqueeze(-1)
        loss = elementwise_loss(outputs, labels.nan_to_num(), self.tasks)
        return (loss * present).sum(dim=(1, 2)) / present.sum(dim=(1, 2))

    def unstack(self) -> None:
        """Write the trained parameters and buffers back into the networks, which go into evaluation mode."""
        with torch.no_grad():
            for index, network in enumerate(self.networks):
                own = dict(chain(network.named_parameters(), network.named_buffers()))
                for name, values in (self.parameters | self.buffers).items():
                    own[name].copy_(values[index])
                network.eval()
