from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from taskgroup_core.affinity.gradient_cosine import GradientCosineAffinity
from taskgroup_core.affinity.lookahead import LookaheadAffinity
from taskgroup_core.affinity.sample_convergence import SampleConvergenceAffinity
from taskgroup_core.affinity.task_gradients import task_gradients
from taskgroup_core.affinity.transfer_gain import TransferGainAffinity
from taskgroup_core.errors import InputError
from taskgroup_core.examples import Examples
from taskgroup_core.tasks import Task
from taskgroup_core.training.joint import joint_steps, joint_training, task_losses
from taskgroup_core.training.recipe import Recipe
from taskgroup_core.training.shared_parameters import shared_parameters
from tests.estimators import (
    Offsets,
    after_step,
    along_training,
    loss_of,
    perceptron_problem,
    quadratic_problem,
    random_quadratics,
    relabelled,
    shared_weight,
)
from tests.small import small_problem

FULL = Recipe(epochs=4, batch_size=1000, learning_rate=0.05)
HEADS = ("2.weight", "2.bias")


def slow(problem, recipe, step, split="train"):
    def measure(network, optimiser):
        rate = optimiser.param_groups[0]["lr"]
        z = np.empty((problem.n_tasks, problem.n_tasks))
        for i in range(problem.n_tasks):
            mover = optimiser if step == "optimiser" else None
            moved = after_step(network, mover, rate, partial(loss_of, problem=problem, task=i), HEADS)
            for j in range(problem.n_tasks):
                z[j, i] = 1 - (loss_of(moved, problem, j, split) / loss_of(network, problem, j, split)).item()
        return z

    return along_training(problem, recipe, measure)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"weight_decay": 0.3, "schedule": "step", "decay_every": 2},
        {"optimiser": "adamw", "weight_decay": 2.0, "schedule": "cosine"},
        {"optimiser": "sgd"},
        {"optimiser": "sgd", "momentum": 0.9, "weight_decay": 0.3, "schedule": "cosine"},
    ],
)
@pytest.mark.parametrize("step", ["gradient", "optimiser"])
def test_every_collection_equals_plain_loops(settings, step):
    problem, recipe = perceptron_problem(), replace(FULL, **settings)
    estimator = LookaheadAffinity(recipe, 0, "cpu", every=1, step=step)
    affinity = estimator.affinity(problem)
    expected = slow(problem, recipe, step)
    assert np.abs(expected).max() > 1e-3
    assert np.allclose(estimator.trace_.values, expected, rtol=1e-6, atol=1e-10)
    assert np.allclose(affinity.values, expected.mean(axis=0), rtol=1e-6, atol=1e-10)


def test_the_losses_of_the_validation_batch_equal_plain_loops():
    problem = perceptron_problem()
    estimator = LookaheadAffinity(FULL, 0, "cpu", every=1, split="val")
    estimator.affinity(problem)
    assert np.allclose(estimator.trace_.values, slow(problem, FULL, "gradient", "val"), rtol=1e-6, atol=1e-10)


@pytest.mark.parametrize("rate", [0.1, 0.01, 1e-4])
def test_quadratics_have_a_closed_form(rate):
    problem, inputs, labels, network = random_quadratics()
    estimator = LookaheadAffinity(Recipe(epochs=1), 0, "cpu", shared=shared_weight, learning_rate=rate)
    ours = estimator.affinity(problem).values
    x, residual = inputs.numpy(), (network(inputs) - labels).detach().numpy()
    gradients = 2 * x.T @ residual / len(x)
    before = (residual**2).mean(axis=0)
    for j in range(3):
        for i in range(3):
            after = ((residual[:, j] - rate * x @ gradients[:, i]) ** 2).mean()
            assert ours[j, i] == pytest.approx(1 - after / before[j], abs=1e-9)
    if rate == 1e-4:  # to first order, Z is the product of the gradients
        assert np.allclose(ours / rate, gradients.T @ gradients / before[:, None], rtol=0.05, atol=1e-3)


CURVATURE = np.array([1.0, 10.0])


