"""Which parameters of a network its tasks share, and which belong to single tasks."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from taskgroup_core.errors import InputError

Shared = Callable[[str], bool]


def shared_parameters(network: nn.Module, n_outputs: int, shared: Shared | None = None) -> list[str]:
    """The names of the parameters that all tasks share, in the order of `named_parameters`.

    A tensor is shared or task-specific as a whole. Heads that are rows of one tensor need no mask: the loss of task
    i has no gradient on the row of task j, and the loss of task j reads no other row, so that moving all rows at
    once is moving one head at a time.

    Parameters
    ----------
    network : any module.
    n_outputs : number of columns of the output: one a task, or one a class.
    shared : whether the parameter of a given name (as in `named_parameters`) is shared. None: all are, except those
        of the layer that was registered last, which must then hold one row an output.

    Raises
    ------
    InputError : no parameter is shared, or None for a network whose last layer does not hold one row an output.
    """
    trainable = {name: value for name, value in network.named_parameters() if value.requires_grad}
    if shared is None:
        last = max(trainable, key=list(trainable).index, default="").rpartition(".")[0]
        heads = [name for name in trainable if name.rpartition(".")[0] == last]
        if any(trainable[name].shape[:1] != (n_outputs,) for name in heads):
            raise InputError(
                "shared",
                f"None, but the last layer, {last!r}, does not hold one row for each of {n_outputs} outputs",
                "Give a function that says by name which parameters are shared.",
            )
        names = [name for name in trainable if name not in heads]
    else:
        names = [name for name in trainable if shared(name)]
    if not names:
        raise InputError("shared", "a network with no shared parameter", "Give a network whose tasks share a layer.")
    return names
