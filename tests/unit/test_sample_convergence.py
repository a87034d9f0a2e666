from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch

from taskgroup_core.affinity.sample_convergence import SampleConvergenceAffinity
from taskgroup_core.errors import InputError
from taskgroup_core.training.fit import Recipe, fit
from tests.estimators import perceptron_problem, quadratic_problem, random_quadratics, relabelled, shared_weight
from tests.small import small_problem

SHARED = ("0.weight", "0.bias")


def optimum(problem, network, row, label, task, rate):
    """Eq. (1) with a step size: the shared parameters after one step of SGD on one sample."""
    moved = deepcopy(network)
    output = moved(problem.inputs[row][None])[0, task]
    torch.nn.functional.binary_cross_entropy_with_logits(output, label.to(output)).backward()
    torch.optim.SGD(moved.parameters(), rate).step()
    named = dict(moved.named_parameters())
    return [named[name].detach() for name in SHARED]


def slow_distances(problem, network, samples, rate):
    """Eq. (16) over `samples`, (row, labels) pairs: an (n, n) sum over tensors, and its parts."""
    total, count = np.zeros((len(SHARED), 4, 4)), np.zeros((4, 4))
    for rows, labels in samples:
        tasks = [task for task in range(4) if not labels[task].isnan()]
        optima = {task: optimum(problem, network, rows[task], labels[task], task, rate) for task in tasks}
        for i in tasks:
            for j in tasks:
                count[i, j] += 1
                for k in range(len(SHARED)):
                    total[k, i, j] += float((optima[i][k] - optima[j][k]).abs().sum())
    return total / count


@pytest.mark.parametrize("rate", [0.01, 0.5])
def test_distances_of_shared_samples_equal_plain_loops(rate):
    problem = perceptron_problem()
    used, labels = problem.table("train")
    several = ((~labels.isnan()).sum(dim=1) >= 2).nonzero()[:, 0]
    # All inputs with two labels or more: which N are drawn is then known.
    estimator = SampleConvergenceAffinity(len(several), 0, "cpu", learning_rate=rate)
    affinity = estimator.affinity(problem).values
    samples = [([int(used[row])] * 4, labels[row]) for row in several]
    expected = slow_distances(problem, problem.network(0), samples, rate)
    assert np.allclose(estimator.tensor_distances_.values, expected, rtol=1e-9)
    total = expected.sum(axis=0)
    assert np.allclose(estimator.distances_.values, total, rtol=1e-9)
    assert np.allclose(affinity, 1 - total / total.max(axis=1, keepdims=True), atol=1e-9)
    assert estimator.tensor_distances_.dims == ("tensor", "target", "source")


def test_distances_of_own_samples_equal_plain_loops():
    problem = perceptron_problem()
    estimator = SampleConvergenceAffinity(7, 0, "cpu", inputs="own")
    estimator.affinity(problem)
    samples = []
    for rows, labels in estimator._batches(problem):
        assert all(bool((rows[t] == problem.train.of_tasks([t]).input_index).any()) for t in range(4))
        samples.append((rows.tolist(), labels.diagonal()))
    expected = slow_distances(problem, problem.network(0), samples, 0.01)
    assert np.allclose(estimator.tensor_distances_.values, expected, rtol=1e-9)


def test_quadratics_have_a_closed_form():
    problem, inputs, labels, network = random_quadratics()
    estimator = SampleConvergenceAffinity(20, 0, "cpu", shared=shared_weight, learning_rate=0.3)
    estimator.affinity(problem)
    residual = (network(inputs) - labels).detach().numpy()
    size = np.abs(inputs.numpy()).sum(axis=1)
    for i in range(3):
        for j in range(3):
            expected = (0.3 * 2 * np.abs(residual[:, i] - residual[:, j]) * size).mean()
            assert estimator.distances_.values[i, j] == pytest.approx(expected, rel=1e-9)


def test_neither_the_learning_rate_nor_the_division_by_tensors_changes_the_affinity():
    problem = small_problem("sign")
    plain = SampleConvergenceAffinity(20, 0, "cpu")
    affinity = plain.affinity(problem).values
    for change in ({"learning_rate": 1e-6}, {"learning_rate": 10.0}, {"per_tensor": True}):
        other = SampleConvergenceAffinity(20, 0, "cpu", **change)
        assert np.allclose(other.affinity(problem).values, affinity, atol=1e-12)
        assert not np.allclose(other.distances_.values, plain.distances_.values)
    tensors = len(plain.tensor_distances_.tensor)
    assert np.allclose(other.distances_.values * tensors, plain.distances_.values)


