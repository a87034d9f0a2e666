"""SCA: how far apart two tasks' optima for a single sample are, without any training."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor, nn

from taskgroup_core.affinity.collected import check_choice
from taskgroup_core.affinity.sample_gradients import l1_distances, sample_gradients
from taskgroup_core.device import resolve_device
from taskgroup_core.errors import InputError
from taskgroup_core.matrices import make_affinity
from taskgroup_core.problems.problem import Problem
from taskgroup_core.scores import present
from taskgroup_core.seeds import numpy_generator
from taskgroup_core.training.shared_parameters import Shared, shared_parameters

_FLOATS_AT_ONCE = 2**24  # 64 MiB in float32: larger blocks take longer to allocate than to compute


class SampleConvergenceAffinity:
    """T[i, j] = 1 - a_ij / max_j a_ij, with a_ij the mean L1 distance of the tasks' optima for one sample.

    The optimum of task t for sample x is theta_0 - eta grad l_t(x): one gradient step of the shared parameters.

    Parameters
    ----------
    samples : N, the number of samples; the paper takes 100.
    seed : decides the initialisation and the samples.
    device : where to compute.
    learning_rate : eta. It scales the distances and cancels in the affinity.
    inputs : "same" compares the tasks on one training input with labels for both, Eq. (16); "own" draws for every
        task an input of its own, the variant for meta-learning.
    per_tensor : divide the distances by the number of tensors, the variant for large networks.
    equal_heads : start all heads from the first one's weights, so that tasks differ by their labels only. Needs
        tasks with equally many outputs and heads that are rows of the last layer (`shared` None).
    shared : which parameters are shared, see `shared_parameters`.

    Attributes
    ----------
    flops : operations spent so far.
    distances_ : a_ij of Eq. (16), dims ("target", "source"), symmetric, zero on the diagonal.
    tensor_distances_ : the same for each shared tensor, dims ("tensor", "target", "source").

    Raises
    ------
    InputError : a bad argument (when `affinity` is called), fewer than N samples, two tasks without a common input
        among the samples, a network with no shared parameter, or equal heads for tasks of different sizes.

    References
    ----------
    Thakur et al., Efficient Task Grouping Through Sample-wise Optimisation Landscape Analysis, 2024, Eq. (1), (16)
    and (17); supplement, Eq. (1) and (2).

    Deviations
    ----------
    1. Eq. (1) has no step size; the supplement's variant for large networks only divides by the number of tensors.
       Both cancel in Eq. (17), so that neither changes the affinity.
    2. A row of zero distances (up to rounding), tasks that pull alike on every sample, has affinity 1 where Eq. (17)
       divides by zero.
    3. The gradients are taken in evaluation mode: no dropout, and batch norm with its running statistics.
    4. Pairs are averaged over the samples labelled for both: the paper's samples have all labels.
    5. In each row of Eq. (17) the farthest task has affinity 0, however near it is: rows are not comparable, and the
       matrix is not symmetric. The diagonal is 1: a task is compared with itself on the same sample.
    """

    distances_: xr.DataArray
    tensor_distances_: xr.DataArray

    def __init__(
        self,
        samples: int = 100,
        seed: int = 0,
        device: str | torch.device = "auto",
        *,
        learning_rate: float = 0.01,
        inputs: Literal["same", "own"] = "same",
        per_tensor: bool = False,
        equal_heads: bool = False,
        shared: Shared | None = None,
    ) -> None:
        self.samples, self.seed, self.device = samples, seed, device
        self.learning_rate, self.inputs = learning_rate, inputs
        self.per_tensor, self.equal_heads, self.shared = per_tensor, equal_heads, shared
        self.flops = 0

    def affinity(self, problem: Problem, network: nn.Module | None = None) -> xr.DataArray:
        """T[target, source] at the initial network, or at `network`, which is left unchanged; sets the distances.

        Raises
        ------
        InputError : see the class.
        """
        check_choice("inputs", self.inputs, ("same", "own"))
        if not (self.learning_rate > 0 and math.isfinite(self.learning_rate)):
            raise InputError("learning_rate", repr(self.learning_rate), "Use a positive number.")
        if isinstance(self.samples, bool) or not isinstance(self.samples, int) or self.samples < 1:
            raise InputError("samples", repr(self.samples), "Use a whole number, 1 or more.")
        start = problem.network(self.seed)
        if network is not None:
            start.load_state_dict(network.state_dict())
        start = start.to(resolve_device(self.device)).eval()
        names = shared_parameters(start, problem.n_outputs, self.shared)
        if self.equal_heads:
            self._equalise(problem, start, names)
        distances = self._distances(problem, start, names)
        tasks = list(problem.task_names)
        self.tensor_distances_ = xr.DataArray(
            distances, dims=("tensor", "target", "source"), coords={"tensor": names, "target": tasks, "source": tasks}
        )
        total = distances.mean(axis=0) if self.per_tensor else distances.sum(axis=0)
        attributes = {"seed": self.seed, "samples": self.samples, "inputs": self.inputs}
        self.distances_ = make_affinity(total, tasks, method="SCA distance", **attributes)
        farthest = total.max(axis=1, keepdims=True)
        values = 1 - np.divide(total, farthest, out=np.zeros_like(total), where=farthest > 0)
        return make_affinity(values, tasks, method="SCA", equal_heads=int(self.equal_heads), **attributes)

    def _equalise(self, problem: Problem, network: nn.Module, names: list[str]) -> None:
        if self.shared is not None:
            raise InputError("equal_heads", "True with `shared`", "Leave `shared` at None: heads are rows of a layer.")
        width = problem.tasks[0].n_outputs
        if any(task.n_outputs != width for task in problem.tasks):
            found = f"True, with tasks of {sorted({task.n_outputs for task in problem.tasks})} outputs"
            raise InputError("equal_heads", found, "Leave it False: heads of different sizes cannot be equal.")
        with torch.no_grad():
            for name, value in network.named_parameters():
                if name not in names and value.requires_grad:
                    value.copy_(value[:width].repeat(problem.n_tasks, *[1] * (value.ndim - 1)))

    def _distances(self, problem: Problem, network: nn.Module, names: list[str]) -> NDArray[np.float64]:
        """Distances with shape (tensors, n, n), in units of the parameters."""
        place, n_tasks = resolve_device(self.device), problem.n_tasks
        forward, both = problem.row_flops
        total = torch.zeros(len(names), n_tasks, n_tasks, dtype=torch.float64)
        count = torch.zeros(n_tasks, n_tasks, dtype=torch.float64)
        rows, labels = self._drawn(problem)
        numbers = present(labels).sum(dim=1)
        n_parameters = sum(network.get_parameter(name).numel() for name in names)
        batch = max(1, _FLOATS_AT_ONCE // (n_tasks * n_parameters))
        # Samples with equally many labels go together: no gradient is computed that no label asks for.
        for some in numbers.argsort(stable=True).split(batch):
            known = labels[some]
            there = present(known)
            chosen = (~there).int().argsort(dim=1, stable=True)[:, : int(numbers[some].max())]
            known_there = there.gather(1, chosen)
            inputs = rows[some][:, :1] if self.inputs == "same" else rows[some].gather(1, chosen)
            n_rows = inputs.numel()
            gradients = sample_gradients(
                network,
                names,
                problem.tasks,
                problem.inputs[inputs.flatten()].to(place),
                known.repeat_interleave(inputs.shape[1], dim=0).to(place),
                chosen.reshape(n_rows, -1).to(place),
            )
            self.flops += n_rows * forward + chosen.numel() * (both - forward)
            pair = known_there[:, :, None] & known_there[:, None]
            where = (chosen[:, :, None].expand_as(pair)[pair], chosen[:, None].expand_as(pair)[pair])
            count.index_put_(where, torch.ones(len(where[0]), dtype=torch.float64), accumulate=True)
            for index, gradient in enumerate(gradients.values()):
                distances = l1_distances(gradient.reshape(*chosen.shape, -1)).cpu()
                total[index].index_put_(where, distances[pair].double(), accumulate=True)
        if (count == 0).any():
            target, source = (count == 0).nonzero()[0].tolist()
            raise InputError(
                "samples",
                f"no sampled input with labels for both task {target} and task {source}",
                'Raise samples, or use inputs="own".',
            )
        return self.learning_rate * (total / count).numpy()

    def _drawn(self, problem: Problem) -> tuple[Tensor, Tensor]:
        """The N samples: each task's input row, int64 (N, n), and its label (N, n[, H]), NaN where it has none."""
        used, labels = problem.table("train")
        there = present(labels)
        if self.inputs == "same":
            # An input with one label says nothing about a pair.
            eligible = [(there.sum(dim=1) >= min(2, problem.n_tasks)).nonzero()[:, 0].numpy()]
            streams = ["same"]
        else:
            eligible = [there[:, task].nonzero()[:, 0].numpy() for task in range(problem.n_tasks)]
            streams = list(problem.task_names)
        fewest = min(map(len, eligible))
        if self.samples > fewest:
            raise InputError("samples", f"{self.samples}, with {fewest} to draw from", f"Use at most {fewest}.")
        drawn = [
            numpy_generator(self.seed, "sample convergence", stream).choice(rows, self.samples, replace=False)
            for stream, rows in zip(streams, eligible, strict=True)
        ]
        rows = torch.from_numpy(np.stack(drawn, axis=1)).expand(-1, problem.n_tasks)
        return used[rows], labels[rows, torch.arange(problem.n_tasks)]
