"""SCA's grouper: a graph attention network embeds the tasks, a Gaussian mixture clusters them, softly."""

from __future__ import annotations

import warnings
from inspect import signature
from typing import Self

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning

from taskgroup_core.checks import check_positive, check_whole, real_array
from taskgroup_core.errors import InputError
from taskgroup_core.grouping.graph_attention import attention_embeddings
from taskgroup_core.grouping.grouping import average_density, check_n_groups, check_random_state
from taskgroup_core.grouping.overlapping import check_flag, check_word
from taskgroup_core.grouping.soft_groups import SINGLETONS, membership_silhouette, soft_groups, soft_members
from taskgroup_core.matrices import FloatArray, check_affinity
from taskgroup_core.seeds import derive

WORDS = {"singletons": SINGLETONS, "activation": ("elu", "none"), "layers": ("dense", "torch_geometric")}
WORDS |= {"covariance": ("spherical", "diag", "tied", "full"), "silhouette": ("served", "members")}
ATTENTION = tuple(signature(attention_embeddings).parameters)[2:]  # behind the affinity and the starts


class GATMixtureGrouper(BaseEstimator):  # type: ignore[misc]
    """Embed the tasks so that graph attention can rebuild their affinity rows, then fit a mixture of b Gaussians.

    Two graph attention layers read the n rows of T: n units in 2 heads give the embedding Z with shape (n, 2 n), and
    one head leads back to n units. They are trained on the squared error, Z is clustered by a Gaussian mixture, and
    of several runs the one with the best mean silhouette is kept.

    Parameters
    ----------
    n_groups : b, the number of mixture components, from 1 to n.
    threshold : a task is a member of every component that is responsible for it (Eq. 4 of the supplement) by at
        least this much, and always of the most responsible one, which serves it. The paper gives no value; at 0.5, the
        default, two groups share a task only in a tie.
    singletons : what becomes of a group of one task: "merge" puts it into the nearest group (of the highest
        responsibility after its own), "copy" makes it that group and itself, which overlaps, "keep" leaves it. "merge"
        is the default because the paper wants no group of one, and copies train tasks twice.
    neighbours : edges come from a task's most affine others, so many; None, the default, for the complete graph: the
        paper's edges join all tasks that have an affinity.
    edge_weights : whether attention sees T[target, source] on the edge. By default not: no equation of the paper does.
    self_loops : whether a task attends to itself; by default, as in the usual implementations of the layer.
    activation : "elu" or "none", behind the first layer; "elu" is that of the graph attention network's authors.
    standardise : whether the columns of T are brought to mean 0 and standard deviation 1 before attention reads its
        rows; by default they are read as they are.
    layers : "dense", this package's own, which train all restarts as one batch; or "torch_geometric", that library's
        `GATConv`, one restart after another from the same weights: the same embeddings up to rounding, more slowly.
    covariance : of the mixture, in scikit-learn's words; "diag" by default, because n points in 2 n dimensions do not
        determine a full one.
    regularisation : added to the diagonal of covariances, which need some for the same reason.
    silhouette : of "served" groups, those of the most responsible components, as in Eq. (5) of the supplement, or of
        all "members", see `membership_silhouette`; the same where nothing overlaps.
    epochs, learning_rate : of Adam; the paper's.
    restarts : runs to choose from; the paper's 10.
    random_state : seed of the initialisations and mixtures.

    Attributes
    ----------
    grouping_, groups_, served_by_ : the groups, see `Grouping`; `labels_` is None where they overlap.
    objective_ : average density of the groups, in the affinity's unit; what other groupers maximise.
    silhouettes_ : mean silhouette of every run, with shape (restarts,); -1 where there is none, because all tasks fell
        into one component, or each into one of its own.
    embedding_ : Z of the run that was kept, with shape (n, 2 n).
    responsibilities_ : of its components for the tasks, with shape (n, b).
    status_ : a sentence on the result.

    Raises
    ------
    InputError : (on fit) arguments that cannot be used.
    MissingExtra : (on fit) torch_geometric is asked for and not installed.

    References
    ----------
    Thakur et al., Efficient Task Grouping Through Sample-wise Optimisation Landscape Analysis, 2024, section 4.2 and
    supplement, Eq. (3) to (6).

    Deviations
    ----------
    1. The second layer gets n units, not 2 n as printed: it rebuilds rows of n entries.
    2. Open in the paper, and options here: edges, loops and the use of the edges' weights, the activation, the scale of
       the rows, the covariance, the threshold, the nearest group of singletons, and the silhouette with overlap.
    3. With the complete graph and without weights, the equations as they stand, attention mixes all tasks, and even
       clear families may end in one group; `neighbours` or `edge_weights` keep them apart.
    4. The silhouette is taken before the refinement of singletons. Groups that come out alike are all kept.
    """

    def __init__(
        self,
        n_groups: int,
        *,
        threshold: float = 0.5,
        singletons: str = "merge",
        neighbours: int | None = None,
        edge_weights: bool = False,
        self_loops: bool = True,
        activation: str = "elu",
        standardise: bool = False,
        layers: str = "dense",
        covariance: str = "diag",
        regularisation: float = 1e-3,
        silhouette: str = "served",
        epochs: int = 100,
        learning_rate: float = 1e-3,
        restarts: int = 10,
        random_state: int = 0,
    ) -> None:
        self.n_groups, self.threshold, self.singletons = n_groups, threshold, singletons
        self.neighbours, self.edge_weights, self.self_loops = neighbours, edge_weights, self_loops
        self.activation, self.standardise, self.layers = activation, standardise, layers
        self.covariance, self.regularisation, self.silhouette = covariance, regularisation, silhouette
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
        starts = [(self.random_state, restart) for restart in range(self.restarts)]
        options = {name: getattr(self, name) for name in ATTENTION}
        return self.fit_embeddings(values, attention_embeddings(values, starts, **options))

    def fit_embeddings(self, affinity: xr.DataArray | ArrayLike, embeddings: FloatArray) -> Self:
        """Group the tasks from embeddings at hand, one a run: the second half of `fit`.

        Parameters
        ----------
        affinity : T[target, source], which gives `objective_`.
        embeddings : with shape (restarts, n, d), such as those of `attention_embeddings`.

        Raises
        ------
        InputError : see the class, or embeddings with another shape, NaN or infinity.
        """
        values, embeddings = check_affinity(affinity), real_array(embeddings, "embeddings")
        self._check(len(values))
        if embeddings.ndim != 3 or embeddings.shape[:2] != (self.restarts, len(values)):
            found = f"shape {embeddings.shape}"
            raise InputError("embeddings", found, f"Give shape ({self.restarts}, {len(values)}, d), one a restart.")
        if not np.isfinite(embeddings).all():
            raise InputError("embeddings", "NaN or infinity", "Give finite ones, or `fit` a lower learning_rate.")
        runs = [self._cluster(embedding, restart) for restart, embedding in enumerate(embeddings)]
        self.silhouettes_ = np.array([silhouette for silhouette, _ in runs])
        kept = int(self.silhouettes_.argmax())
        self.embedding_, self.responsibilities_ = embeddings[kept], runs[kept][1]
        self.grouping_ = soft_groups(self.responsibilities_, self.threshold, self.singletons)
        self.groups_, self.served_by_ = self.grouping_.groups, self.grouping_.served_by
        self.labels_ = None if sum(map(len, self.groups_)) > len(values) else self.grouping_.labels()
        self.objective_ = average_density(values, self.groups_)
        best, worst = self.silhouettes_.max(), self.silhouettes_.min()
        told = f"mean silhouette {best:.2f} (worst {worst:.2f})" if best > -1 else "no silhouette"
        self.status_ = f"Best of {self.restarts} runs, {told}; groups: {len(self.groups_)} of {self.n_groups}."
        return self

    def _check(self, n_tasks: int) -> None:
        if n_tasks < 2:
            raise InputError("affinity", "one task", "Give two tasks or more: a mixture cannot be fitted to one point.")
        check_n_groups(self.n_groups, n_tasks)
        check_random_state(self.random_state)
        for name, words in WORDS.items():
            check_word(name, getattr(self, name), words)
        for name in ("edge_weights", "self_loops", "standardise"):
            check_flag(name, getattr(self, name))
        check_positive("threshold", self.threshold, most=1)
        check_positive("regularisation", self.regularisation, or_zero=True)
        check_positive("learning_rate", self.learning_rate)
        check_whole("epochs", self.epochs)
        check_whole("restarts", self.restarts)
        if self.neighbours is not None:
            check_whole("neighbours", self.neighbours, most=n_tasks - 1)

    def _cluster(self, embedding: FloatArray, restart: int) -> tuple[float, FloatArray]:
        """Mean silhouette and responsibilities of one mixture."""
        from sklearn.mixture import GaussianMixture

        mixture = GaussianMixture(
            self.n_groups,
            covariance_type=self.covariance,
            reg_covar=self.regularisation,
            random_state=derive(self.random_state, "mixture", restart) % 2**32,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct points than b: status_ counts groups
            responsibilities: FloatArray = mixture.fit(embedding).predict_proba(embedding)
        member = soft_members(responsibilities, self.threshold if self.silhouette == "members" else np.inf)
        scored = member.any(axis=0).sum() >= 2 and member.sum(axis=0).max() > 1
        return membership_silhouette(embedding, member) if scored else -1.0, responsibilities
