"""Several networks as one: their parameters carry a leading axis, and one optimiser steps them all."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor, nn
from torch.func import stack_module_state
from torch.nn.utils.rnn import pad_sequence

from taskgroup_core.problems.problem import Problem
from taskgroup_core.scores import elementwise_loss, present
from taskgroup_core.seeds import derive, torch_generator
from taskgroup_core.training.batches import batch_sizes
from taskgroup_core.training.epochs import own_tensors
from taskgroup_core.training.recipe import Recipe, make_optimiser, make_schedule
from taskgroup_core.training.row_parts import in_parts
from taskgroup_core.training.stackable import Named, stacked_forward
from taskgroup_core.training.stacked_layers import MaskSource
from taskgroup_core.training.validation import Validation


@dataclass(frozen=True)
class StackedRun:
    """One network to train: its tasks, its seed, and the rows of the training table that have a label of them."""

    members: tuple[int, ...]
    seed: int
    rows: Tensor


class NetworkStack:
    """B networks that are trained together; one optimiser serves all, as it works on every number by itself.

    Parameters
    ----------
    problem, recipe : as of `fit`.
    runs : the tasks, seed and rows of each network, in ascending number of rows and with equally many steps an epoch.
    networks : freshly initialised, in training mode and on the device where to train.
    mix : whether rows of a batch influence each other (see `rows_mix`): then no batch is filled up.
    smallest : rows that a batch must have (see `smallest_batch`).

    Attributes
    ----------
    losses, validation_losses : of every epoch, the networks (positions in `networks`) and the loss of each.
    """

    def __init__(
        self,
        problem: Problem,
        runs: Sequence[StackedRun],
        networks: Sequence[nn.Module],
        recipe: Recipe,
        mix: bool,
        smallest: int,
    ) -> None:
        self.runs, self.networks, self.tasks, self.recipe, self.mix = runs, networks, problem.tasks, recipe, mix
        self.parameters, self.buffers = stack_module_state(list(networks))
        self.place = next(iter(self.parameters.values())).device
        self.masks = MaskSource()
        self.forward = stacked_forward(networks[0], masks=self.masks)
        used, labels = problem.table("train")
        self.inputs, self.labels = problem.inputs[used].to(self.place), labels.to(self.place)
        self.present = present(self.labels)
        self.member = torch.zeros(len(runs), problem.n_tasks, dtype=torch.bool)
        for index, run in enumerate(runs):
            self.member[index, list(run.members)] = True
        self.member = self.member.to(self.place)
        self.rows, self.smallest = [run.rows for run in runs], smallest
        self.orders = [torch_generator(run.seed, "order", *run.members) for run in runs]
        self.draws = [
            torch.Generator(self.place).manual_seed(derive(run.seed, "dropout", *run.members)) for run in runs
        ]
        trained = [parameter for parameter in self.parameters.values() if parameter.requires_grad]
        # One pass over the memory instead of a dozen, which is what bounds a stack with small batches.
        fused = all(parameter.is_floating_point() for parameter in trained)
        self.optimiser = make_optimiser(recipe, trained, fused)
        self.schedule = make_schedule(recipe, self.optimiser)
        self.going = list(range(len(runs)))  # positions in `networks` of those that have not stopped
        self.losses: list[tuple[list[int], Tensor]] = []
        self.validation_losses: list[tuple[list[int], Tensor]] = []
        self.validation, self.best = None, {}
        if recipe.validates:
            self.validation = Validation(problem, [run.members for run in runs], recipe, self.place)
            self.evaluated = stacked_forward(copy.deepcopy(networks[0]).eval())
        if recipe.keep == "best":
            self.best = {name: value.detach().clone() for name, value in self._state().items()}

    def train(self) -> None:
        """Train all networks to their ends; they are left in evaluation mode, with the weights the recipe keeps."""
        for _ in range(self.recipe.epochs):
            self.losses.append((self.going, self._epoch()))
            self.schedule.step()
            if self.validation is not None:
                self._validate(self.validation)
            if not self.going:
                break
        self._finish(torch.arange(len(self.going)))

    def _epoch(self) -> Tensor:
        """One pass of every network over its own inputs in its own order; mean losses with shape (B,)."""
        shuffled = [
            rows[torch.randperm(len(rows), generator=order)] for rows, order in zip(self.rows, self.orders, strict=True)
        ]
        table = pad_sequence(shuffled, batch_first=True, padding_value=-1).to(self.place)
        total, size = torch.tensor(0, device=self.place), self.recipe.batch_size
        sizes = torch.tensor([batch_sizes(len(rows), size, self.smallest) for rows in self.rows])
        for step, lengths in enumerate(sizes.T):
            self.optimiser.zero_grad(set_to_none=True)
            losses = self._losses(table[:, step * size :][:, : int(lengths.max())], lengths.tolist())
            losses.sum().backward()
            self.optimiser.step()
            total = total + losses.detach() * lengths.to(self.place)
        return total / sizes.sum(dim=1).to(self.place)

    def _losses(self, rows: Tensor, lengths: list[int]) -> Tensor:
        """Loss of every network on its batch; where rows mix, only batches of one length go together."""
        parts, low = [], 0
        for length, alike in groupby(lengths, key=lambda length: length if self.mix else max(lengths)):
            part = slice(low, low + len(list(alike)))
            self.masks.generators, self.masks.lengths = self.draws[part], lengths[part]
            parts.append(self._loss_of_part(part, rows[part, :length]))
            low = part.stop
        return torch.cat(parts)

    def _loss_of_part(self, part: slice, rows: Tensor) -> Tensor:
        filled = rows.clamp_min(0)  # a row of the table where there is none; its labels are not counted
        outputs, labels = self.forward(*self._part(part), self.inputs[filled]), self.labels[filled]
        there = self.present[filled] & self.member[part, None] & (rows >= 0).unsqueeze(-1)
        loss = elementwise_loss(outputs, labels.nan_to_num(), self.tasks)
        return (loss * there).sum(dim=(1, 2)) / there.sum(dim=(1, 2))

    def _part(self, part: slice) -> tuple[Named, Named]:
        own, other = ({name: value[part] for name, value in x.items()} for x in (self.parameters, self.buffers))
        return own, other

    def _state(self) -> Named:
        return self.parameters | self.buffers

    @torch.no_grad()
    def _validate(self, validation: Validation) -> None:
        """Score every network, remember those at their best, and take those out that shall stop."""
        inputs, losses = validation.inputs, []
        # As many networks at a time as keep to the rows of a training step, which the stack's memory was planned for.
        size = max(1, len(self.going) * self.recipe.batch_size // len(inputs))
        for start in range(0, len(self.going), size):
            part = slice(start, min(start + size, len(self.going)))

            def outputs(rows: Tensor, part: slice = part) -> Tensor:
                return self.evaluated(*self._part(part), rows.expand(part.stop - part.start, *rows.shape))

            losses.append(validation.losses(in_parts(outputs, inputs, dim=1), part))
        self.validation_losses.append((self.going, torch.cat(losses)))
        improved, stopped = validation.see(torch.cat(losses))
        for name, value in self.best.items():
            value[improved.to(self.place)] = self._state()[name][improved.to(self.place)]
        if stopped.any():
            self._finish(stopped.nonzero().squeeze(1))
            self._go_on_with((~stopped).nonzero().squeeze(1), validation)

    @torch.no_grad()
    def _finish(self, chosen: Tensor) -> None:
        """Write the parameters and buffers of some networks back into the modules."""
        for position in chosen.tolist():
            network = self.networks[self.going[position]].eval()
            own = own_tensors(network)
            for name, values in (self.best or self._state()).items():
                own[name].copy_(values[position])

    def _go_on_with(self, chosen: Tensor, validation: Validation) -> None:
        """Leave all other networks out of everything from here on, so that they cost no more work."""
        validation.go_on_with(chosen)
        there = chosen.to(self.place)
        for name, old in self.parameters.items():
            new = self.parameters[name] = old.detach()[there].requires_grad_(old.requires_grad)
            state = self.optimiser.state.pop(old, None)
            if state is not None:
                self.optimiser.state[new] = {
                    key: value[there] if isinstance(value, Tensor) and value.ndim else value
                    for key, value in state.items()
                }
        self.optimiser.param_groups[0]["params"] = [p for p in self.parameters.values() if p.requires_grad]
        self.buffers = {name: value[there] for name, value in self.buffers.items()}
        self.best = {name: value[there] for name, value in self.best.items()}
        self.member = self.member[there]
        for name in ("rows", "orders", "draws", "going"):
            setattr(self, name, [getattr(self, name)[position] for position in chosen.tolist()])
