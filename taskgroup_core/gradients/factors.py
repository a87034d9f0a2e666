"""Per-example gradients left in factors where a weight is used by linear layers only, formed elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap
from torch.nn.functional import linear
from torch.overrides import TorchFunctionMode

from taskgroup_core.gradients.flat import FlatNetwork


@dataclass(frozen=True)
class Formed:
    """Gradients of the parameters theta[span], with shape (E, size of span)."""

    span: slice
    gradients: Tensor

    @property
    def some(self) -> Tensor:
        """A tensor with E rows and the device and dtype of the gradients."""
        return self.gradients

    def form(self) -> Tensor:
        """The gradients."""
        return self.gradients


@dataclass(frozen=True)
class OuterProducts:
    """Gradients of the weight theta[span] with shape (out, in), the sum over t of the products signal_t activation_t'.

    Parameters
    ----------
    span : where the weight lies in theta.
    signals : derivatives of the output with respect to what the layer puts out, with shape (E, T, out).
    activations : what the layer takes in, with shape (E, T, in); T counts the positions of the layer's calls.
    """

    span: slice
    signals: Tensor
    activations: Tensor

    @property
    def some(self) -> Tensor:
        """A tensor with E rows and the device and dtype of the gradients."""
        return self.signals

    def form(self) -> Tensor:
        """The gradients, with shape (E, out x in)."""
        return (self.signals.mT @ self.activations).flatten(1)


Part = Formed | OuterProducts


@dataclass
class _LinearLayers(TorchFunctionMode):
    """Within it, linear layers see constant weights, remember their inputs and add shifts to their outputs.

    It works on the function that linear layers call, not on modules, so that a weight used by two of them, or under
    another name, is found as well.
    """

    weights: Mapping[str, Tensor]
    shifts: Mapping[str, Sequence[Tensor]] = field(default_factory=dict)
    inputs: dict[str, list[Tensor]] = field(default_factory=dict)
    outputs: dict[str, list[Tensor]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = None
        if func is linear and len(args) >= 2:
            name = next((name for name, weight in self.weights.items() if weight is args[1]), None)
        if name is None:
            return func(*args, **kwargs)
        seen = self.inputs.setdefault(name, [])
        output = func(args[0], args[1].detach(), *args[2:], **kwargs)
        if name in self.shifts:
            output = output + self.shifts[name][len(seen)]
        seen.append(args[0])
        self.outputs.setdefault(name, []).append(output)
        return output


class FactoredGradients:
    """The gradients of single outputs, weight by weight and without forming those of linear layers.

    Parameters
    ----------
    flat : any network; nothing is assumed about its modules.
    example : one input, with shape (1, ...): a forward and a backward pass on it show which weights are used by linear
        layers only. All others, those with a second use included, are differentiated in the ordinary way.
    """

    def __init__(self, flat: FlatNetwork, example: Tensor) -> None:
        self.flat = flat
        named = dict(flat.network.named_parameters())
        parameters = {name: named[name].detach().requires_grad_() for name in flat.shapes}
        matrices = {name: value for name, value in parameters.items() if value.ndim == 2}
        with torch.enable_grad(), _LinearLayers(matrices) as layers:
            outputs: Tensor = functional_call(flat.network, parameters, (example,))
        self._width = outputs.shape[1]
        # With constant weights in the linear layers, a derivative that remains comes from another use.
        called = {name: parameters[name] for name in layers.outputs}
        others: Sequence[Tensor | None] = [None] * len(called)
        if called and outputs.requires_grad:
            others = torch.autograd.grad(outputs.sum(), list(called.values()), allow_unused=True)
        factored = [name for name, other in zip(called, others, strict=True) if other is None]
        self._shifts = {name: [torch.zeros_like(one.detach()) for one in layers.outputs[name]] for name in factored}
        self._constant = {name: parameters[name].detach() for name in factored}
        self._free = {name: value.detach() for name, value in parameters.items() if name not in factored}

    @property
    def numbers(self) -> int:
        """Numbers held for an example when sums of outer products are formed and single ones are not."""
        count = sum(value.numel() for value in self._free.values())
        for name, weight in self._constant.items():
            positions = sum(one.numel() for one in self._shifts[name]) // weight.shape[0]
            factors = positions * sum(weight.shape)
            count += factors if positions == 1 else max(weight.numel(), factors)
        return count

    def __call__(self, inputs: Tensor, output_index: Tensor) -> list[Part]:
        """Gradients of output `output_index[e]` for input e, in the order of theta.

        Parameters
        ----------
        inputs : with shape (E, ...).
        output_index : column of the network's output, int64 with shape (E,).
        """

        def output(shifts: Any, free: Any, row: Tensor, which: Tensor) -> tuple[Tensor, dict[str, list[Tensor]]]:
            with _LinearLayers(self._constant, shifts) as layers:
                outputs: Tensor = functional_call(self.flat.network, {**self._constant, **free}, (row.unsqueeze(0),))
            # A product with a one-hot vector, because vmap cannot index with a batched number cheaply.
            return (outputs[0] * (torch.arange(self._width, device=row.device) == which)).sum(), layers.inputs

        derivative = vmap(grad(output, argnums=(0, 1), has_aux=True), in_dims=(None, None, 0, 0))
        (signals, free), activations = derivative(self._shifts, self._free, inputs, output_index)

        def positions(calls: Sequence[Tensor], size: int) -> Tensor:
            return torch.cat([one.reshape(len(inputs), -1, size) for one in calls], dim=1)

        parts: list[Part] = []
        for name, span in self.flat.spans.items():
            if name in free:
                parts.append(Formed(span, free[name].flatten(1)))
            else:
                n_out, n_in = self.flat.shapes[name]
                parts.append(OuterProducts(span, positions(signals[name], n_out), positions(activations[name], n_in)))
        return parts
