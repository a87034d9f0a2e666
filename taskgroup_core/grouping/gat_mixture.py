"""SCA's grouper: a graph attention network embeds the tasks, a Gaussian mixture clusters them, softly."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator

from taskgroup_core.errors import InputError, MissingExtra
from taskgroup_core.grouping.grouping import average_density, check_n_groups, check_random_state
from taskgroup_core.grouping.soft_groups import SINGLETONS, soft_groups
from taskgroup_core.matrices import FloatArray, check_affinity
from taskgroup_core.seeds import derive, seeded

if TYPE_CHECKING:
    from torch import Tensor, nn

ACTIVATIONS = ("elu", "none")
COVARIANCES = ("spherical", "diag", "tied", "full")


class GATMixtureGrouper(BaseEstimator):  # type: ignore[misc]
    """Embed the tasks so that graph attention can rebuild their affinity rows, then fit a mixture of b Gaussians.

    Two graph attention layers read the n rows of T: n units in 2 heads give the embedding Z with shape (n, 2 n), and
    one head leads back to n units. They are trained on the squared error, Z is clustered by a Gaussian mixture, and
    of several runs the one with the best mean silhouette is kept.

    Parameters
    ----------
    n_groups : b, the number of mixture components, from 1 to n.
    threshold : a task is a member of every component that is responsible for it (Eq. 4 of the supplement) by at
        least this much, and always of the most responsible one, which serves it.
    singletons : what becomes of a group of one task: "merge" puts it into the nearest group (of the highest
        responsibility after its own), "copy" makes it that group and itself, which overlaps, "keep" leaves it.
    neighbours : edges come from a task's most affine others, so many; None for the complete graph.
    edge_weights : whether attention sees T[target, source] on the edge.
    activation : "elu" or "none", behind the first layer.
    covariance : of the mixture, in scikit-learn's words.
    regularisation : added to the diagonal of covariances; n points in 2 n dimensions need some.
    epochs, learning_rate : of Adam.
    restarts : runs to choose from.
    random_state : seed of the initialisations and mixtures.

    Attributes
    ----------
    grouping_, groups_, served_by_ : the groups, see `Grouping`; `labels_` is None where they overlap.
    objective_ : average density of the groups, in the affinity's unit; what other groupers maximise.
    silhouettes_ : mean silhouette of every run, with shape (restarts,); -1 where all tasks fell into one component.
    embedding_ : Z of the run that was kept, with shape (n, 2 n).
    responsibilities_ : of its components for the tasks, with shape (n, b).
    status_ : a sentence on the result.

    Raises
    ------
    InputError : (on fit) arguments that cannot be used.
    MissingExtra : torch_geometric is not installed.

    References
    ----------
    Thakur et al., Efficient Task Grouping Through Sample-wise Optimisation Landscape Analysis, 2024, section 4.2 and
    supplement, Eq. (3) to (6).

    Deviations
    ----------
    1. The second layer gets n units, not 2 n as printed: it rebuilds rows of n entries.
    2. Open in the paper, and options here: the edges, whether their weights are used (they are defined there, and no
       equation has them), the activation, the covariance, the threshold, and what "nearest" means for singletons.
    3. With the complete graph and without weights, the equations as they stand, attention mixes all tasks, and even
       clear families may end in one group; `neighbours` or `edge_weights` keep them apart.
    4. The silhouette is that of the most responsible components: groups that overlap have none.
    """

    def __init__(
        self,
        n_groups: int,
        *,
        threshold: float = 0.5,
        singletons: str = "merge",
        neighbours: int | None = None,
        edge_weights: bool = False,
        activation: str = "elu",
        covariance: str = "diag",
        regularisation: float = 1e-3,
        epochs: int = 100,
        learning_rate: float = 1e-3,
        restarts: int = 10,
        random_state: int = 0,
    ) -> None:
        self.n_groups, self.threshold, self.singletons = n_groups, threshold, singletons
        self.neighbours, self.edge_weights, self.activation = neighbours, edge_weights, activation
        self.covariance, self.regularisation = covariance, regularisation
        self.epochs, self.learning_rate, self.restarts = epochs, learning_rate, restarts
        self.random_state = random_state

    def fit(self, affinity: xr.DataArray | ArrayLike, y: None = None) -> Self:  # noqa: ARG002
        """Group the tasks of an affinity T[target, source], labelled or a plain array with shape (n, n).

        Raises
        ------
        InputError, MissingExtra : see the class.
        """
        values = check_affinity(affinity)
        self._check(len(values))
        runs = [self._run(values, restart) for restart in range(self.restarts)]
        self.silhouettes_ = np.array([silhouette for silhouette, _, _ in runs])
        _, self.embedding_, self.responsibilities_ = runs[int(self.silhouettes_.argmax())]
        self.grouping_ = soft_groups(self.responsibilities_, self.threshold, self.singletons)
        self.groups_, self.served_by_ = self.grouping_.groups, self.grouping_.served_by
        overlap = sum(map(len, self.groups_)) > len(values)
        self.labels_ = None if overlap else self.grouping_.labels()
        self.objective_ = average_density(values, self.groups_)
        self.status_ = (
            f"Best of {self.restarts} runs, mean silhouette {self.silhouettes_.max():.2f} "
            f"(worst {self.silhouettes_.min():.2f}); groups: {len(self.groups_)} of {self.n_groups}."
        )
        return self

    def _check(self, n_tasks: int) -> None:
        if n_tasks < 2:
            raise InputError("affinity", "one task", "Give two tasks or more: a mixture cannot be fitted to one point.")
        check_n_groups(self.n_groups, n_tasks)
        check_random_state(self.random_state)
        for name, words in {"singletons": SINGLETONS, "activation": ACTIVATIONS, "covariance": COVARIANCES}.items():
            if getattr(self, name) not in words:
                raise InputError(name, repr(getattr(self, name)), f"Use one of {', '.join(words)}.")
        fine = {
            "threshold": 0 < self.threshold <= 1,
            "neighbours": self.neighbours is None or 1 <= self.neighbours < max(2, n_tasks),
            "regularisation": self.regularisation >= 0,
            "epochs": self.epochs >= 1,
            "learning_rate": self.learning_rate > 0,
            "restarts": self.restarts >= 1,
        }
        for name in (name for name, good in fine.items() if not good):
            raise InputError(name, repr(getattr(self, name)), "See the help of GATMixtureGrouper for its range.")

    def _run(self, values: FloatArray, restart: int) -> tuple[float, FloatArray, FloatArray]:
        """Mean silhouette, embedding and responsibilities of one training and one mixture."""
        from sklearn.metrics import silhouette_score
        from sklearn.mixture import GaussianMixture

        embedding = self._embed(values, restart)
        mixture = GaussianMixture(
            self.n_groups,
            covariance_type=self.covariance,
            reg_covar=self.regularisation,
            random_state=derive(self.random_state, "mixture", restart) % 2**32,
        )
        responsibilities = mixture.fit(embedding).predict_proba(embedding)
        labels = responsibilities.argmax(axis=1)
        scored = 2 <= len(np.unique(labels)) < len(values)
        return float(silhouette_score(embedding, labels)) if scored else -1.0, embedding, responsibilities

    def _embed(self, values: FloatArray, restart: int) -> FloatArray:
        """Z after training, with shape (n, 2 n)."""
        import torch
        from torch.nn.functional import elu

        rows = torch.from_numpy(values).float()
        edges, weights = _edges(values, self.neighbours)
        bend: Callable[[Tensor], Tensor] = elu if self.activation == "elu" else torch.nn.Identity()
        with seeded(self.random_state, "attention", restart):
            first, second = _layers(len(values), 1 if self.edge_weights else None)
        optimiser = torch.optim.Adam([*first.parameters(), *second.parameters()], self.learning_rate)
        given: dict[str, Any] = {"edge_attr": weights} if self.edge_weights else {}
        for _ in range(self.epochs):
            optimiser.zero_grad()
            rebuilt = second(bend(first(rows, edges, **given)), edges, **given)
            torch.nn.functional.mse_loss(rebuilt, rows).backward()
            optimiser.step()
        with torch.no_grad():
            embedding: NDArray[np.float64] = bend(first(rows, edges, **given)).double().numpy()
        return embedding


def _layers(n_tasks: int, edge_dim: int | None) -> tuple[nn.Module, nn.Module]:
    try:
        from torch_geometric.nn import GATConv
    except ImportError as error:
        raise MissingExtra("torch-geometric", "graph") from error
    return GATConv(n_tasks, n_tasks, heads=2, edge_dim=edge_dim), GATConv(2 * n_tasks, n_tasks, edge_dim=edge_dim)


def _edges(values: FloatArray, neighbours: int | None) -> tuple[Tensor, Tensor]:
    """Edges (source, target) with shape (2, E), without loops, which the layers add; T on them, shape (E, 1)."""
    import torch

    others = np.where(np.eye(len(values), dtype=bool), -np.inf, values)
    rank = (-others).argsort(axis=1, kind="stable").argsort(axis=1)
    target, source = np.nonzero((rank < (neighbours or len(values))) & np.isfinite(others))
    return torch.from_numpy(np.stack([source, target])), torch.from_numpy(values[target, source][:, None]).float()
