"""The study of GRAD-TAE: its record holds what the estimators and full training give."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from tqdm import tqdm

from taskgroup_core.affinity.grad_tae import GradTAE
from taskgroup_core.errors import InputError
from taskgroup_core.runs.checkpoint import Checkpoint
from taskgroup_core.runs.grad_tae_parameters import GradTaeParameters
from taskgroup_core.runs.grad_tae_study import grad_tae_study
from taskgroup_core.runs.slices import Slices
from taskgroup_core.subsets import pairs, sample_subsets
from tests.small import small_problem

SETTINGS = {
    "plain": {"dimension": 6, "C": 0.1},
    "two": {"dimension": 6, "C": 0.1, "M": 2},
    "other draw": {"dimension": 6, "C": 0.1, "draw": 1},
    "published": {"estimator": "as_published", "dimension": 6, "C": 0.1},
    "released": {"estimator": "as_released", "dimension": 6},
    "second order": {"estimator": "gauss_newton", "C": 0.1},
    "exact": {"dimension": None, "C": 0.1, "evaluation": "linear"},
}
ASKED = GradTaeParameters(SETTINGS, subset_size=3, n_subsets=12, epochs=2, replicates=2, seed=1)


@pytest.fixture(scope="module")
def study():
    problem = small_problem("sign")
    return problem, grad_tae_study(problem, ASKED, torch.device("cpu"), progress=False)


def test_the_record_says_which_subsets_and_what_they_cost(study) -> None:
    problem, record = study
    member = np.vstack([pairs(4), sample_subsets(4, 3, 12, 1)])
    np.testing.assert_array_equal(record.arrays["member"], member)
    assert record.arrays["truth.score"].shape == (2, len(member), 4)
    costs = pd.DataFrame(record.results["costs"]).set_index("estimate")
    assert set(costs.index) == set(SETTINGS) == set(record.provenance["setting_seconds"])
    assert costs.training["two"] == 2 * costs.training["plain"] > 0
    assert costs.gradients["exact"] > 0 and costs.gradients["second order"] == 0 < costs.subsets["second order"]
    assert record.results["n_parameters"] == sum(p.numel() for p in problem.network(0).parameters())
    assert record.results["training_flops"] > costs.training["plain"]


def test_an_estimate_is_the_mean_over_its_meta_initialisations(study) -> None:
    _, record = study
    estimates = {name: record.arrays[f"estimate.negative_loss.{name}"] for name in SETTINGS}
    assert not np.allclose(estimates["plain"], estimates["other draw"], equal_nan=True)
    assert not np.allclose(estimates["plain"], estimates["two"], equal_nan=True)
    # The paper's settings but for the penalty are those that have no name.
    np.testing.assert_array_equal(estimates["plain"], estimates["published"])
    for one in estimates.values():
        np.testing.assert_array_equal(np.isnan(one), ~record.arrays["member"])


def test_the_first_order_without_projection_is_the_estimators_own(study) -> None:
    problem, record = study

    with tqdm(disable=True) as bar:
        network, _ = Slices(problem, ASKED.recipe, 1, torch.device("cpu"), None, None, bar).meta(0)
    direct = GradTAE(problem, [network], dimension=None, C=0.1, device="cpu", evaluation="linear")
    scores = direct.scores(record.arrays["member"])
    np.testing.assert_allclose(record.arrays["estimate.negative_loss.exact"], scores.negative_loss, equal_nan=True)


def test_merits_are_those_of_the_arrays(study) -> None:
    _, record = study
    merits = pd.DataFrame(record.results["merits"]).set_index(["affinity", "metric", "estimate"]).sort_index()
    truth = record.arrays["truth.negative_loss"].mean(axis=0)
    first = np.full((4, 4), np.nan)
    guess = first.copy()
    for row, subset in enumerate(pairs(4)):
        i, j = np.flatnonzero(subset)[[0, -1]]
        for a, b in ((i, j), (j, i)):
            first[a, b] = truth[row, a]
            guess[a, b] = record.arrays["estimate.negative_loss.plain"][row, a]
    found = merits.loc[("pairwise", "negative_loss", "plain")]
    assert found.distance == pytest.approx(((guess - first) ** 2).sum() / (first**2).sum())
    assert found.norm_distance == pytest.approx(found.distance**0.5)
    assert {"constant", "task mean", "single task", "one training"} < set(merits.loc["higher-order", "score"].index)
    assert set(record.results["ceiling"]) == {"pairwise", "higher-order"}


def test_it_repeats_and_resumes(study, tmp_path) -> None:
    problem, record = study
    kept = Checkpoint(tmp_path, "key")
    again = grad_tae_study(problem, ASKED, torch.device("cpu"), progress=False, checkpoint=kept)
    resumed = grad_tae_study(problem, ASKED, torch.device("cpu"), progress=False, checkpoint=kept)
    assert record.id == again.id == resumed.id
    # One slice of T* a replicate, two meta-initialisations, and an estimate each but for the one that two share.
    assert len(kept.names) == 2 + 2 + len(SETTINGS)


@pytest.mark.parametrize(
    "change",
    [
        {"settings": {}},
        {"settings": {"a": {"estimator": "grad_tag"}}},
        {"settings": {"a": {"M": 0}}},
        {"replicates": 1},
    ],
)
def test_parameters_that_cannot_be(change) -> None:
    with pytest.raises(InputError, match=next(iter(change))):
        GradTaeParameters(**{"settings": SETTINGS, **change})


def test_a_misspelt_setting_is_an_error() -> None:
    asked = GradTaeParameters({"a": {"dimensions": 6}}, n_subsets=12, epochs=1, replicates=2)
    with pytest.raises(TypeError, match="dimensions"):
        grad_tae_study(small_problem(), asked, torch.device("cpu"), progress=False)
