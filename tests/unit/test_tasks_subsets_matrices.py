import numpy as np
import pytest
import xarray as xr

from taskgroup_core.errors import InputError
from taskgroup_core.matrices import check_affinity, make_affinity, make_scores
from taskgroup_core.seeds import derive, numpy_generator, seeded, torch_generator
from taskgroup_core.subsets import all_subsets, check_subsets, membership, pairs, sample_subsets, singletons
from taskgroup_core.tasks import Task, check_tasks


def test_subsets_have_the_asked_size_and_are_uniform():
    subsets = sample_subsets(6, 3, 4000, seed=0)
    assert subsets.shape == (4000, 6) and (subsets.sum(axis=1) == 3).all()
    together = subsets.T.astype(float) @ subsets / 4000
    off = together[~np.eye(6, dtype=bool)]
    # Two given tasks share a subset with probability 3 * 2 / (6 * 5) = 0.2; five standard errors around it.
    assert np.abs(off - 0.2).max() < 5 * np.sqrt(0.2 * 0.8 / 4000)
    assert np.array_equal(subsets, sample_subsets(6, 3, 4000, seed=0))
    assert not np.array_equal(subsets, sample_subsets(6, 3, 4000, seed=1))


def test_pairs_and_singletons():
    assert pairs(4).shape == (10, 4) and set(pairs(4).sum(axis=1)) == {1, 2}
    assert np.array_equal(singletons(3), np.eye(3, dtype=bool))
    assert len({row.tobytes() for row in pairs(5)}) == 15


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda: check_subsets(np.ones((2, 3)), 4), "subsets"),
        (lambda: check_subsets(np.full((2, 3), 0.5), 3), "subsets"),
        (lambda: check_subsets(np.zeros((2, 3), dtype=bool), 3), "subsets"),
        (lambda: membership([[0, 5]], 3), "groups"),
        (lambda: membership([[-1]], 3), "groups"),
        (lambda: membership([[0.0, 1.0]], 3), "groups"),
        (lambda: membership([[0, 1, 1]], 3), "groups"),
        (lambda: check_subsets([[1], [1, 0]], 2), "subsets"),
        (lambda: all_subsets(2.5), "n_tasks"),
        (lambda: sample_subsets(5, 2.0, 3, 0), "size"),
        (lambda: sample_subsets(5, 2, 2.5, 0), "m"),
        (lambda: sample_subsets(3, 4, 2, 0), "size"),
        (lambda: sample_subsets(3, 2, 0, 0), "m"),
        (lambda: sample_subsets(3, 2, 1, -1), "seed"),
        (lambda: derive(1.5), "seed"),
        (lambda: Task("a", kind="ordinal"), "kind"),
        (lambda: Task("a", metric="r2"), "metric"),
        (lambda: Task("a", "binary", "f1", "1"), "n_outputs"),
        (lambda: Task("a", "binary", "f1", True), "n_outputs"),
        (lambda: Task("a", "multiclass", "accuracy", 2.5), "n_outputs"),
        (lambda: check_tasks([]), "tasks"),
        (lambda: check_tasks([Task("a"), Task("a")]), "tasks"),
        (lambda: check_affinity(np.ones((2, 3))), "affinity"),
        (lambda: check_affinity(np.ones((0, 0))), "affinity"),
        (lambda: check_affinity(np.array([[1, np.nan], [0, 1]])), "affinity"),
        (lambda: check_affinity(np.array([[1, np.inf], [0, 1]])), "affinity"),
        (lambda: check_affinity(np.ones((2, 2), dtype=complex)), "affinity"),
        (lambda: check_affinity(xr.DataArray(np.ones((2, 2)), dims=("a", "b"))), "affinity"),
        (lambda: check_affinity([[1], [1, 0]]), "affinity"),
        (lambda: check_affinity(np.full((2, 2), 1e160)), "affinity"),
        (lambda: make_affinity([["a"]], ["a"]), "values"),
        (lambda: make_affinity([[1j]], ["a"]), "values"),
        (lambda: make_affinity(np.ones((2, 2)), ["a", "a"]), "tasks"),
        (lambda: make_affinity(np.ones((2, 2)), ["a"]), "values"),
        (lambda: make_scores({"score": np.ones((1, 2))}, np.ones((1, 3), dtype=bool), list("abc")), "values['score']"),
        (lambda: make_scores({"s": [[np.nan, 1.0]]}, np.ones((1, 2), dtype=bool), ["a", "b"]), "values['s']"),
    ],
)
def test_bad_input_names_the_argument(call, argument):
    with pytest.raises(InputError) as caught:
        call()
    assert caught.value.argument == argument
    assert caught.value.found and caught.value.remedy.endswith(".")


def test_an_affinity_is_oriented_by_its_dims():
    values = np.array([[1.0, 2.0], [3.0, 4.0]])
    affinity = make_affinity(values, ["a", "b"], method="test")
    assert np.array_equal(check_affinity(affinity.transpose("source", "target")), values)
    shuffled = affinity.isel(source=[1, 0])
    with pytest.raises(InputError, match="one order"):
        check_affinity(shuffled)


def test_scores_are_nan_outside_the_subset():
    scores = make_scores({"score": np.ones((2, 3))}, np.array([[1, 1, 0], [0, 0, 1]]), list("abc"), seed=3)
    assert np.array_equal(scores.score.isnull(), ~scores.member)
    assert scores.attrs["seed"] == 3


def test_streams_of_a_seed_are_apart_and_repeat():
    assert derive(0, "a") != derive(0, "b") != derive(1, "b")
    assert derive(5, "a", 1) == derive(5, "a", 1)
    assert numpy_generator(0, "x").random() == numpy_generator(0, "x").random()
    first, second = torch_generator(0, "x"), torch_generator(0, "y")
    assert first.initial_seed() != second.initial_seed()


def test_seeded_leaves_the_global_generator_alone():
    import torch

    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    with seeded(0, "initialisation"):
        torch.rand(5)
    assert torch.equal(torch.rand(2), expected)
