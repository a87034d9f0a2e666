"""Weightings against plain loops, closed forms and autograd."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from taskgroup_core.errors import InputError, MissingExtra
from taskgroup_core.examples import Examples
from taskgroup_core.training.fit import fit
from taskgroup_core.training.grad_norm import GradNorm
from taskgroup_core.training.gradient_aggregation import GradientAggregation
from taskgroup_core.training.joint import joint_training
from taskgroup_core.training.loss_scalarisation import LossScalarisation
from taskgroup_core.training.nash_bargaining import NashBargaining, nash_weights
from taskgroup_core.training.recipe import Recipe
from taskgroup_core.training.weighting import WEIGHTINGS, make_weighting
from tests.small import small_problem

RECIPE = Recipe(epochs=3, batch_size=64, learning_rate=0.05)
SGD = Recipe(epochs=1, batch_size=1000, learning_rate=0.1, optimiser="sgd")


class Shared(nn.Module):
    """One shared layer with weights of its own, and a head a task."""

    def __init__(self, n_tasks: int = 3) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(5, 4), nn.Linear(4, n_tasks)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.head(torch.tanh(self.body(inputs)))


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(3)
    return Shared().double()


def losses_of(network: nn.Module, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(20, 5, generator=generator, dtype=torch.float64)
    goals = 3 * torch.randn(20, 3, generator=generator, dtype=torch.float64)
    return ((network(inputs) - goals) ** 2).mean(dim=0)


def gradients(network: nn.Module, loss: torch.Tensor) -> list[torch.Tensor]:
    return list(torch.autograd.grad(loss, list(network.parameters()), retain_graph=True))


def flat(parts: list[torch.Tensor]) -> torch.Tensor:
    return torch.cat([part.flatten() for part in parts])


def weights_of(fitted) -> torch.Tensor:
    return flat([value.detach() for value in fitted.network.parameters()])


def test_the_sum_of_gradients_is_plain_joint_training():
    from torchjd.aggregation import Sum

    problem = small_problem("sign")
    plain = joint_training(problem, RECIPE, 0, "cpu")
    summed = joint_training(problem, RECIPE, 0, "cpu", weighting=GradientAggregation(Sum))
    torch.testing.assert_close(weights_of(summed), weights_of(plain), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(summed.losses, plain.losses, rtol=1e-4)


def test_equal_log_variances_only_halve_the_sum(network):
    weighting = make_weighting("uncertainty weights")
    (log_variances,) = weighting.start(network, 3, 3)
    assert log_variances.dtype == torch.float64
    losses = losses_of(network)
    expected = gradients(network, losses.sum() / 2)
    weighting.backward(losses, 0)
    for value, gradient in zip(network.parameters(), expected, strict=True):
        torch.testing.assert_close(value.grad, gradient)
    # d/ds of exp(-s) L / 2 + s / 2 at s = 0
    torch.testing.assert_close(log_variances.grad, (1 - losses.detach()) / 2)


def test_uncertainty_weights_are_learned_and_end_at_the_logarithm_of_a_loss_that_stays():
    problem = small_problem()
    frozen = []

    class Recorded(LossScalarisation):
        def start(self, network, n_outputs, n_tasks, /):
            for value in network.parameters():
                value.data.zero_()
            frozen.extend(super().start(network, n_outputs, n_tasks))
            return frozen

    # The network hardly moves where its inputs are tiny, so its losses stay at log 2.
    still = replace(problem, inputs=problem.inputs * 1e-9)
    weighting = Recorded(make_weighting("uncertainty weights").make)
    joint_training(still, replace(RECIPE, epochs=400), 0, "cpu", weighting=weighting)
    assert frozen[0].detach().numpy() == pytest.approx(np.full(4, np.log(np.log(2))), abs=1e-3)


def test_dynamic_weight_average_follows_the_last_two_epochs(network):
    weighting = make_weighting("dynamic weight average", temperature=0.5)
    weighting.start(network, 3, 3)
    history = [[2.0, 4.0, 1.0], [1.0, 3.0, 1.0]]
    for epoch, means in enumerate(history):
        for share in (0.5, 1.5):  # two batches with that mean
            weighting.backward(torch.tensor(means, dtype=torch.float64, requires_grad=True) * share, epoch)
    losses = losses_of(network)
    rates = np.exp(np.array([1 / 2, 3 / 4, 1.0]) / 0.5)
    expected = gradients(network, (torch.tensor(3 * rates / rates.sum()) * losses).sum())
    for value in network.parameters():
        value.grad = None
    weighting.backward(losses, 2)
    torch.testing.assert_close(flat([value.grad for value in network.parameters()]), flat(expected))


def test_pcgrad_is_its_printed_algorithm(network):
    weighting = make_weighting("PCGrad")
    weighting.start(network, 3, 3)
    conflicts = 0
    for seed in range(6):
        losses = losses_of(network, seed)
        rows = torch.stack([flat(gradients(network, loss)) for loss in losses])
        shared, heads = rows[:, :24], rows[:, 24:]
        torch.manual_seed(seed)
        projected = []
        for i in range(3):
            own = shared[i].clone()
            for j in torch.randperm(3).tolist():
                if j != i and own @ shared[j] < 0:
                    own -= (own @ shared[j]) / (shared[j] @ shared[j]) * shared[j]
                    conflicts += 1
            projected.append(own)
        torch.manual_seed(seed)
        for value in network.parameters():
            value.grad = None
        weighting.backward(losses, 0)
        found = flat([value.grad for value in network.parameters()])
        torch.testing.assert_close(found, torch.cat([sum(projected), heads.sum(dim=0)]))
    assert conflicts > 0


def test_nash_weights_solve_their_equation_whatever_the_scale():
    generator = torch.Generator().manual_seed(0)
    for n, p in ((1, 4), (3, 20), (9, 12), (6, 4)):  # the last with gradients that are linearly dependent
        gradients = torch.randn(n, p, generator=generator, dtype=torch.float64)
        gradients += 2.0 * torch.randn(1, p, generator=generator, dtype=torch.float64)
        gradients *= 10.0 ** torch.arange(n)[:, None]
        gramian = gradients @ gradients.T
        weights = nash_weights(gramian)
        assert (weights > 0).all()
        torch.testing.assert_close(weights * (gramian @ weights), torch.ones(n).double(), rtol=1e-8, atol=0)
        assert float((weights @ gradients).norm()) == pytest.approx(n**0.5)


def test_nash_weights_maximise_the_product_of_gains():
    generator = torch.Generator().manual_seed(1)
    gradients = torch.randn(4, 10, generator=generator, dtype=torch.float64)
    best = NashBargaining(max_norm=0.0)(gradients)
    best = best / best.norm()
    gains = gradients @ best
    assert (gains > 0).all()
    for _ in range(2000):  # no direction of that length near it or elsewhere has a larger product of gains
        other = best + 0.3 * torch.randn(10, generator=generator, dtype=torch.float64)
        found = gradients @ (other / other.norm())
        assert (found <= 0).any() or float(found.log().sum()) <= float(gains.log().sum()) + 1e-12


def test_nash_bargaining_keeps_weights_limits_the_norm_and_leaves_out_what_is_zero():
    gradients = torch.diag(torch.tensor([1.0, 2.0, 4.0]))
    torch.testing.assert_close(
        NashBargaining(max_norm=0.0)(gradients), torch.ones(3)
    )  # orthogonal: each is scaled to 1
    assert float(NashBargaining(max_norm=0.5)(gradients).norm()) == pytest.approx(0.5)
    torch.testing.assert_close(NashBargaining(max_norm=5.0)(gradients), torch.ones(3))
    keeps = NashBargaining(max_norm=0.0, every=2)
    keeps(gradients)
    torch.testing.assert_close(keeps(2 * gradients), 2 * torch.ones(3))
    torch.testing.assert_close(keeps(2 * gradients), torch.ones(3))
    with_zero = torch.cat([gradients, torch.zeros(1, 3)])
    torch.testing.assert_close(NashBargaining(max_norm=0.0)(with_zero), torch.ones(3))
    opposed = torch.tensor([[1.0, 0.0], [-2.0, 0.0]])  # nothing helps both
    unlimited = NashBargaining(max_norm=0.0)(opposed)
    assert torch.isfinite(unlimited).all() and float(unlimited.norm()) < 1e-3  # far below sqrt(2)
    assert float(NashBargaining()(torch.zeros(2, 3)).abs().max()) == 0


def test_nash_mtl_moves_shared_parameters_by_it_and_heads_by_their_own_gradient(network):
    weighting = make_weighting("Nash-MTL", max_norm=0.0)
    weighting.start(network, 3, 3)
    losses = losses_of(network)
    rows = torch.stack([flat(gradients(network, loss)) for loss in losses])
    weights = nash_weights(rows[:, :24] @ rows[:, :24].T)
    weighting.backward(losses, 0)
    found = flat([value.grad for value in network.parameters()])
    torch.testing.assert_close(found, torch.cat([weights @ rows[:, :24], rows[:, 24:].sum(dim=0)]))


def test_grad_norm_descends_on_its_loss_and_keeps_the_sum(network):
    weighting = GradNorm(alpha=0.7, learning_rate=0.01)
    weighting.start(network, 3, 3)
    weighting.backward(losses_of(network, 0), 0)
    first, layer = losses_of(network, 0).detach(), network.body.weight
    losses, before = losses_of(network, 1), weighting.weights.clone().requires_grad_()
    rate = losses.detach() / first
    norms = torch.stack([torch.autograd.grad(loss, layer, retain_graph=True)[0].norm() for loss in losses])
    weighted = before * norms
    target = (weighted.mean() * (rate / rate.mean()) ** 0.7).detach()
    (slope,) = torch.autograd.grad((weighted - target).abs().sum(), before)
    expected = gradients(network, (before.detach() * losses).sum())
    for value in network.parameters():
        value.grad = None
    weighting.backward(losses, 0)
    torch.testing.assert_close(weighting.weights.grad, slope)
    torch.testing.assert_close(flat([value.grad for value in network.parameters()]), flat(expected))
    assert float(weighting.weights.sum()) == pytest.approx(3)


def test_grad_norm_evens_out_the_norms_of_the_gradients():
    problem = small_problem("sign")
    weighting = GradNorm(alpha=0.0, learning_rate=0.05)
    steep = torch.tensor([1.0, 1.0, 1.0, 10.0])

    class Scaled(GradNorm):
        def backward(self, losses, epoch, /):
            weighting.backward(losses * steep, epoch)

        def start(self, network, n_outputs, n_tasks, /):
            return weighting.start(network, n_outputs, n_tasks)

    joint_training(problem, replace(RECIPE, epochs=20), 0, "cpu", weighting=Scaled())
    # The task whose loss is ten times as steep ends with by far the smallest weight, about a tenth of the others'.
    others = weighting.weights[:3].mean()
    assert 0.05 < float(weighting.weights[3] / others) < 0.2


@pytest.mark.parametrize("name", WEIGHTINGS)
def test_every_weighting_trains_and_repeats_itself_bit_for_bit(name):
    problem, weighting = small_problem("sign"), make_weighting(name)
    one = joint_training(problem, RECIPE, 5, "cpu", weighting=weighting)
    torch.randn(7)
    two = joint_training(problem, RECIPE, 5, "cpu", weighting=weighting)  # the same object starts afresh
    plain = joint_training(problem, RECIPE, 5, "cpu")
    assert torch.equal(weights_of(one), weights_of(two))
    assert not torch.equal(weights_of(one), weights_of(plain))
    assert one.losses[-1] < one.losses[0]
    assert one.losses[0] == pytest.approx(plain.losses[0], rel=0.2)  # in the same unit


@pytest.mark.parametrize("name", WEIGHTINGS)
def test_a_subset_trains_its_own_tasks_only(name):
    problem = small_problem("sign")
    fitted = joint_training(problem, RECIPE, 0, "cpu", subset=[3, 1], weighting=make_weighting(name))
    heads = list(fitted.network.named_parameters())[-2:]
    fresh = dict(problem.network(0).named_parameters())
    for parameter, value in heads:
        moved = (value.detach() != fresh[parameter]).reshape(4, -1).any(dim=1)
        assert moved.tolist() == [False, True, False, True]


def test_a_subset_without_a_weighting_is_fit_where_all_labels_are_there():
    base = small_problem()
    rows = torch.arange(100).repeat_interleave(4)
    tasks = torch.arange(4).repeat(100)
    labels = (torch.randn(400, generator=torch.Generator().manual_seed(0)) > 0).float()
    problem = replace(base, train=Examples(rows, tasks, labels))
    one = joint_training(problem, SGD, 0, "cpu", subset=[0, 2])
    other = fit(problem, [0, 2], replace(SGD, learning_rate=0.2), 0, "cpu")  # the mean over two tasks, not the sum
    torch.testing.assert_close(weights_of(one), weights_of(other))


def test_operations_of_a_weighting_count_its_backward_passes():
    problem = small_problem("sign")
    forward, both = problem.row_flops
    plain = joint_training(problem, RECIPE, 0, "cpu")
    by_row = plain.flops / both
    uncertain = joint_training(problem, RECIPE, 0, "cpu", weighting=make_weighting("uncertainty weights"))
    surgery = joint_training(problem, RECIPE, 0, "cpu", weighting=make_weighting("PCGrad"))
    balanced = joint_training(problem, RECIPE, 0, "cpu", weighting=GradNorm())
    assert uncertain.flops == pytest.approx(plain.flops, rel=0.02)
    # one pass forward and one back for each of four tasks; the products of the Gramian are few
    assert surgery.flops == pytest.approx(by_row * (forward + 4 * (both - forward)), rel=0.25)
    assert plain.flops < balanced.flops < surgery.flops


def test_bad_arguments_are_named():
    problem = small_problem()
    with pytest.raises(InputError, match="name: found 'pcgrad'"):
        make_weighting("pcgrad")
    for bad, setting in (("alpha", -1.0), ("alpha", float("nan")), ("learning_rate", 0.0)):
        with pytest.raises(InputError, match=bad):
            GradNorm(**{bad: setting})
    with pytest.raises(InputError, match="temperature"):
        make_weighting("dynamic weight average", temperature=0.0)
    for setting in ({"max_norm": -1.0}, {"every": 0}):
        with pytest.raises(InputError, match=next(iter(setting))):
            make_weighting("Nash-MTL", **setting)
    with pytest.raises(InputError, match="subset"):
        joint_training(problem, RECIPE, 0, "cpu", subset=[4])
    with pytest.raises(InputError, match=r"shared: found a network with no shared parameter"):
        joint_training(problem, RECIPE, 0, "cpu", weighting=GradNorm())


def test_a_batch_without_a_task_is_an_error_that_names_it():
    problem = small_problem("sign", n_inputs=60)
    with pytest.raises(InputError, match="recipe: found a batch without a label of task 'task "):
        joint_training(problem, replace(RECIPE, batch_size=2), 0, "cpu", weighting=GradNorm())


def test_without_the_library_the_extra_is_named(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchjd"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torchjd", None)
    for name in set(WEIGHTINGS) - {"GradNorm", "Nash-MTL"}:
        with pytest.raises(MissingExtra, match=r"taskgroup_core\[mtl\]"):
            make_weighting(name)
    assert make_weighting("GradNorm") and make_weighting("Nash-MTL")
