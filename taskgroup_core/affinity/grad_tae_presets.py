"""GRAD-TAE as the paper describes it, and as the code that was released with it runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Self

from torch import nn

from taskgroup_core.affinity.ensemble import EnsembleEstimate
from taskgroup_core.problems.problem import Problem


class GradTaePresets(EnsembleEstimate):
    """The two settings of `GradTAE` that have a source."""

    @classmethod
    def as_published(cls, problem: Problem, meta: Sequence[nn.Module], **given: Any) -> Self:
        """The estimator with the settings of the paper.

        - projection: Gaussian, N(0, 1/d) (section 3.2 (2); Algorithm 1, line 2);
        - dimension: 200 (section 5.2.1; there with M = 5 meta-initialisations);
        - C: infinity, as Eq. (4) has no penalty. Where rows can be separated there is no minimum then: look at
          `unconverged`;
        - offset: kept (Eq. (3));
        - evaluation: by the network (Algorithm 1, line 11).

        Parameters
        ----------
        problem, meta : as of `GradTAE`.
        given : its other parameters, and settings that are to be different.
        """
        settings: dict[str, Any] = {
            "projection": "gaussian",
            "dimension": 200,
            "C": math.inf,
            "offset": True,
            "evaluation": "network",
        }
        return cls(problem, meta, **(settings | given))

    @classmethod
    def as_released(cls, problem: Problem, meta: Sequence[nn.Module], **given: Any) -> Self:
        """The estimator with the settings of the code that was released for graphs.

        - projection: signs over the root of d; dimension: 200 (`fast_estimate_collect_gradients.py`);
        - C: 0.01, scikit-learn's L2 penalty (`fast_estimate_linear_model.py`, like all that follows);
        - offset: none, though the outputs are stored;
        - intercept: fitted, and not used;
        - fit_share: the first 80 % of the rows, task after task;
        - frozen_heads: the last perceptron ("project") stays as it is;
        - evaluation: by the network.

        Parameters
        ----------
        problem, meta : as of `GradTAE`.
        given : its other parameters, and settings that are to be different. The code for texts and images rescales
            the update: to 0.1 of the parameters' norm, which is `solution_norm` = 0.1, or to length 2, which is
            `solution_norm` = 2 / |theta*| where `meta` is one network (each has a norm of its own).

        Deviations
        ----------
        1. The code takes gradients with dropout on, so that they are random; ours are those of the network in
           evaluation mode.
        2. It concatenates the tasks of a subset in the order in which they were drawn, ours is the problem's.
        3. The code for texts and images fits random labels, with the gradients of the losses, signs flipped to match:
           that is another estimator and not offered.
        """
        settings: dict[str, Any] = {
            "projection": "rademacher",
            "dimension": 200,
            "C": 0.01,
            "offset": False,
            "intercept": "fitted and dropped",
            "fit_share": 0.8,
            "frozen_heads": True,
            "evaluation": "network",
        }
        return cls(problem, meta, **(settings | given))
