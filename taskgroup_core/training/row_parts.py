"""Long tables of inputs in parts, so that what a network leaves behind for each row fits into memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor

NUMBERS: Final = 2**24  # of the inputs of one part; a network may leave a hundred times as many behind


def in_parts(outputs: Callable[[Tensor], Tensor], inputs: Tensor, dim: int = 0) -> Tensor:
    """`outputs(inputs)`, part by part where the inputs are many: pictures, mostly. Few stay one part.

    Parameters
    ----------
    outputs : from inputs to outputs, row by row, as a network in evaluation mode.
    inputs : with shape (B, ...).
    dim : dimension of the outputs that has the rows.
    """
    parts = inputs.split(max(1, NUMBERS * len(inputs) // max(1, inputs.numel())))
    return outputs(inputs) if len(parts) == 1 else torch.cat([outputs(part) for part in parts], dim)
