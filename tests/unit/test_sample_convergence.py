from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch

from taskgroup_core.affinity.affinity_trace import AffinityTrace
from taskgroup_core.affinity.sample_convergence import SampleConvergenceAffinity
from taskgroup_core.affinity.sample_gradients import l1_distances
from taskgroup_core.errors import InputError
from taskgroup_core.examples import Examples
from taskgroup_core.problems.problem import Problem
from taskgroup_core.tasks import Task
from taskgroup_core.training.fit import fit
from taskgroup_core.training.joint import joint_steps, joint_training
from taskgroup_core.training.recipe import Recipe
from taskgroup_core.training.reptile import ReptileRecipe, reptile
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
    rows, labels = estimator._drawn(problem)
    for task in range(4):
        own = problem.train.of_tasks([task])
        known = dict(zip(own.input_index.tolist(), own.label.tolist(), strict=True))
        assert [known[row] for row in rows[:, task].tolist()] == labels[:, task].tolist()
        assert len(set(rows[:, task].tolist())) == 7
    samples = list(zip(rows.tolist(), labels, strict=True))
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


def classes_problem(*widths: int) -> Problem:
    """Tasks of `widths` classes each (1: binary) on 40 inputs, and a hidden layer that they share."""
    generator = torch.Generator().manual_seed(5)
    inputs = torch.randn(40, 3, generator=generator, dtype=torch.float64)
    rows, tasks = torch.ones(40, len(widths)).nonzero(as_tuple=True)
    labels = (rows + tasks * (rows % 3)) % torch.tensor([max(2, width) for width in widths])[tasks]
    made = [
        Task(f"t{k}") if width == 1 else Task(f"t{k}", "multiclass", "accuracy", width)
        for k, width in enumerate(widths)
    ]
    examples = Examples(rows, tasks, labels.double())

    def build() -> torch.nn.Module:
        return torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.Tanh(), torch.nn.Linear(5, sum(widths))).double()

    return Problem("classes", tuple(made), inputs, examples, examples, examples, build)


@pytest.mark.parametrize("equal", [False, True])
def test_tasks_of_several_classes_equal_plain_loops(equal):
    widths = (3, 3) if equal else (3, 1, 4)
    problem = classes_problem(*widths)
    estimator = SampleConvergenceAffinity(40, 0, "cpu", learning_rate=1.0, equal_heads=equal)
    estimator.affinity(problem)
    network = problem.network(0)
    if equal:
        with torch.no_grad():
            network[2].weight[3:] = network[2].weight[:3]
            network[2].bias[3:] = network[2].bias[:3]
    labels, total = problem.table("train")[1], np.zeros((len(widths), len(widths)))
    starts = np.cumsum((0, *widths))
    for row in range(40):
        gradients = []
        for task, width in enumerate(widths):
            network.zero_grad()
            output = network(problem.inputs[row])[starts[task] : starts[task] + width]
            if width == 1:
                loss = torch.nn.functional.binary_cross_entropy_with_logits(output[0], labels[row, task])
            else:
                loss = torch.nn.functional.cross_entropy(output, labels[row, task].long())
            loss.backward()
            gradients.append(np.concatenate([network[0].weight.grad.flatten(), network[0].bias.grad]))
        total += [[np.abs(a - b).sum() for b in gradients] for a in gradients]
    assert np.allclose(estimator.distances_.values, total / 40, rtol=1e-9)


def test_equal_heads_of_classes_and_equal_labels_are_no_distance():
    base = classes_problem(3, 3)
    label = base.train.label.clone().view(40, 2)
    label[:, 1] = label[:, 0]
    same = Examples(base.train.input_index, base.train.task_index, label.flatten())
    problem = Problem("same", base.tasks, base.inputs, same, same, same, base.build)
    assert SampleConvergenceAffinity(40, 0, "cpu", equal_heads=True).affinity(problem).values.min() == 1
    assert SampleConvergenceAffinity(40, 0, "cpu").affinity(problem).values.min() == 0


def test_heads_of_different_sizes_cannot_be_equal():
    with pytest.raises(InputError, match="equal_heads: found True, with tasks of"):
        SampleConvergenceAffinity(10, 0, "cpu", equal_heads=True).affinity(classes_problem(1, 3))


def test_distances_within_sets_and_their_rounding():
    points = torch.randn(3, 5, 700, generator=torch.Generator().manual_seed(0))
    points[1, 2] = points[1, 1] * (1 + torch.finfo(torch.float32).eps)
    expected = (points[:, :, None] - points[:, None]).double().abs().sum(-1)
    assert 0 < expected[1, 1, 2] < 1e-3
    expected[1, [1, 2], [2, 1]] = 0
    torch.testing.assert_close(l1_distances(points).double(), expected, rtol=1e-5, atol=0)
    assert l1_distances(points[:, :1]).tolist() == [[[0.0]]] * 3


def test_a_budget_of_memory_does_not_change_the_distances(monkeypatch):
    problem = perceptron_problem()
    whole, parts = (SampleConvergenceAffinity(12, 0, "cpu") for _ in range(2))
    whole.affinity(problem)
    monkeypatch.setattr("taskgroup_core.affinity.sample_convergence._FLOATS_AT_ONCE", 1000)
    parts.affinity(problem)
    assert np.allclose(whole.distances_.values, parts.distances_.values, rtol=1e-12)


def test_scores_along_joint_training_are_those_of_the_network_at_each_moment():
    problem, recipe = perceptron_problem(), Recipe(epochs=3, batch_size=20)
    estimator = SampleConvergenceAffinity(12, 0, "cpu")
    trace, seen = AffinityTrace(estimator, problem), []

    def observe(moment):
        seen.append(deepcopy(moment.network).eval())
        trace.observe(moment.step, moment.network)
        assert moment.network.training

    fitted = joint_training(problem, recipe, 0, "cpu", observe=observe, every=4)
    trace.observe(joint_steps(problem, recipe), fitted.network)
    result = trace.result()
    assert result.dims == ("step", "target", "source")
    assert result.step.values.tolist() == [*range(0, joint_steps(problem, recipe), 4), joint_steps(problem, recipe)]
    for matrix, network in zip(result.values, [*seen, fitted.network], strict=True):
        assert np.array_equal(matrix, estimator.affinity(problem, network).values)
    assert np.array_equal(result.values[0], estimator.affinity(problem).values)
    assert not np.allclose(result.values[0], result.values[-1], atol=0.01)
    # Looking on changes nothing about the training.
    alone = joint_training(problem, recipe, 0, "cpu").network
    assert all(torch.equal(a, b) for a, b in zip(alone.parameters(), fitted.network.parameters(), strict=True))


def test_scores_along_reptile():
    problem, recipe = perceptron_problem(), ReptileRecipe(rounds=5, inner_steps=3, outer_rate=1.0)
    trace = AffinityTrace(SampleConvergenceAffinity(12, 0, "cpu"), problem)
    fitted = reptile(problem, recipe, 0, "cpu", observe=trace.observe, every=2)
    result = trace.result()
    assert result.step.values.tolist() == [0, 2, 4, 5]
    assert np.array_equal(result.values[-1], trace.estimator.affinity(problem, fitted.network).values)


def test_a_trace_without_a_moment():
    with pytest.raises(InputError, match="trace"):
        AffinityTrace(SampleConvergenceAffinity(), perceptron_problem()).result()
