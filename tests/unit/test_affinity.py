import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

from taskgroup_core.affinity.full_training import FullTraining
from taskgroup_core.affinity.grad_tae import GradTAE, meta_initialisations
from taskgroup_core.affinity.higher_order import higher_order_affinity
from taskgroup_core.affinity.pairwise import pairwise_affinity
from taskgroup_core.affinity.subset_regression import logistic_regression
from taskgroup_core.errors import InputError
from taskgroup_core.matrices import make_scores
from taskgroup_core.problems.problem import Problem
from taskgroup_core.subsets import pairs, sample_subsets, singletons
from taskgroup_core.training.recipe import Recipe
from tests.small import small_problem

NAMES = list("abcdef")


def random_scores(subsets, seed=0):
    values = np.random.default_rng(seed).normal(size=subsets.shape)
    return make_scores({"score": values}, subsets, NAMES)["score"]


def test_pairwise_affinity_reads_the_target_off_each_pair():
    scores = random_scores(pairs(6))
    affinity = pairwise_affinity(scores)
    for row, subset in zip(scores.values, pairs(6), strict=True):
        i, j = np.flatnonzero(subset)[[0, -1]]
        assert affinity.values[i, j] == row[i] and affinity.values[j, i] == row[j]


def test_copies_of_a_pair_count_as_their_mean_in_any_order():
    subsets = np.concatenate([pairs(6), pairs(6)[3:12], pairs(6)[:5]])
    scores = random_scores(subsets)
    affinity = pairwise_affinity(scores).values
    for i in range(6):
        for j in range(6):
            pair = np.isin(range(6), (i, j))
            copies = scores.values[(subsets == pair).all(axis=1)]
            assert affinity[i, j] == pytest.approx(copies[:, i].mean())
    turned = scores[np.random.default_rng(1).permutation(len(subsets))]
    assert np.allclose(pairwise_affinity(turned).values, affinity, rtol=1e-15)


def test_higher_order_affinity_is_equation_1():
    subsets = sample_subsets(6, 3, 40, seed=1)
    scores = random_scores(subsets)
    affinity = higher_order_affinity(scores).values
    for i in range(6):
        for j in range(6):
            both = [row[i] for row, subset in zip(scores.values, subsets, strict=True) if subset[i] and subset[j]]
            assert affinity[i, j] == pytest.approx(np.mean(both))


def test_relabelled_tasks_give_the_relabelled_affinity():
    subsets, order = sample_subsets(6, 3, 40, seed=1), np.array([3, 1, 5, 0, 2, 4])
    scores = random_scores(subsets)
    relabelled = make_scores({"score": scores.values[:, order]}, subsets[:, order], [NAMES[i] for i in order])["score"]
    for affinity in (higher_order_affinity,):
        assert np.allclose(affinity(relabelled).values, affinity(scores).values[np.ix_(order, order)])


def test_a_pair_never_sampled_is_nan_and_a_missing_pair_is_an_error():
    affinity = higher_order_affinity(random_scores(np.array([[1, 1, 0, 0, 0, 0], [0, 0, 1, 1, 1, 1]])))
    assert np.isnan(affinity.values[0, 2]) and np.isfinite(affinity.values[2, 5])
    with pytest.raises(InputError, match="no subset"):
        pairwise_affinity(random_scores(pairs(6)[:-1]))
    with pytest.raises(InputError, match="more than two"):
        pairwise_affinity(random_scores(sample_subsets(6, 3, 4, 0)))