def loss_a(point):
    return 0.5 * (CURVATURE * point**2).sum(axis=-1)


def with_gradients(start, b, c):
    """A problem whose L_a is `loss_a` (rows 0 and 1) and whose tasks b and c have these gradients (rows 2 and 3)."""
    rows = torch.from_numpy(np.stack([[1.0, 0.0], [0.0, np.sqrt(10.0)], b, c]))
    labels = torch.full((4, 3), torch.nan, dtype=torch.float64)
    labels[:2, 0] = 0
    # A residual of 1/2 makes the gradient of its square the input itself.
    labels[2, 1], labels[3, 2] = b @ start - 0.5, c @ start - 0.5

    def build():
        network = Offsets(start.tolist(), [0.0, 0.0, 0.0])
        network.offset.requires_grad_(False)
        return network

    return quadratic_problem(rows, labels, build)


def both_measures(problem, rate):
    given = {"shared": shared_weight, "learning_rate": rate}
    return tuple(
        make(Recipe(epochs=1), 0, "cpu", **given).affinity(problem).values[0, 1:]
        for make in (LookaheadAffinity, TransferGainAffinity)
    )


@pytest.mark.parametrize("rate", [0.009, 0.09])
@pytest.mark.parametrize(
    ("along", "printed"), [((-12.0, 2.0), (6.96, 6.98, 6.09, 6.07)), ((-0.2, 15.0), (6.96, 7.96, 6.09, 6.98))]
)
def test_the_quadratics_of_appendix_a_3_at_both_learning_rates(along, printed, rate):
    """TAG, appendix A.3: the printed losses belong to 0.009, not to the printed 0.09."""
    start = np.array([-2.0, -1.0])
    a = CURVATURE * start
    b, c = (np.linalg.norm(a) * v / np.linalg.norm(v) for v in (np.array([8.0, -2.0]), np.array(along)))
    z, gain = both_measures(with_gradients(start, b, c), rate)
    alone = [loss_a(start - rate * v) for v in (b, c)]
    together = [loss_a(start - rate * (a + v)) for v in (b, c)]
    assert z == pytest.approx([1 - value / 7 for value in alone], abs=1e-12)
    assert gain == pytest.approx([1 - value / loss_a(start - rate * a) for value in together], abs=1e-12)
    assert (np.abs(np.array([*alone, *together]) - printed) < 0.0052).all() == (rate == 0.009)
    # Z prefers b; yet a trained with the first c ends lower, and with the second it does not.
    assert z[0] > z[1] and (gain[0] < gain[1]) == (along == (-12.0, 2.0))


def test_proposition_1_of_tag_has_counterexamples():
    """Equal gradient norms, eta <= 1 / beta and the printed bound on cos(g_a, g_c) do not make Z decide rightly."""
    generator, count = np.random.default_rng(0), 100_000
    start, rate = generator.standard_normal((count, 2)), generator.uniform(0, 0.1, (count, 1))
    a = CURVATURE * start
    length = np.linalg.norm(a, axis=1, keepdims=True)
    b = generator.standard_normal((count, 2))
    c = -a / length + 0.3 * generator.standard_normal((count, 2))
    b, c = (length * v / np.linalg.norm(v, axis=1, keepdims=True) for v in (b, c))
    alpha, beta = CURVATURE
    cosine = (a * c).sum(axis=1) / length[:, 0] ** 2
    bound = rate[:, 0] / 4 * alpha * beta / (beta - alpha) - 1
    prefers_b = loss_a(start - rate * b) < loss_a(start - rate * c)
    worse_with_b = loss_a(start - rate * (a + b)) > loss_a(start - rate * (a + c))
    found = np.flatnonzero((cosine <= bound) & prefers_b & worse_with_b)
    assert 0 < len(found) < count / 100
    for case in found[:3]:
        z, gain = both_measures(with_gradients(start[case], b[case], c[case]), float(rate[case, 0]))
        assert z[0] > z[1] and gain[0] < gain[1]


