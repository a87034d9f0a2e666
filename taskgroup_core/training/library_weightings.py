"""Weightings by TorchJD: weights on the losses, and the tasks' gradients combined into one."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from taskgroup_core.errors import InputError, MissingExtra
from taskgroup_core.training.shared_parameters import Shared, shared_parameters


def _library(part: str) -> ModuleType:
    try:
        return importlib.import_module(f"torchjd.{part}")
    except ImportError as error:
        raise MissingExtra("torchjd", "mtl") from error


class LossScalarisation:
    """One loss out of many, by a scalarizer of TorchJD.

    Parameters
    ----------
    make : from the number of tasks to a `torchjd.scalarization.Scalarizer`. Its parameters are trained with the
        network; its `step`, if it has one, is called at the end of every epoch.
    """

    def __init__(self, make: Callable[[int], nn.Module]) -> None:
        self.make = make

    @classmethod
    def uncertainty_weights(cls) -> LossScalarisation:
        """sum_i exp(-s_i) L_i / 2 + s_i / 2 with a log-variance s_i for each task, learned from 0.

        References
        ----------
        Kendall, Gal and Cipolla, Multi-task learning using uncertainty to weigh losses, CVPR 2018.

        Raises
        ------
        MissingExtra : torchjd is not installed.
        """
        return cls(_library("scalarization").UW)

    @classmethod
    def dynamic_weight_average(cls, temperature: float = 2.0) -> LossScalarisation:
        """Weights n softmax(r / temperature), r_i the ratio of a task's mean losses of the last two epochs.

        References
        ----------
        Liu, Johns and Davison, End-to-end multi-task learning with attention, CVPR 2019.

        Raises
        ------
        InputError : a temperature that is not positive.
        MissingExtra : torchjd is not installed.
        """
        if not temperature > 0:
            raise InputError("temperature", str(temperature), "Use a positive number.")
        kind = _library("scalarization").DWA
        return cls(lambda _: kind(temperature))

    def start(self, network: nn.Module, _n_outputs: int, n_tasks: int, /) -> Sequence[nn.Parameter]:
        """See `Weighting`."""
        some = next(network.parameters())
        self._scalarizer = self.make(n_tasks).to(some.device, some.dtype)
        self._epoch = 0
        return list(self._scalarizer.parameters())

    def backward(self, losses: Tensor, epoch: int, /) -> None:
        """See `Weighting`."""
        if epoch > self._epoch:
            self._epoch = epoch
            getattr(self._scalarizer, "step", lambda: None)()
        self._scalarizer(losses).backward()


class GradientAggregation:
    """The tasks' gradients of the shared parameters combined by an aggregator of TorchJD; heads follow their own task.

    Parameters
    ----------
    make : from the number of tasks to a `torchjd.aggregation.Aggregator`.
    shared : which parameters are shared, see `shared_parameters`.
    """

    def __init__(self, make: Callable[[int], Any], shared: Shared | None = None) -> None:
        self.make, self.shared = make, shared

    @classmethod
    def pcgrad(cls, shared: Shared | None = None) -> GradientAggregation:
        """The sum of the gradients, each without its components against others, in an order that is drawn.

        References
        ----------
        Yu et al., Gradient surgery for multi-task learning, NeurIPS 2020, Algorithm 1.

        Raises
        ------
        MissingExtra : torchjd is not installed.
        """
        kind = _library("aggregation").PCGrad
        return cls(lambda _: kind(), shared)

    @classmethod
    def nash_mtl(
        cls, max_norm: float = 1.0, every: int = 1, iterations: int = 20, shared: Shared | None = None
    ) -> GradientAggregation:
        """G' alpha where G G' alpha = 1 / alpha: the bargaining solution of Nash.

        Parameters
        ----------
        max_norm : of the combined gradient; 0 for no limit.
        every : steps for which the weights alpha are kept.
        iterations : of the concave-convex procedure that finds them.
        shared : see the class.

        References
        ----------
        Navon et al., Multi-task learning as a bargaining game, ICML 2022, Algorithm 1.

        Raises
        ------
        InputError : a bad number.
        MissingExtra : torchjd is not installed.
        """
        for name, value, least in (("max_norm", max_norm, 0), ("every", every, 1), ("iterations", iterations, 1)):
            if not value >= least:
                raise InputError(name, str(value), f"Use {least} or more.")
        kind = _library("aggregation").NashMTL
        return cls(lambda n_tasks: kind(n_tasks, max_norm, every, iterations), shared)

    def start(self, network: nn.Module, n_outputs: int, n_tasks: int, /) -> Sequence[nn.Parameter]:
        """See `Weighting`."""
        names = set(shared_parameters(network, n_outputs, self.shared))
        trained = {name: value for name, value in network.named_parameters() if value.requires_grad}
        self._together = [value for name, value in trained.items() if name in names]
        self._heads = [value for name, value in trained.items() if name not in names]
        self._aggregator = self.make(n_tasks)
        return ()

    def backward(self, losses: Tensor, _epoch: int, /) -> None:
        """See `Weighting`."""
        parameters = [*self._together, *self._heads]
        rows, last = [], len(losses) - 1
        for index, loss in enumerate(losses):
            gradients = torch.autograd.grad(loss, parameters, retain_graph=index < last, materialize_grads=True)
            rows.append(torch.cat([gradient.flatten() for gradient in gradients]))
        jacobian = torch.stack(rows)
        n_shared = sum(value.numel() for value in self._together)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "You are solving a parameterized problem", UserWarning)  # Nash-MTL's
            shared = self._aggregator(jacobian[:, :n_shared])
        combined = torch.cat([shared, jacobian[:, n_shared:].sum(dim=0)])
        sizes = [value.numel() for value in parameters]
        for value, part in zip(parameters, combined.split(sizes), strict=True):
            value.grad = part.view_as(value)
