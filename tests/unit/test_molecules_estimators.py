"""Every estimator and grouper runs unchanged on molecules, with and without missing labels."""

from functools import partial

import numpy as np
import pytest

from taskgroup_core.affinity.boosted import boosted_affinity, boosted_subsets
from taskgroup_core.affinity.full_training import FullTraining
from taskgroup_core.affinity.grad_tae import GradTAE, meta_initialisations
from taskgroup_core.affinity.gradient_cosine import GradientCosineAffinity
from taskgroup_core.affinity.higher_order import higher_order_affinity
from taskgroup_core.affinity.lookahead import LookaheadAffinity
from taskgroup_core.affinity.pairwise import pairwise_affinity
from taskgroup_core.affinity.sample_convergence import SampleConvergenceAffinity
from taskgroup_core.affinity.transfer_gain import TransferGainAffinity
from taskgroup_core.grouping.branch_and_bound import BranchAndBoundGrouper
from taskgroup_core.grouping.exhaustive import ExhaustiveGrouper
from taskgroup_core.grouping.lloyd import LloydGrouper
from taskgroup_core.grouping.random import RandomGrouper
from taskgroup_core.grouping.sdp import SDPGrouper
from taskgroup_core.grouping.spectral import SpectralGrouper
from taskgroup_core.problems.molecules import molecule_problem
from taskgroup_core.subsets import all_subsets, pairs
from taskgroup_core.training.recipe import Recipe
from tests.molecules import random_molecules

RECIPE = Recipe(epochs=3, batch_size=20, learning_rate=0.02)
TASKS = ("mu", "LUMO", "R2", "Cv")


def problem(missing):
    molecules = random_molecules(60)
    if missing:
        molecules.published[np.random.default_rng(0).random(molecules.published.shape) < 0.3] = np.nan
    return molecule_problem(molecules, TASKS, width=4, rounds=2, n_radial=3, cutoff=6.0)


def trained(given):
    return FullTraining(given, RECIPE, 0, "cpu")


def estimated(given):
    meta, _ = meta_initialisations(given, RECIPE, 1, 0, "cpu")
    return GradTAE(given, meta, dimension=None, C=1.0, device="cpu")


def collected(make, given):
    return make(RECIPE, 0, "cpu", every=2).affinity(given)


ESTIMATORS = {
    "pairwise": lambda given: pairwise_affinity(trained(given).scores(pairs(4))["score"]),
    "higher-order": lambda given: higher_order_affinity(trained(given).scores(all_subsets(4))["score"]),
    "BoostMTL": lambda given: boosted_affinity(trained(given).scores(boosted_subsets(4, 3, 2, 0))["negative_loss"]),
    "GRAD-TAE": lambda given: pairwise_affinity(estimated(given).scores(pairs(4))["negative_loss"]),
    "TAG": partial(collected, LookaheadAffinity),
    "transfer gain": partial(collected, TransferGainAffinity),
    "gradient cosine": partial(collected, GradientCosineAffinity),
    "SCA": lambda given: SampleConvergenceAffinity(12, 0, "cpu").affinity(given),
    "SCA, equal heads": lambda given: SampleConvergenceAffinity(12, 0, "cpu", equal_heads=True).affinity(given),
}
GROUPERS = (
    SDPGrouper(2),
    SpectralGrouper(2),
    LloydGrouper(2),
    RandomGrouper(2),
    ExhaustiveGrouper(2),
    BranchAndBoundGrouper(2),
)


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_every_estimator_gives_an_affinity_that_every_grouper_takes(name, missing):
    affinity = ESTIMATORS[name](problem(missing))
    assert affinity.dims == ("target", "source") and affinity["target"].values.tolist() == list(TASKS)
    assert np.isfinite(affinity.values).all() and np.ptp(affinity.values) > 0
    if name in ("TAG", "SCA"):
        for grouper in GROUPERS:
            groups = grouper.fit(affinity).groups_
            assert sorted({task for group in groups for task in group}) == [0, 1, 2, 3]


def test_scores_are_errors_and_repeatable():
    given = problem(True)
    scores = [trained(given).scores(pairs(4))["score"].values for _ in range(2)]
    assert np.array_equal(*scores, equal_nan=True)
    assert np.nanmax(scores[0]) < 0