def test_relabelled_tasks_give_the_relabelled_matrix():
    order = [2, 0, 3, 1]
    problem = perceptron_problem()
    for make in (LookaheadAffinity, GradientCosineAffinity, TransferGainAffinity):
        plain = make(FULL, 0, "cpu", every=2).affinity(problem)
        moved = make(FULL, 0, "cpu", every=2).affinity(relabelled(problem, order))
        assert list(moved["target"].values) == [problem.task_names[i] for i in order]
        assert np.allclose(moved.values, plain.values[np.ix_(order, order)], atol=1e-10)


def test_no_two_estimators_return_the_same_matrix():
    problem, quick = perceptron_problem(), {"every": 1}
    matrices = [
        LookaheadAffinity(FULL, 0, "cpu", **quick).affinity(problem).values,
        LookaheadAffinity(FULL, 0, "cpu", step="optimiser", **quick).affinity(problem).values,
        LookaheadAffinity(FULL, 0, "cpu", split="val", **quick).affinity(problem).values,
        TransferGainAffinity(FULL, 0, "cpu", **quick).affinity(problem).values,
        TransferGainAffinity(FULL, 0, "cpu", step="optimiser", **quick).affinity(problem).values,
        GradientCosineAffinity(FULL, 0, "cpu", **quick).affinity(problem).values,
        SampleConvergenceAffinity(20, 0, "cpu", inputs="own").affinity(problem).values,
    ]
    outside = ~np.eye(4, dtype=bool)
    scaled = [matrix[outside] / np.abs(matrix[outside]).max() for matrix in matrices]
    for first in range(len(scaled)):
        for second in range(first):
            assert np.abs(scaled[first] - scaled[second]).max() > 1e-3, (first, second)


def test_the_same_seed_repeats_and_another_differs():
    problem = small_problem("sign")
    recipe = Recipe(epochs=2, batch_size=50)
    first, second, other = (
        LookaheadAffinity(recipe, s, "cpu", every=2, split="val").affinity(problem) for s in (0, 0, 1)
    )
    assert np.array_equal(first.values, second.values) and not np.array_equal(first.values, other.values)


def test_collecting_does_not_change_the_training():
    problem, recipe = small_problem("sign"), Recipe(epochs=2, batch_size=50)
    alone = joint_training(problem, recipe, 0, "cpu")
    seen = []

    def observe(moment):
        seen.append((moment.step, moment.epoch, len(moment.inputs)))

    observed = joint_training(problem, recipe, 0, "cpu", observe=observe, every=3)
    assert alone.losses == observed.losses and [step for step, _, _ in seen] == list(range(0, seen[-1][0] + 1, 3))


def test_joint_training_keeps_the_epoch_of_the_lowest_validation_loss():
    problem = small_problem("sign")
    used, labels = problem.table("val")

    def validation_loss(network):
        with torch.no_grad():
            return task_losses(network(problem.inputs[used]), labels, problem.tasks).mean().item()

    recipe = Recipe(epochs=12, batch_size=50, learning_rate=0.1, keep="best")
    best = joint_training(problem, recipe, 0, "cpu")
    curve = best.validation_losses
    assert validation_loss(best.network) == pytest.approx(min(curve), rel=1e-5) and curve[-1] > min(curve)
    last = joint_training(problem, replace(recipe, keep="last"), 0, "cpu")
    assert last.losses == best.losses and validation_loss(last.network) == pytest.approx(curve[-1], rel=1e-5)
    stopped = joint_training(problem, replace(recipe, patience=1), 0, "cpu")
    worse = next(epoch for epoch in range(1, len(curve)) if curve[epoch] >= min(curve[:epoch]))
    assert stopped.validation_losses == curve[: worse + 1] and len(stopped.losses) == worse + 1 < len(curve)
    assert stopped.flops * len(curve) == best.flops * (worse + 1)


