"""Small pictures that several tests share."""

from __future__ import annotations

import torch

from taskgroup_core.examples import Examples
from taskgroup_core.models.residual import Residual
from taskgroup_core.problems.problem import Problem
from taskgroup_core.tasks import Task


def picture_problem(inputs: torch.dtype = torch.uint8, network: torch.dtype = torch.float32) -> Problem:
    """Four binary tasks on 90 pictures of 16 x 16 pixels: a dark red channel, a dark upper green half, both, a coin.

    A fifth of the labels of the third task is missing.
    """
    generator = torch.Generator().manual_seed(0)
    pictures = torch.randint(256, (90, 3, 16, 16), generator=generator, dtype=torch.uint8)
    first, second = torch.rand(2, 90, generator=generator) < 0.5
    pictures[first, 0] //= 2
    pictures[second, 1, :8] //= 2
    labels = torch.stack([first, second, first & second, torch.rand(90, generator=generator) < 0.5], dim=1).float()
    labels[::5, 2] = torch.nan

    def examples(start: int, stop: int) -> Examples:
        row, task = (~labels[start:stop].isnan()).nonzero(as_tuple=True)
        return Examples(row + start, task, labels[row + start, task])

    return Problem(
        "pictures",
        tuple(Task(name) for name in ("red", "green", "both", "coin")),
        pictures.to(inputs),
        examples(0, 45),
        examples(45, 65),
        examples(65, 90),
        lambda: Residual(4, 16, 4).to(network),
    )