@pytest.fixture
def regression_case():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(120, 7, generator=generator, dtype=torch.float64)
    label = features @ torch.randn(7, generator=generator, dtype=torch.float64) > torch.randn(120, generator=generator)
    return features, label.double(), torch.randn(120, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("C", [0.01, 1.0, 100.0])
def test_regression_without_offset_is_scikit_learns(regression_case, C):
    features, label, _ = regression_case
    ours = logistic_regression(features, label, torch.zeros(120, dtype=torch.float64), C)
    reference = LogisticRegression(C=C, fit_intercept=False, solver="newton-cholesky", tol=1e-12).fit(features, label)
    assert ours.solution.numpy() == pytest.approx(reference.coef_[0], rel=1e-5)
    assert ours.converged and ours.gradient_norm <= 1e-8 and "minimum found" in ours.status


@pytest.mark.parametrize("C", [0.5, np.inf])
def test_regression_with_offset_is_equation_3(regression_case, C):
    features, label, offset = (x.numpy() for x in regression_case)
    y, b = 2 * label - 1, -(2 * label - 1) * offset

    def equation_3(w):  # b_i = -y_i f(x_i), as the paper writes it
        return np.logaddexp(0, -y * (features @ w) + b).mean() + w @ w / (2 * C * len(y))

    reference = minimize(equation_3, np.zeros(7), method="BFGS", options={"gtol": 1e-9})
    ours = logistic_regression(*regression_case, C)
    assert ours.solution.numpy() == pytest.approx(reference.x, abs=1e-5)
    assert ours.objective == pytest.approx(reference.fun, rel=1e-10)


def test_separable_rows_have_no_minimum_without_a_penalty(regression_case):
    features, _, offset = regression_case
    label = (features[:, 0] > 0).double()
    free = logistic_regression(features, label, offset, np.inf)
    assert not free.converged and "use a finite C" in free.status
    assert logistic_regression(features, label, offset, 100.0).converged


def test_a_regression_of_one_row_and_of_duplicated_rows(regression_case):
    features, label, offset = regression_case
    one = logistic_regression(features[:1], label[:1], offset[:1], 1.0)
    twice = logistic_regression(
        torch.cat([features] * 2), torch.cat([label] * 2), torch.cat([offset] * 2), 0.5
    )  # C counts against the summed loss
    assert one.converged
    assert torch.allclose(twice.solution, logistic_regression(features, label, offset, 1.0).solution, atol=1e-8)


@pytest.mark.parametrize(
    ("change", "argument"),
    [
        ({"C": 0.0}, "C"),
        ({"C": float("nan")}, "C"),
        ({"label": torch.full((120,), 2.0, dtype=torch.float64)}, "label"),
        ({"features": torch.full((120, 7), torch.nan, dtype=torch.float64)}, "features, offset, label"),
        ({"features": torch.zeros(120, 7)}, "features"),
        ({"label": torch.zeros(119, dtype=torch.float64)}, "offset, label"),
    ],
)
def test_regression_refuses_bad_input(regression_case, change, argument):
    features, label, offset = regression_case
    with pytest.raises(InputError) as caught:
        logistic_regression(**{"features": features, "label": label, "offset": offset, "C": 1.0, **change})
    assert caught.value.argument == argument


def test_grad_tae_without_projection_on_a_linear_model_is_direct_logistic_regression():
    problem = small_problem()
    meta, flops = meta_initialisations(problem, Recipe(epochs=3), 1, 0, "cpu")
    subsets = sample_subsets(4, 2, 5, 0)
    # With the offset, the linear model's regression in W - theta* is the direct one in W: with a weak penalty both
    # reach the unpenalised minimum, task by task, because a linear model shares nothing between its tasks.
    estimate = GradTAE(problem, meta, dimension=None, C=1e7, device="cpu", meta_flops=sum(flops))
    scores = estimate.scores(subsets)
    for row, subset in enumerate(subsets):
        for task in np.flatnonzero(subset):
            train, val = problem.train.of_tasks([task]), problem.val.of_tasks([task])
            direct = LogisticRegression(C=1e7, fit_intercept=False, tol=1e-10)
            direct.fit(problem.inputs[train.input_index].numpy(), train.label.numpy())
            proba = direct.predict_proba(problem.inputs[val.input_index].numpy())[:, 1]
            loss = np.where(val.label == 1, -np.log(proba), -np.log1p(-proba)).mean()
            assert -scores.negative_loss.values[row, task] == pytest.approx(loss, rel=1e-4)
    assert estimate.unconverged == 0 and estimate.flops > sum(flops)


def test_grad_tae_is_algorithm_1_done_slowly():
    problem = small_problem("sign")
    meta, _ = meta_initialisations(problem, Recipe(epochs=3), 2, 0, "cpu")
    estimator = GradTAE(problem, meta, dimension=12, C=0.7, seed=4, device="cpu")
    subsets = np.vstack([singletons(4)[:1], sample_subsets(4, 3, 2, 0)])
    ours = estimator.scores(subsets)
    for row, subset in enumerate(subsets):
        expected = np.zeros((2, 4))
        for k, network in enumerate(meta):
            matrix = torch.cat([b for _, b in estimator._linearised[k].projection.blocks(torch.zeros(1))], dim=1)
            features, labels, offsets = [], [], []
            for x, t, y in zip(problem.train.input_index, problem.train.task_index, problem.train.label, strict=True):
                if subset[t]:
                    network.zero_grad()
                    output = network(problem.inputs[x][None])[0, t]
                    output.backward()
                    gradient = torch.cat([p.grad.reshape(-1) for p in network.parameters()])
                    features.append(gradient @ matrix)
                    labels.append(y)
                    offsets.append(output.detach())
            rows = torch.stack(features).double(), torch.stack(labels).double(), torch.stack(offsets).double()
            solution = logistic_regression(*rows, 0.7).solution
            lifted = matrix @ solution.float()
            moved = problem.network(0)
            moved.load_state_dict(network.state_dict())
            torch.nn.utils.vector_to_parameters(
                torch.nn.utils.parameters_to_vector(moved.parameters()) + lifted, moved.parameters()
            )
            moved.eval()
            for task in np.flatnonzero(subset):
                val = problem.val.of_tasks([task])
                logits = moved(problem.inputs[val.input_index])[:, task].detach()
                loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, val.label)
                expected[k, task] = -float(loss)
        member = np.flatnonzero(subset)
        assert ours.negative_loss.values[row, member] == pytest.approx(expected.mean(axis=0)[member], rel=1e-4)


