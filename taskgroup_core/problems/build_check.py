"""Whether what makes a problem's networks makes a new one each time, with the outputs that the tasks need."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from taskgroup_core.errors import InputError
from taskgroup_core.seeds import seeded

ROWS = 2  # a network may need more than one row at a time


def check_build(build: Callable[[], nn.Module], inputs: Tensor, n_outputs: int) -> None:
    """Make two networks, and pass two inputs through one of them in evaluation mode.

    Parameters
    ----------
    build : see `Problem`.
    inputs : the problem's, with shape (N, ...).
    n_outputs : columns that the output must have.

    Raises
    ------
    InputError : `build` gives something else than networks, one network twice or two that train the same parameters,
        or one that cannot read the inputs or has other outputs than the tasks need.
    """
    first, second = build(), build()
    if not isinstance(first, nn.Module) or not isinstance(second, nn.Module):
        raise InputError("build", f"a function that returns {type(first).__name__}", "Return a torch.nn.Module.")
    # Parameters that are not trained may be shared, such as those of a frozen backbone.
    trained = {id(parameter) for parameter in first.parameters() if parameter.requires_grad}
    if first is second or any(id(parameter) in trained for parameter in second.parameters()):
        found = "a function that returns the same network, or the same parameters, each time"
        raise InputError("build", found, "Make a new network at each call: training would go on from the one before.")
    rows = inputs[:ROWS].to(next((parameter.device for parameter in second.parameters()), inputs.device))
    try:
        with torch.no_grad():
            outputs = second.eval()(rows)
    except Exception as error:
        found = f"a network that cannot read inputs of shape {tuple(rows.shape)} and {rows.dtype}"
        remedy = "Build one that reads these inputs, or change them."
        raise InputError("build", f"{found} ({type(error).__name__}: {error})", remedy) from error
    wanted = (len(rows), n_outputs)
    if not isinstance(outputs, Tensor) or outputs.shape != wanted:
        shape = f"shape {tuple(outputs.shape)}" if isinstance(outputs, Tensor) else type(outputs).__name__
        found = f"a network with outputs of {shape} for {len(rows)} inputs"
        raise InputError("build", found, f"Return {wanted}: see `Problem.columns` for the columns of each task.")


def tried(build: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    """`build` as it is, after one call: options that a network does not take are found where they are given.

    Raises
    ------
    InputError : an option that the network does not have or cannot take.
    """
    try:
        with seeded(0, "build check"):
            build()
    except InputError:
        raise
    except (TypeError, ValueError) as error:
        raise InputError("options", str(error), "Use the options that the network has.") from error
    return build
