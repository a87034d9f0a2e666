"""Trial steps of dense layers, made on their outputs: a gradient over few rows has a low rank and is never formed.

With inputs X of r rows and the gradient D for the layer's outputs there, the step W - eta D^T X changes the outputs of
inputs X' by -eta (X' X^T) D. Where rows are few that costs less than D^T X and the product of X' with the new weights;
and as the weights stay the same for all tasks, the inputs of all tasks meet them in one product.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

Change = Callable[[str, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class DenseLayer:
    """A linear layer whose steps may be made on its outputs.

    Parameters
    ----------
    shape : of its outputs for one row of the network's inputs.
    fixed : whether its own inputs do not depend on a trained parameter, as a first layer's.
    n_inputs, n_outputs : numbers that a row of it takes and gives.
    parameters : their names in the network.
    """

    shape: torch.Size
    fixed: bool
    n_inputs: int
    n_outputs: int
    parameters: tuple[str, ...]

    def saved_flops(self, n_steps: int, n_rows: int, n_judged: int) -> int:
        """Operations that n steps cost less than with their gradients formed; negative where they cost more.

        Parameters
        ----------
        n_steps : trial steps, each from a gradient of its own.
        n_rows : rows of the network's inputs that a gradient is taken on.
        n_judged : rows of the network's inputs that the outputs after a step are wanted for.
        """
        size, places = self.n_inputs * self.n_outputs, self.shape[:-1].numel()
        rows, judged = n_rows * places, n_judged * places
        formed = n_steps * (rows + judged) * size
        unmoved = (1 if self.fixed else n_steps) * judged * size
        return 2 * (formed - unmoved - n_steps * rows * judged * (self.n_inputs + self.n_outputs))


def dense_layers(network: nn.Module, names: Sequence[str], inputs: Tensor) -> dict[str, DenseLayer]:
    """The linear layers of `network` whose steps may be made on their outputs, by name.

    They are called once in a forward pass, with the rows of the network's inputs first, all their parameters are in
    `names`, and nothing else uses those.

    Parameters
    ----------
    network : in evaluation mode.
    names : parameters that a step moves.
    inputs : rows to look at the layers with, with shape (B, ...): the first two, then the first three.
    """
    linear = {
        name: [f"{name}.{own}" for own, _ in module.named_parameters()]
        for name, module in network.named_modules()
        if type(module) is nn.Linear
    }
    seen: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name, own in linear.items() if set(own) <= set(names)}

    def look(name: str, given: Tensor, output: Tensor) -> Tensor:
        seen[name].append((given, output))
        return output.clone()  # which may then be changed in place

    with torch.enable_grad(), changed_outputs(network, seen, look):
        network(inputs[:2])
        outputs = network(inputs[:3])
    once = {name: calls[-1] for name, calls in seen.items() if [len(output) for _, output in calls] == [2, 3]}
    if not once:
        return {}
    wanted = [network.get_parameter(f"{name}.weight") for name in once] + [output for _, output in once.values()]
    slopes = torch.autograd.grad(outputs.square().sum(), wanted, allow_unused=True, materialize_grads=True)
    found = {}
    for (name, (given, output)), whole, here in zip(once.items(), slopes, slopes[len(once) :], strict=False):
        # Used by anything else, the weights have a gradient that does not come from the outputs here.
        own, scale = here.flatten(0, -2).T @ given.detach().flatten(0, -2), float(whole.abs().max())
        if scale > 0 and torch.allclose(own, whole, rtol=1e-3, atol=1e-5 * scale):
            n_outputs, n_inputs = whole.shape
            parameters = tuple(linear[name])
            found[name] = DenseLayer(output.shape[1:], not given.requires_grad, n_inputs, n_outputs, parameters)
    return found


@contextmanager
def changed_outputs(network: nn.Module, names: Iterable[str], change: Change) -> Iterator[None]:
    """Within, the outputs of the named modules are change(name, inputs, outputs), before hooks that they have."""
    with ExitStack() as hooks:
        for name in names:

            def hook(_module: nn.Module, given: tuple[Any, ...], output: Tensor, name: str = name) -> Tensor:
                return change(name, given[0], output)

            hooks.callback(network.get_submodule(name).register_forward_hook(hook, prepend=True).remove)
        yield