def test_the_trace_knows_the_epoch_of_every_collection():
    problem, recipe = small_problem("sign"), Recipe(epochs=3, batch_size=60)
    estimator = LookaheadAffinity(recipe, 0, "cpu", every=2)
    estimator.affinity(problem)
    steps = joint_steps(problem, recipe)
    each = steps // 3
    assert each > 2 and estimator.trace_.step.values.tolist() == list(range(0, steps, 2))
    assert estimator.trace_.epoch.values.tolist() == [step // each for step in range(0, steps, 2)]
    course = estimator.trace_.groupby("epoch").mean()
    first = estimator.trace_.values[estimator.trace_.epoch.values == 0]
    assert course.sizes["epoch"] == 3 and np.allclose(course.sel(epoch=0).values, np.nanmean(first, axis=0))


def test_a_problem_without_labels_to_learn_or_to_judge_by_is_refused_before_any_training():
    problem = small_problem("sign")
    val, train = problem.val, problem.train
    rest = val.task_index != 3
    without = Examples(val.input_index[rest], val.task_index[rest], val.label[rest])
    with pytest.raises(InputError, match="val: found no example of task 'task 3'"):
        LookaheadAffinity(FULL, 0, "cpu", split="val").affinity(replace(problem, val=without))
    constant = Examples(train.input_index, train.task_index, train.label.where(train.task_index != 1, 1.0))
    with pytest.raises(InputError, match="train: found one class only for task 'task 1'"):
        LookaheadAffinity(FULL, 0, "cpu").affinity(replace(problem, train=constant))


def test_validation_batches_that_never_hold_a_label_of_a_task_are_an_error():
    problem, recipe = perceptron_problem(), Recipe(epochs=1, batch_size=1)
    estimator = LookaheadAffinity(recipe, 0, "cpu", every=40, split="val")
    with pytest.raises(InputError, match="no batch that measures"):
        estimator.affinity(problem)


def test_each_validation_batch_is_drawn_anew_and_a_second_run_draws_the_same(monkeypatch):
    problem, recipe = small_problem("sign"), Recipe(epochs=2, batch_size=50)
    assert len(problem.table("val")[0]) > 2 * recipe.batch_size
    plain, drawn = LookaheadAffinity._validation_batch, []

    def watched(estimator, given):
        drawn.append(plain(estimator, given))
        return drawn[-1]

    monkeypatch.setattr(LookaheadAffinity, "_validation_batch", watched)
    estimator = LookaheadAffinity(recipe, 0, "cpu", every=2, split="val")
    estimator.affinity(problem)
    once = list(drawn)
    drawn.clear()
    estimator.affinity(problem)
    assert len(once) == len(drawn) > 2
    for number, (inputs, labels) in enumerate(once):
        assert len(inputs) == len(labels) == 50 and torch.equal(inputs, drawn[number][0])
        assert not any(torch.equal(inputs, other) for other, _ in once[:number])


def test_constant_labels_of_a_regression_task_have_finite_affinities():
    problem, inputs, labels, _ = random_quadratics()
    constant = labels.clone()
    constant[:, 1] = 3.0
    flat = quadratic_problem(inputs, constant, problem.build)
    for make in (LookaheadAffinity, GradientCosineAffinity):
        values = make(Recipe(epochs=1, learning_rate=1e-3), 0, "cpu", shared=shared_weight).affinity(flat).values
        assert np.isfinite(values).all() and values[1, 1] > 0


@pytest.mark.parametrize(
    ("window", "steps"),
    [("all", range(8)), ("first", range(2)), ("middle", range(3, 5)), ("final", range(6, 8)), ((0, 0.5), range(4))],
)
def test_windows_are_parts_of_one_course(window, steps):
    problem, recipe = perceptron_problem(), Recipe(epochs=8, batch_size=1000)
    whole = LookaheadAffinity(recipe, 0, "cpu", every=1)
    whole.affinity(problem)
    part = LookaheadAffinity(recipe, 0, "cpu", every=1, window=window)
    affinity = part.affinity(problem)
    assert part.trace_.step.values.tolist() == part.trace_.epoch.values.tolist() == list(steps)
    assert np.allclose(affinity.values, whole.trace_.sel(step=list(steps)).mean("step").values, atol=1e-12)


def test_a_task_without_a_label_in_a_batch_is_left_out_of_that_step():
    problem, recipe = perceptron_problem(), Recipe(epochs=20, batch_size=4)
    estimator = LookaheadAffinity(recipe, 0, "cpu", every=1)
    affinity = estimator.affinity(problem)
    assert np.isnan(estimator.trace_.values).any() and np.isfinite(affinity.values).all()
    assert np.allclose(affinity.values, np.nanmean(estimator.trace_.values, axis=0))


def test_float32_and_float64_agree():
    for make in (LookaheadAffinity, GradientCosineAffinity, TransferGainAffinity):
        double, single = (
            make(replace(FULL, optimiser="sgd"), 0, "cpu", every=1).affinity(perceptron_problem(dtype)).values
            for dtype in (torch.float64, torch.float32)
        )
        # Both start from the weights that float32 draws.
        assert np.allclose(double, single, rtol=1e-3, atol=1e-5)


def test_flops_grow_with_the_collections():
    problem = perceptron_problem()
    often, seldom = (LookaheadAffinity(FULL, 0, "cpu", every=every) for every in (1, 4))
    often.affinity(problem), seldom.affinity(problem)
    training = joint_training(problem, FULL, 0, "cpu").flops
    assert often.flops - training == 4 * (seldom.flops - training) > 0


def test_the_last_layer_is_taken_for_the_heads():
    assert shared_parameters(perceptron_problem().network(0), 4) == ["0.weight", "0.bias"]
    sign = small_problem("sign").network(0)
    heads = {"heads.3.weight", "heads.3.bias"}
    assert set(dict(sign.named_parameters())) - set(shared_parameters(sign, 4)) == heads
    assert shared_parameters(sign, 4, lambda name: "hops.0" in name)[0].startswith("hops.0")


@pytest.mark.parametrize("share", [0.2, 0.4, 0.6, 1.0])
def test_gradients_are_the_same_where_labels_are_few_and_where_they_abound(share):
    problem = perceptron_problem()
    generator = torch.Generator().manual_seed(1)
    inputs = problem.inputs[:40]
    labels = (torch.rand(40, 4, generator=generator) > 0.5).double()
    labels[torch.rand(40, 4, generator=generator) > share] = torch.nan
    labels[:, 3] = torch.nan  # a task without any
    network = problem.network(0).eval()
    gradients, losses = task_gradients(network, ["0.weight", "0.bias"], problem.tasks, inputs, labels)
    assert losses[3] == 0 and all(not bool(gradient[3].any()) for gradient in gradients.values())
    for task in range(3):
        known = ~labels[:, task].isnan()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(
            network(inputs[known])[:, task], labels[known, task]
        )
        assert losses[task].item() == pytest.approx(loss.item(), rel=1e-12)
        for name, expected in zip(gradients, torch.autograd.grad(loss, [*network[0].parameters()]), strict=True):
            assert torch.allclose(gradients[name][task], expected, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("share", [1.0, 0.3])
def test_gradients_through_a_rectifier_with_a_slope_are_torchs_own(share):
    generator = torch.Generator().manual_seed(1)
    tasks = (Task("a"), Task("b"))
    network = nn.Sequential(nn.Linear(3, 8, bias=False), nn.PReLU(), nn.Linear(8, 2)).double().eval()
    inputs = torch.randn(40, 3, generator=generator, dtype=torch.float64)
    inputs[::4] = 0  # where the rectifier has a kink
    labels = (torch.rand(40, 2, generator=generator) < 0.5).double()
    labels[torch.rand(40, 2, generator=generator) > share] = torch.nan
    names = ["0.weight", "1.weight"]
    gradients, _ = task_gradients(network, names, tasks, inputs, labels)
    for task, loss in enumerate(task_losses(network(inputs), labels, tasks)):
        own = torch.autograd.grad(loss, [network.get_parameter(name) for name in names], retain_graph=True)
        for name, expected in zip(names, own, strict=True):
            assert torch.allclose(gradients[name][task], expected, rtol=1e-10, atol=1e-12) and expected.abs().max() > 0
    assert type(network[1]) is nn.PReLU
