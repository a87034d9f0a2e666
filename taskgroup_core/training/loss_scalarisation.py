"""Many losses made one by weights on them, with the scalarizers of TorchJD."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from taskgroup_core.errors import InputError, MissingExtra


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
        try:
            from torchjd.scalarization import UW
        except ImportError as error:
            raise MissingExtra("torchjd", "mtl") from error
        return cls(UW)

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
        try:
            from torchjd.scalarization import DWA
        except ImportError as error:
            raise MissingExtra("torchjd", "mtl") from error
        return cls(lambda _: DWA(temperature))

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
