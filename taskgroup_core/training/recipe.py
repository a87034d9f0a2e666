"""How a network is trained: optimiser, schedule of the learning rate, and which epoch's weights are kept."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from taskgroup_core.errors import InputError

Optimiser = Literal["adam", "adamw", "sgd"]
Schedule = Literal["constant", "cosine", "step"]
Keep = Literal["last", "best"]


@dataclass(frozen=True)
class Recipe:
    """How a network is trained on the mean loss over all labels of a batch.

    Parameters
    ----------
    epochs : passes over the inputs that carry a label of the subset, at most.
    batch_size : inputs a step; each brings the labels it has.
    learning_rate : of the first epoch.
    weight_decay : added to the gradient (Adam, SGD) or taken off the weights (AdamW), as torch does.
    optimiser : "adam", "adamw" or "sgd".
    momentum : of SGD, in [0, 1).
    schedule : the learning rate of an epoch: "constant"; "cosine", half a wave from `learning_rate` at the first
        epoch down to where 0 would follow the last; or "step", `learning_rate` times `decay_factor` for every
        `decay_every` epochs that are over. It changes between epochs only.
    decay_every, decay_factor : of the schedule "step".
    keep : the weights (with running statistics) of the "last" epoch, or of the "best": the one with the lowest
        validation loss, mean over the subset's tasks of each task's mean. The first of equals counts.
    patience : stop after so many epochs in a row without a new lowest validation loss; None trains all epochs.

    Raises
    ------
    InputError : a value out of range, or a momentum for an optimiser that has none.

    References
    ----------
    Defaults: the values of GRAD-TAG's released code, as the paper gives none for graphs. TAG, B.6 (and Principled
    task grouping after it): the rate is halved every 15 epochs, the best epoch's weights are kept, patience 10.
    SCA's tables: SGD with momentum 0.9 or 0.1.
    """

    epochs: int = 100
    batch_size: int = 1000
    learning_rate: float = 0.01
    weight_decay: float = 0.0
    optimiser: Optimiser = "adam"
    momentum: float = 0.0
    schedule: Schedule = "constant"
    decay_every: int = 15
    decay_factor: float = 0.5
    keep: Keep = "last"
    patience: int | None = None

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "decay_every", *(["patience"] if self.patience is not None else [])):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InputError(name, repr(value), "Use a whole number, 1 or more.")
        for name in ("learning_rate", "decay_factor"):
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(name, str(getattr(self, name)), "Use a positive number.")
        if not 0 <= self.weight_decay < math.inf:
            raise InputError("weight_decay", str(self.weight_decay), "Use 0 or a positive number.")
        for name, choices in {"optimiser": Optimiser, "schedule": Schedule, "keep": Keep}.items():
            if getattr(self, name) not in get_args(choices):
                raise InputError(name, repr(getattr(self, name)), f"Use one of {', '.join(get_args(choices))}.")
        if not 0 <= self.momentum < 1:
            raise InputError("momentum", str(self.momentum), "Use a number from 0 to below 1.")
        if self.momentum and self.optimiser != "sgd":
            raise InputError("momentum", f"{self.momentum} for {self.optimiser}", 'Leave it at 0, or use "sgd".')

    @property
    def validates(self) -> bool:
        """Whether every epoch ends with a pass over the validation inputs."""
        return self.keep == "best" or self.patience is not None

    def rate_factor(self, epoch: int) -> float:
        """What the learning rate is multiplied by in an epoch, counted from 0."""
        if self.schedule == "cosine":
            return (1 + math.cos(math.pi * epoch / self.epochs)) / 2
        if self.schedule == "step":
            return self.decay_factor ** (epoch // self.decay_every)
        return 1.0


def make_optimiser(recipe: Recipe, parameters: Iterable[Tensor], fused: bool = False) -> torch.optim.Optimizer:
    """The optimiser of a recipe, at the learning rate of the first epoch.

    Parameters
    ----------
    recipe : its `optimiser`, `learning_rate`, `weight_decay` and `momentum` are used.
    parameters : what is trained.
    fused : one kernel a step for floating-point parameters; the same numbers but for rounding.
    """
    rate, decay = recipe.learning_rate, recipe.weight_decay
    if recipe.optimiser == "sgd":
        return torch.optim.SGD(parameters, rate, momentum=recipe.momentum, weight_decay=decay, fused=fused)
    kind = torch.optim.Adam if recipe.optimiser == "adam" else torch.optim.AdamW
    return kind(parameters, rate, weight_decay=decay, fused=fused)


def make_schedule(recipe: Recipe, optimiser: torch.optim.Optimizer) -> LambdaLR:
    """The schedule of a recipe: call its `step` at the end of every epoch."""
    return LambdaLR(optimiser, recipe.rate_factor)
