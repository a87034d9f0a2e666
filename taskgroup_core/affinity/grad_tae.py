"""GRAD-TAE: f(S, t) estimated from gradients at a meta-initialisation (GRAD-TAG, Algorithm 1)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from taskgroup_core.affinity.collected import check_choice
from taskgroup_core.affinity.grad_tae_presets import GradTaePresets
from taskgroup_core.affinity.linearised import Linearised, linearise
from taskgroup_core.affinity.regression_rows import first_share, prepared
from taskgroup_core.affinity.subset_regressions import subset_regressions
from taskgroup_core.affinity.subset_scores import ORDER, Values, linear_scores, network_scores
from taskgroup_core.affinity.task_rows import TaskRows
from taskgroup_core.affinity.updates import changed, head_entries
from taskgroup_core.errors import InputError
from taskgroup_core.flops import counted
from taskgroup_core.gradients.flat import FlatNetwork
from taskgroup_core.gradients.projections import ProjectionKind, make_projection
from taskgroup_core.problems.problem import Problem, Split
from taskgroup_core.seeds import derive
from taskgroup_core.subsets import Subsets
from taskgroup_core.training.recipe import Recipe
from taskgroup_core.training.stacked import fit_many


def meta_initialisations(
    problem: Problem, recipe: Recipe, count: int, seed: int, device: str | torch.device = "auto"
) -> tuple[list[nn.Module], list[int]]:
    """theta*_1 to theta*_M, each trained on all tasks (Algorithm 2, line 1), and the operations each one cost."""
    if count < 1:
        raise InputError("count", str(count), "Train at least one meta-initialisation.")
    seeds = [derive(seed, "meta", k) for k in range(count)]
    fits = fit_many(problem, [range(problem.n_tasks)] * count, recipe, seeds, device)
    return [fitted.network for fitted in fits], [fitted.flops for fitted in fits]


class GradTAE(GradTaePresets):
    """The estimate f^(S, t) of f(S, t): a regression on projected gradients in place of a training.

    Parameters
    ----------
    problem : tasks of any kinds with their examples.
    meta : the M meta-initialisations, trained on all tasks (see `meta_initialisations`).
    dimension : d of the projection; None for no projection at all (small networks only).
    C : inverse strength of the L2 penalty of the regression, relative to the summed loss; infinity for none.
    offset : keep b_i of Eq. (3); without it the regression ignores what theta* already predicts.
    seed : decides the projections, one for each meta-initialisation.
    device : where to compute.
    split : the examples that are scored.
    meta_flops : operations that training `meta` took, counted into `flops`.
    projection : its kind, see `make_projection`; the paper's is "gaussian".
    evaluation : "network" scores the network at theta* + P w, as the paper does; "linear" scores f + g~ w in the
        projected space, from validation gradients that are projected once for all subsets; "quadratic" adds the
        second-order term of Remark 3.1 to that, in all p dimensions.
    classes : how a task of K classes is fitted, Remark 3.2 being open to both: "joint" by the softmax over its K
        linearised logits, "one against the rest" by K logistic losses; one w for all of them.
    intercept : None, or "fitted and dropped" for one that is fitted along (binary tasks only) and then forgotten.
    fit_share : only the first share of a subset's rows is fitted, task after task; below 1 the last tasks hardly count.
    frozen_heads : throw the update of the child module away that was registered last (of SIGN: the last perceptron).
    solution_norm : rescale every update to this share of |theta*|; None leaves its length to the regression. A length L
        is the share L / |theta*|, which differs between meta-initialisations.

    Attributes
    ----------
    flops : operations spent so far, the meta-initialisations included.
    unconverged : regressions so far that ended without a minimum.

    Raises
    ------
    InputError : no meta-initialisation, or bad parameters.

    References
    ----------
    GRAD-TAG, Algorithm 1, Eq. (2) to (5), section 3.2, Remark 3.2; its released code for `intercept` and what follows.

    Deviations
    ----------
    1. f is the logit of a binary task, the K logits of a task of K classes, the prediction of a regression task. The
       paper calls it the output, with the label as an argument.
    2. Remark 3.2 asks for "one prediction vector for each class", which may mean one vector W a class. Then no network
       is left to be evaluated by Eq. (5), so all classes share one W here: see `classes`.
    3. An L2 penalty. Eq. (4) has none, and then no minimum where the rows can be separated; Proposition 3.3 searches in
       a ball whose radius is not given, and the penalty is the Lagrangian form of a ball.
    4. The projected gradients may come from forward mode: see `projected_gradients`. The numbers are the same.
    5. "linear" and "quadratic" are ours: they score the expansion and not the network.
    6. The intercept is a feature of 1000, so that the penalty, which scikit-learn keeps off it, hardly reaches it.
    """

    method = "GRAD-TAE"

    def __init__(
        self,
        problem: Problem,
        meta: Sequence[nn.Module],
        *,
        dimension: int | None = 200,
        C: float = 1.0,
        offset: bool = True,
        seed: int = 0,
        device: str | torch.device = "auto",
        split: Split = "val",
        meta_flops: int = 0,
        projection: ProjectionKind = "gaussian",
        evaluation: Literal["network", "linear", "quadratic"] = "network",
        classes: Literal["joint", "one against the rest"] = "joint",
        intercept: Literal["fitted and dropped"] | None = None,
        fit_share: float = 1.0,
        frozen_heads: bool = False,
        solution_norm: float | None = None,
    ) -> None:
        super().__init__(problem, meta, C, evaluation, device, split, meta_flops)
        self.dimension = dimension
        self.projection: ProjectionKind = "none" if dimension is None else projection
        self.offset, self.classes, self.intercept, self.fit_share = offset, classes, intercept, fit_share
        self.frozen_heads, self.solution_norm, self.seed = frozen_heads, solution_norm, seed
        self._check()
        self._linearised = [self._linearise(flat, k) for k, flat in enumerate(self._flat)]
        self.flops += sum(linearised.flops for linearised in self._linearised)

    def _check(self) -> None:
        check_choice("classes", self.classes, ("joint", "one against the rest"))
        if self.intercept is not None:
            check_choice("intercept", self.intercept, ("fitted and dropped",))
            if any(task.kind != "binary" for task in self.problem.tasks):
                raise InputError("intercept", "a task that is not binary", "Use it for binary tasks, or None.")
        if not 0 < self.fit_share <= 1:
            raise InputError("fit_share", str(self.fit_share), "Use a number above 0, up to 1.")
        if self.solution_norm is not None and not 0 < self.solution_norm < math.inf:
            raise InputError("solution_norm", str(self.solution_norm), "Use a positive number, or None.")
        if self.frozen_heads:
            for flat in self._flat:
                head_entries(flat)
        if self.evaluation == "linear" and (self.frozen_heads or self.solution_norm is not None):
            found = "linear, of an update that is changed after the regression"
            raise InputError("evaluation", found, 'Use "network" with frozen_heads or solution_norm.')

    def _linearise(self, flat: FlatNetwork, k: int) -> Linearised:
        projection = make_projection(self.projection, flat, self.dimension, derive(self.seed, "grad-tae", k))
        change = partial(prepared, offset=self.offset, classes=self.classes, intercept=self.intercept is not None)
        return linearise(self.problem, flat, projection, change, self.split if self.evaluation == "linear" else None)

    def _scores_of_one(self, k: int, member: Subsets) -> Values:
        """Lines 5 to 8 for one meta-initialisation: regress, lift by Eq. (5), run the network or its linearisation."""
        linearised = self._linearised[k]
        solutions = self._regress(linearised.train, member)
        if self.evaluation == "linear":
            examples = np.array([rows.offset.numel() for rows in linearised.scored])
            self.flops += 2 * solutions.shape[1] * int((member @ examples).sum())
            return linear_scores(self.problem, linearised.scored, solutions, member)
        lifted_from = solutions.to(linearised.flat.theta)

        def displacements(part: slice) -> Tensor:
            lifted, flops = counted(lambda: linearised.projection.lift(lifted_from[part]))
            self.flops += flops
            return changed(linearised.flat, lifted, self.frozen_heads, self.solution_norm)

        order = ORDER[self.evaluation]
        values, flops = network_scores(self.problem, self.split, linearised.flat, displacements, member, order)
        self.flops += flops
        return values

    def _regress(self, rows: Sequence[TaskRows], member: Subsets) -> Tensor:
        """Line 6: Eq. (4) on the training examples of each subset's tasks; solutions with shape (m, d)."""
        if self.fit_share < 1:
            rows, member = first_share(rows, member, self.fit_share)
        regressions = subset_regressions(rows, member, self.C)
        self.flops += regressions.flops
        self.unconverged += int((~regressions.converged).sum())
        return regressions.solutions if self.intercept is None else regressions.solutions[:, :-1]

    def _attributes(self) -> dict[str, str | int | float]:
        own = {"dimension": self.dimension or 0, "projection": self.projection, "seed": self.seed}
        return super()._attributes() | own
