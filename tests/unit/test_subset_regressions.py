import math
from itertools import combinations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression, Ridge

from taskgroup_core.affinity import subset_regressions as module
from taskgroup_core.affinity.newton import newton
from taskgroup_core.affinity.subset_regression import logistic_regression
from taskgroup_core.affinity.subset_regressions import TaskRows, subset_regressions
from taskgroup_core.subsets import membership, sample_subsets

DIMENSION = 6


def task(kind, seed, count=40, classes=3, offset=True, scale=1.0):
    """Rows of a task whose labels depend on features and offset, with noise; directions differ in scale."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    outputs = classes if kind == "multiclass" else 1
    features = scale * normal(count, outputs, DIMENSION) * torch.logspace(0, -2, DIMENSION)
    start = normal(count, outputs) * offset
    value = start + features @ normal(DIMENSION) * 2 + normal(count, outputs)
    label = {"binary": value[:, 0] > 0, "multiclass": value.argmax(dim=1), "regression": value[:, 0]}[kind]
    return TaskRows(kind, features, start, label.double())


@pytest.fixture
def binary():
    return [task("binary", seed, 30 + 5 * seed) for seed in range(5)]


@pytest.fixture
def mixed():
    kinds = ("binary", "multiclass", "regression", "binary", "multiclass")
    return [task(kind, seed, 30 + 5 * seed, 2 + seed) for seed, kind in enumerate(kinds)]


def stacked(rows, member):
    """Rows of a subset's binary or regression tasks, as numpy arrays."""
    chosen = [row for row, there in zip(rows, member, strict=True) if there]
    return [torch.cat(parts).numpy() for parts in zip(*((r.features[:, 0], r.label) for r in chosen), strict=True)]


def plain_objective(rows, member, C):
    """The definition, one example after the other, by numpy."""
    examples = [
        (row.kind, features.numpy(), offset.numpy(), float(label))
        for row, there in zip(rows, member, strict=True)
        if there
        for features, offset, label in zip(row.features, row.offset, row.label, strict=True)
    ]

    def objective(w):
        total = w @ w / (2 * C)
        for kind, features, offset, label in examples:
            output = offset + features @ w
            if kind == "binary":
                total += np.logaddexp(0, -(2 * label - 1) * output[0])
            elif kind == "regression":
                total += (output[0] - label) ** 2
            else:
                total += np.log(np.exp(output - output[int(label)]).sum())
        return total / len(examples)

    return objective


def relative_error(found, reference):
    return np.abs(np.asarray(found) - reference).max() / np.abs(reference).max()


@pytest.mark.parametrize("C", [0.01, 1.0, 100.0])
def test_binary_without_offset_is_scikit_learns(C):
    rows = [task("binary", seed, offset=False) for seed in range(6)]
    subsets = sample_subsets(6, 3, 8, 0)
    ours = subset_regressions(rows, subsets, C)
    for member, solution in zip(subsets, ours.solutions, strict=True):
        tight = LogisticRegression(C=C, fit_intercept=False, solver="newton-cholesky", tol=1e-12)
        assert relative_error(solution, tight.fit(*stacked(rows, member)).coef_[0]) < 1e-5
    assert ours.converged.all() and "all 8 minima" in ours.status and ours.flops > 0


def test_binary_with_offset_is_the_regression_of_one_subset(binary):
    subsets = membership([[0], [1, 3], [0, 1, 2, 3, 4]], 5)
    ours = subset_regressions(binary, subsets, 2.0)
    for index, member in enumerate(subsets):
        features, label = map(torch.from_numpy, stacked(binary, member))
        offset = torch.cat([row.offset[:, 0] for row, there in zip(binary, member, strict=True) if there])
        one = logistic_regression(features, label, offset, 2.0, tolerance=1e-12)
        assert relative_error(ours.solutions[index], one.solution.numpy()) < 1e-5
        assert float(ours.objective[index]) == pytest.approx(one.objective, rel=1e-9)
        bound = float(ours.gradient_norm[index]) * 2.0 * len(label)
        assert float((ours.solutions[index] - one.solution).norm()) <= bound + 1e-9


def test_squared_errors_have_the_closed_form():
    rows = [task("regression", seed, offset=False) for seed in range(3)]
    subsets = membership([[0], [0, 2], [0, 1, 2]], 3)
    for C in (0.1, 10.0):
        ours = subset_regressions(rows, subsets, C)
        for member, solution in zip(subsets, ours.solutions, strict=True):
            ridge = Ridge(alpha=1 / (2 * C), fit_intercept=False).fit(*stacked(rows, member))
            assert relative_error(solution, ridge.coef_) < 1e-5