def test_grad_tae_repeats_and_depends_on_its_seed():
    problem = small_problem("sign")
    meta, _ = meta_initialisations(problem, Recipe(epochs=2), 1, 0, "cpu")
    subsets = sample_subsets(4, 2, 3, 0)
    first, second, other = (
        GradTAE(problem, meta, dimension=5, seed=seed, device="cpu").scores(subsets) for seed in (0, 0, 1)
    )
    assert first.equals(second) and not first.equals(other)


def test_the_offset_matters_and_relabelling_does_not():
    problem = small_problem()
    meta, _ = meta_initialisations(problem, Recipe(epochs=3), 1, 0, "cpu")
    subsets = np.array([[1, 1, 0, 0], [0, 1, 1, 1]], dtype=bool)
    given = {"dimension": None, "C": 0.1, "device": "cpu"}
    plain = GradTAE(problem, meta, **given).scores(subsets)
    assert not plain.equals(GradTAE(problem, meta, offset=False, **given).scores(subsets))
    order = [2, 0, 3, 1]
    place = torch.tensor(np.argsort(order))

    def relabel(examples):
        return type(examples)(examples.input_index, place[examples.task_index], examples.label)

    tasks = tuple(problem.tasks[i] for i in order)
    splits = (relabel(getattr(problem, split)) for split in ("train", "val", "test"))
    other = Problem("relabelled", tasks, problem.inputs, *splits, problem.build)
    network = other.build()
    network.weight.data = meta[0].weight.data[order]
    moved = GradTAE(other, [network.eval()], **given).scores(subsets[:, order])
    assert np.allclose(moved.negative_loss.values, plain.negative_loss.values[:, order], equal_nan=True, atol=1e-6)


def test_grad_tae_refuses_what_it_cannot_do():
    problem = small_problem()
    with pytest.raises(InputError, match="no network"):
        GradTAE(problem, [], device="cpu")
    with pytest.raises(InputError, match="at least one"):
        meta_initialisations(problem, Recipe(), 0, 0)


def test_full_training_gives_every_member_a_score():
    problem = small_problem()
    scores = FullTraining(problem, Recipe(epochs=2), 0, "cpu").scores(pairs(4))
    affinity = pairwise_affinity(scores["score"])
    assert affinity.dims == ("target", "source") and np.isfinite(affinity.values).all()
