"""Whether several networks can be trained as one stack, and the function that runs them as one."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from taskgroup_core.seeds import seeded, torch_generator
from taskgroup_core.training.network_probes import agree, draws_elsewhere, flattened
from taskgroup_core.training.stacked_layers import MaskSource, use_stacked_layers

Named = dict[str, Tensor]
Forward = Callable[[Named, Named, Tensor], Tensor]
Trace = dict[str, Tensor]


class NotStackedWarning(UserWarning):
    """Networks are trained one at a time, because a stack of them would fail or give other results."""


def stacked_forward(network: nn.Module, randomness: str = "different", masks: MaskSource | None = None) -> Forward:
    """The function (parameters, buffers, inputs) -> outputs of B networks built like `network`, all led by an axis B.

    Parameters
    ----------
    network : any of them, in the mode that is wanted.
    randomness : "different" random numbers for every network, or the "same" for all.
    masks : where dropout layers take their masks from, with other layers that are faster in a stack; None for torch's
        own layers.
    """
    # A copy, because functional_call does not put back the tensors of a module that occurs twice in a network.
    skeleton = copy.deepcopy(network)
    if masks is not None:
        use_stacked_layers(skeleton, masks)

    def one(parameters: Named, buffers: Named, inputs: Tensor) -> Tensor:
        outputs: Tensor = functional_call(skeleton, (parameters, buffers), (inputs,))
        return outputs

    forward: Forward = vmap(one, randomness=randomness)
    return forward


def _trace(outputs: Tensor, parameters: Iterable[Tensor], buffers: Iterable[Tensor], n_networks: int = 1) -> Trace:
    """What a pass did: outputs, gradients of a weighted sum of them, and buffers, each with shape (B, numbers)."""
    weights = torch.linspace(-1, 1, outputs.numel() // n_networks, dtype=outputs.dtype)
    total = (outputs.reshape(n_networks, -1) * weights).sum()
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    gradients = torch.autograd.grad(total, trained, allow_unused=True)
    found = {"outputs": (outputs,), "gradients": gradients, "buffers": buffers}
    return {name: flattened(tensors, n_networks) for name, tensors in found.items()}


def why_not_stackable(networks: Sequence[nn.Module], inputs: Tensor, evaluation: bool = False) -> str | None:
    """Why these networks cannot be trained as one stack, in words; None where they can.

    Stacked and alone, each makes one pass in training mode: outputs, gradients and buffers must be the same, under
    the same dropout masks. That also finds what a stack would silently share or lose, such as plain attributes that
    differ from network to network, or a buffer that is assigned instead of changed in place.

    Parameters
    ----------
    networks : at least two from different seeds, on the CPU; left unchanged.
    inputs : a few inputs, with shape (rows, ...).
    evaluation : whether a pass in evaluation mode must be the same too.
    """
    draws = draws_elsewhere(networks[0], inputs)
    # Of two streams of numbers in a stack, and of one alone, only torch's own layers can be compared.
    reason = _why_not_in_mode(networks, inputs, True, MaskSource(), compare=not draws)
    if reason is None and draws:
        reason = _why_not_in_mode(networks, inputs, True)
    if reason is None and evaluation:
        reason = _why_not_in_mode(networks, inputs, False)
    return reason


def _why_not_in_mode(
    networks: Sequence[nn.Module],
    inputs: Tensor,
    training: bool,
    masks: MaskSource | None = None,
    compare: bool = True,
) -> str | None:
    copies = [copy.deepcopy(network).train(training) for network in networks]
    if masks is not None:
        masks.generators, masks.lengths = [torch_generator(0, "probe") for _ in copies], [len(inputs)] * len(copies)
    try:
        parameters, buffers = stack_module_state(copies)
        with seeded(0, "probe"):
            forward = stacked_forward(copies[0], "same", masks)
            outputs = forward(parameters, buffers, inputs.expand(len(copies), *inputs.shape))
        together = _trace(outputs, parameters.values(), buffers.values(), len(copies))
    except Exception as error:  # whatever a user's module raises under vmap is a reason not to stack it
        said = str(error).strip().split("\n")[0].rstrip(".")  # without a full stop, as it ends up within a sentence
        return said or type(error).__name__
    if not compare:
        return None
    alone = []
    for network in copies:
        with seeded(0, "probe"):
            outputs = network(inputs)
        alone.append(_trace(outputs, network.parameters(), network.buffers()))
    for name, stacked in together.items():
        if not agree(torch.cat([trace[name] for trace in alone]), stacked, outputs.dtype):
            return f"its {name} differ between a stack and a network alone"
    return None