@pytest.mark.parametrize("C", [0.3, 30.0])
def test_mixed_kinds_reach_the_minimum_of_the_definition(mixed, C):
    subsets = membership([[1], [0, 2], [1, 4], [0, 1, 2, 3, 4]], 5)
    ours = subset_regressions(mixed, subsets, C)
    for index, member in enumerate(subsets):
        objective = plain_objective(mixed, member, C)
        reference = minimize(objective, np.zeros(DIMENSION), method="BFGS", options={"gtol": 1e-8})
        assert float(ours.objective[index]) == pytest.approx(reference.fun, rel=1e-9)
        assert objective(ours.solutions[index].numpy()) == pytest.approx(float(ours.objective[index]), rel=1e-12)
        assert relative_error(ours.solutions[index], reference.x) < 1e-3  # finite differences see no further


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
@pytest.mark.parametrize("C", [0.01, 1.0, 1e4])
def test_the_default_tolerance_keeps_five_digits_at_any_scale(scale, C):
    kinds = ("binary", "multiclass", "regression")
    rows = [task(kinds[seed % 3], seed, scale=scale) for seed in range(9)]
    subsets = sample_subsets(9, 3, 12, 0)
    ours = subset_regressions(rows, subsets, C)
    assert ours.converged.all()
    for member, solution in zip(subsets, ours.solutions, strict=True):
        chosen = [row for row, there in zip(rows, member, strict=True) if there]
        tight = newton(chosen, 1 / (C * sum(map(len, chosen))), 1e-10, 50).solution
        assert relative_error(solution, tight.numpy()) < 1e-5


@pytest.mark.parametrize("seed", range(5))
def test_few_rows_of_several_classes_without_a_penalty_have_no_minimum_and_say_so(seed):
    """Softmax's Hessian is a difference: by rounding it had a negative eigenvalue, and no factor."""
    generator = torch.Generator().manual_seed(seed)
    features, offset = (torch.randn(5, 3, *more, generator=generator, dtype=torch.float64) for more in ((8,), ()))
    rows = TaskRows("multiclass", features, offset, torch.randint(3, (5,), generator=generator).double())
    ours = subset_regressions([rows], membership([[0]], 1), math.inf)
    assert not ours.converged.any() and "no minimum found for 1 of 1" in ours.status
    assert ours.solutions.isfinite().all() and ours.objective[0] < 1e-9


def test_order_of_tasks_and_subsets_does_not_matter_and_duplicates_agree(mixed):
    subsets = membership([[0, 1], [2, 3, 4], [0, 1], [1]], 5)
    ours = subset_regressions(mixed, subsets)
    assert torch.equal(ours.solutions[0], ours.solutions[2]) and torch.equal(ours.iterations[0], ours.iterations[2])
    assert ours.flops == subset_regressions(mixed, subsets[[0, 1, 3]]).flops
    tasks, order = [4, 2, 0, 1, 3], [3, 0, 2, 1]
    turned = subset_regressions([mixed[index] for index in tasks], subsets[order][:, tasks])
    assert torch.allclose(turned.solutions, ours.solutions[order], rtol=0, atol=1e-5)


def test_tasks_outside_all_subsets_play_no_part(mixed):
    subsets = membership([[0, 1], [1, 2]], 5)
    assert torch.equal(
        subset_regressions(mixed, subsets).solutions, subset_regressions(mixed[:3], subsets[:, :3]).solutions
    )


def test_the_same_call_gives_the_same_bits_and_leaves_its_input_alone(mixed):
    subsets, before = sample_subsets(5, 2, 12, 1), [row.offset.clone() for row in mixed]
    first, second = (subset_regressions(mixed, subsets) for _ in range(2))
    assert torch.equal(first.solutions, second.solutions) and torch.equal(first.objective, second.objective)
    assert all(torch.equal(row.offset, old) for row, old in zip(mixed, before, strict=True))


def test_blocks_of_subsets_change_nothing_that_counts(mixed, monkeypatch):
    subsets = membership(combinations(range(5), 2), 5)
    whole = subset_regressions(mixed, subsets)
    monkeypatch.setattr(module, "BLOCK_BYTES", 3 * 4 * DIMENSION**2)
    assert torch.allclose(subset_regressions(mixed, subsets).solutions, whole.solutions, rtol=0, atol=1e-5)


@pytest.mark.parametrize("idle", [("Descent",), ("Descent", "SubsetNewton")])
def test_subsets_that_one_method_leaves_are_finished_by_the_next(mixed, idle, monkeypatch):
    subsets = membership(combinations(range(5), 2), 5)
    whole = subset_regressions(mixed, subsets)
    for name in idle:
        monkeypatch.setattr(getattr(module, name), "run", lambda *_: None)
    if len(idle) == 1:
        monkeypatch.setattr(module, "newton", None)  # not needed then
    assert torch.allclose(subset_regressions(mixed, subsets).solutions, whole.solutions, rtol=0, atol=1e-5)