def test_each_row_ends_at_one_and_zero():
    estimator = SampleConvergenceAffinity(30, 0, "cpu")
    affinity = estimator.affinity(small_problem("sign")).values
    assert np.array_equal(np.diag(affinity), np.ones(4)) and np.array_equal(affinity.min(axis=1), np.zeros(4))
    assert np.allclose(estimator.distances_.values, estimator.distances_.values.T)
    assert not np.allclose(affinity, affinity.T)


def test_equal_heads_and_equal_labels_are_no_distance_at_all():
    labels = random_quadratics()[2]
    base = perceptron_problem()
    same = quadratic_problem(base.inputs[:20], labels[:, :1].expand(20, 4).clone(), base.build)
    apart, equal = (SampleConvergenceAffinity(20, 0, "cpu", equal_heads=heads) for heads in (False, True))
    assert np.array_equal(equal.affinity(same).values, np.ones((4, 4)))
    assert apart.affinity(same).values.min() == 0


def test_with_equal_heads_and_binary_labels_the_distance_counts_disagreeing_labels():
    problem = small_problem("sign")
    network = problem.network(0)
    with torch.no_grad():
        for value in (network.heads[-1].weight, network.heads[-1].bias):
            value.copy_(value[:1].expand_as(value).clone())
    network.eval()
    used, labels = problem.table("train")
    several = (~labels.isnan()).sum(dim=1) >= 2
    estimator = SampleConvergenceAffinity(int(several.sum()), 0, "cpu", equal_heads=True)
    estimator.affinity(problem)
    sizes = []
    for row in used[several]:
        network.zero_grad()
        network(problem.inputs[row][None])[0, 0].backward()
        shared = [value for name, value in network.named_parameters() if not name.startswith("heads.3")]
        sizes.append(sum(float(value.grad.abs().sum()) for value in shared))
    known = labels[several]
    for i, j in ((0, 1), (0, 2), (1, 3)):
        both = ~(known[:, i] + known[:, j]).isnan()
        differ = (known[both, i] != known[both, j]).double() @ torch.tensor(sizes, dtype=torch.float64)[both]
        expected = 0.01 * float(differ) / int(both.sum())
        assert estimator.distances_.values[i, j] == pytest.approx(expected, rel=1e-4)


def test_a_trained_network_has_other_scores_and_is_left_unchanged():
    problem = small_problem("sign")
    trained = fit(problem, range(4), Recipe(epochs=3), 0, "cpu").network
    before = deepcopy(trained.state_dict())
    estimator = SampleConvergenceAffinity(20, 0, "cpu")
    assert not np.allclose(estimator.affinity(problem, trained).values, estimator.affinity(problem).values)
    assert all(torch.equal(value, before[name]) for name, value in trained.state_dict().items())


def test_seeds_and_relabelled_tasks():
    problem, order = perceptron_problem(), [2, 0, 3, 1]
    for inputs in ("same", "own"):
        first, second, other = (
            SampleConvergenceAffinity(12, seed, "cpu", inputs=inputs).affinity(problem).values for seed in (0, 0, 1)
        )
        assert np.array_equal(first, second) and not np.array_equal(first, other)
        moved = SampleConvergenceAffinity(12, 0, "cpu", inputs=inputs).affinity(relabelled(problem, order)).values
        assert np.allclose(moved, first[np.ix_(order, order)], atol=1e-10)


def test_float32_and_float64_agree():
    double, single = (
        SampleConvergenceAffinity(12, 0, "cpu").affinity(perceptron_problem(dtype)).values
        for dtype in (torch.float64, torch.float32)
    )
    assert np.allclose(double, single, atol=1e-4)


def test_tasks_that_share_no_input_need_inputs_of_their_own():
    problem, inputs, labels, _ = random_quadratics()
    apart = torch.full((20, 3), torch.nan, dtype=torch.float64)
    for task in range(3):
        apart[task::3, task] = labels[task::3, task]
    apart[0] = labels[0]
    apart[0, 2] = torch.nan
    disjoint = quadratic_problem(inputs, apart, problem.build)
    with pytest.raises(InputError, match="no sampled input with labels for both"):
        SampleConvergenceAffinity(1, 0, "cpu", shared=shared_weight).affinity(disjoint)
    values = SampleConvergenceAffinity(6, 0, "cpu", shared=shared_weight, inputs="own").affinity(disjoint).values
    assert np.isfinite(values).all()
