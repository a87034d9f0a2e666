"""Layers that a stack of networks computes in another way than torch's vmap would."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn.functional import prelu

from taskgroup_core.errors import InputError

_IN_CACHE = 2**18  # numbers


class MaskSource:
    """Where the dropout masks of a stack come from: each network draws its own, as it would if trained alone.

    On a GPU, where so many small draws would cost more than the training, the first generator draws for all.

    Attributes
    ----------
    generators : one for each of the networks that are computed next, on their device.
    lengths : rows that count in the batch of each; no mask is drawn for rows that only fill it up. Where they differ,
        every dropout layer must read a tensor whose first axis is the rows, or several entries a row, side by side
        (see `rows_mix`).
    """

    generators: Sequence[torch.Generator] = ()
    lengths: Sequence[int] = ()


class _Masks(Function):
    """Dropout masks, 0 or 1 / (1 - p), in the shape of what they are for."""

    @staticmethod
    def forward(values: Tensor, p: float, source: MaskSource) -> Tensor:
        raise NotImplementedError("a dropout layer reads a tensor that does not depend on the network")

    @staticmethod
    def setup_context(ctx: Any, _inputs: Any, output: Any) -> None:
        ctx.mark_non_differentiable(output)

    @staticmethod
    def vmap(_info: Any, in_dims: Any, values: Tensor, p: float, source: MaskSource) -> tuple[Tensor, int]:
        values, lengths = values.movedim(in_dims[0], 0), source.lengths
        if values.is_cuda:
            return torch.empty_like(values).bernoulli_(1 - p, generator=source.generators[0]).div_(1 - p), 0
        filled = min(lengths) < max(lengths)
        # A row may have several entries, side by side.
        each, rest = divmod(values.shape[1] if values.ndim > 1 else 0, max(lengths))
        if filled and (rest or not each):
            found = f"a dropout layer that reads {values.shape[1:2]} entries of a batch of {max(lengths)}"
            raise InputError("problem", found, "Train one network at a time: use a budget of 1.")
        masks = torch.zeros_like(values)
        for mask, value, generator, length in zip(masks, values, source.generators, lengths, strict=True):
            # In a tensor laid out as the network's own would be: torch draws in the order of the memory.
            part = slice(length * each if filled else None)
            mask[part] = torch.empty_like(value[part]).bernoulli_(1 - p, generator=generator)
        return masks.div_(1 - p), 0


class _StackedDropout(nn.Dropout):
    source: MaskSource

    def forward(self, values: Tensor) -> Tensor:
        return values * _Masks.apply(values, self.p, self.source) if self.training else values


class _Rectified(Function):
    """Rectifiers of B networks, each with a slope of its own: values (B, ...), slopes (B, 1)."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, slopes: Tensor) -> Tensor:
        ctx.save_for_backward(values, slopes)
        # To torch they are channels of one input.
        return prelu(values.view(1, len(values), -1), slopes.flatten()).view_as(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        values, slopes = ctx.saved_tensors
        values, gradient = values.flatten(1), gradients[0].flatten(1)
        of_values, of_slopes = torch.empty_like(values), torch.empty_like(slopes)
        # As many networks at a time as keep what they need in a core's cache.
        size = len(values) if values.is_cuda else max(1, _IN_CACHE // values.shape[1])
        for value, slope, one, of_value, of_slope in zip(
            *(tensor.split(size) for tensor in (values, slopes, gradient, of_values, of_slopes)), strict=True
        ):
            torch.lerp(torch.ops.aten.threshold_backward(one, value, 0), one, slope, out=of_value)
            torch.sum(value.clamp_max(0).mul_(one), dim=1, keepdim=True, out=of_slope)
        return of_values.view_as(gradients[0]), of_slopes


class _RectifiedUnderVmap(Function):
    @staticmethod
    def forward(values: Tensor, slope: Tensor) -> Tensor:
        raise NotImplementedError("only meant for vmap")

    @staticmethod
    def setup_context(ctx: Any, _inputs: Any, output: Any) -> None: ...

    @staticmethod
    def vmap(info: Any, in_dims: Any, values: Tensor, slopes: Tensor) -> tuple[Tensor, int]:
        # Without an axis where the tensor is the same for every network.
        values = values.expand(info.batch_size, *values.shape) if in_dims[0] is None else values.movedim(in_dims[0], 0)
        return _Rectified.apply(values.contiguous(), slopes.movedim(in_dims[1], 0)), 0


class _StackedPReLU(nn.PReLU):
    """One slope a network. Torch's own backward pass takes ten times as long, as it is not vectorised."""

    def forward(self, values: Tensor) -> Tensor:
        outputs: Tensor = _RectifiedUnderVmap.apply(values, self.weight)
        return outputs


def use_stacked_layers(network: nn.Module, source: MaskSource) -> None:
    """Make the layers of `network` ready to be called under vmap, in place; names and parameters stay.

    Parameters
    ----------
    network : a copy that serves for calling only.
    source : the dropout masks; it must be filled in before every call in training mode.
    """
    for layer in network.modules():
        if type(layer) is nn.Dropout and 0 < layer.p < 1:
            layer.__class__ = _StackedDropout
            layer.source = source  # type: ignore[assignment]
        elif type(layer) is nn.PReLU and layer.num_parameters == 1:
            layer.__class__ = _StackedPReLU