@pytest.fixture
def nearly_separated():
    """Two tasks have fewer rows than dimensions; the Hessian at the joint solution tells little about theirs."""
    generator = torch.Generator().manual_seed(3)
    rows = []
    for _ in range(20):
        features = 100 * torch.randn(12, 1, 30, generator=generator, dtype=torch.float64)
        features *= torch.randn(12, 1, 1, generator=generator, dtype=torch.float64).exp()
        label = (torch.rand(12, generator=generator) < 0.2).double()
        rows.append(TaskRows("binary", features, torch.zeros(12, 1, dtype=torch.float64), label))
    return rows


@pytest.mark.parametrize("C", [0.01, 1.0, 100.0])
def test_nearly_separated_labels_keep_five_digits(nearly_separated, C, monkeypatch):
    finished, run = [], module.SubsetNewton.run

    def watched(self, *given):
        run(self, *given)
        finished.append(int(self.converged.sum()))

    monkeypatch.setattr(module.SubsetNewton, "run", watched)
    subsets = sample_subsets(20, 2, 30, 0)
    ours = subset_regressions(nearly_separated, subsets, C)
    assert ours.converged.all() and sum(finished) > 0
    for member, solution in zip(subsets, ours.solutions, strict=True):
        chosen = [row for row, there in zip(nearly_separated, member, strict=True) if there]
        tight = newton(chosen, 1 / (C * sum(map(len, chosen))), 1e-13, 50).solution
        assert relative_error(solution, tight.numpy()) < 1e-5
        features, label = stacked(nearly_separated, member)
        residual = label - 1 / (1 + np.exp(-features @ tight.numpy()))
        # At the minimum w = C * the sum of residuals times features.
        assert relative_error(C * residual @ features, tight.numpy()) < 1e-4


def test_too_few_iterations_are_told(nearly_separated):
    hasty = subset_regressions(nearly_separated, membership([[0, 1]], 20), 100.0, max_iterations=2)
    assert not hasty.converged.any() and "allow more iterations" in hasty.status


def test_without_a_penalty_separable_labels_have_no_minimum_and_others_do(binary):
    features = binary[0].features
    separable = TaskRows("binary", features, binary[0].offset * 0, (features[:, 0, 0] > 0).double())
    rows = [separable, *binary[1:]]
    free = subset_regressions(rows, membership([[0], [1], [0, 2]], 5), np.inf)
    assert free.converged.tolist() == [False, True, True]
    assert "1 of 3" in free.status and "use a finite C" in free.status
    assert subset_regressions(rows, membership([[0], [1]], 5), 100.0).converged.all()


def test_part_of_the_directions_separable_is_no_minimum_either():
    binary = task("binary", 0, offset=False)
    left, right = binary.features.clone(), binary.features.clone()
    left[..., 3:], right[..., :3] = 0, 0
    rows = [
        TaskRows("binary", left, binary.offset, binary.label),
        TaskRows("binary", right, binary.offset, (right[:, 0, 3] > 0).double()),
    ]
    assert subset_regressions(rows, membership([[0], [0, 1]], 2), np.inf).converged.tolist() == [True, False]


def test_constant_labels_and_features_of_zeros_have_a_minimum_with_a_penalty(binary):
    constant = TaskRows("binary", binary[0].features, binary[0].offset, torch.ones(len(binary[0])).double())
    empty = TaskRows("binary", binary[0].features * 0, binary[0].offset, binary[0].label)
    ours = subset_regressions([constant, empty, binary[1]], membership([[0], [1], [0, 2], [1, 2]], 3))
    assert ours.converged.all()
    assert ours.solutions[1].abs().max() < 1e-30 and ours.solutions[0].abs().max() > 0.1


def test_a_minimum_at_zero_is_found():
    x = torch.randn(20, 1, DIMENSION, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    both = TaskRows("binary", torch.cat([x, x]), torch.zeros(40, 1).double(), torch.arange(40).double().div(20).floor())
    for C in (1.0, np.inf):
        ours = subset_regressions([both], membership([[0]], 1), C)
        assert ours.converged.all() and ours.solutions.abs().max() < 1e-12


def test_more_dimensions_than_rows():
    rows = [task("binary", seed, count=3) for seed in range(4)]
    ours = subset_regressions(rows, membership([[0], [1, 2], [3]], 4), 1e3)
    assert ours.converged.all() and ours.gradient_norm.max() < 1e-5
