from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score, log_loss, mean_absolute_error, r2_score
from torch import nn

from taskgroup_core import scores
from taskgroup_core.affinity.full_training import FullTraining
from taskgroup_core.device import resolve_device
from taskgroup_core.errors import InputError
from taskgroup_core.flops import count_flops, network_flops
from taskgroup_core.models.sign import Sign
from taskgroup_core.seeds import torch_generator
from taskgroup_core.tasks import Task
from taskgroup_core.training.evaluate import evaluate
from taskgroup_core.training.fit import fit, mean_loss
from taskgroup_core.training.recipe import Recipe
from tests.small import small_problem

QUICK = Recipe(epochs=5, batch_size=64)


def test_sign_has_the_papers_number_of_parameters():
    assert sum(parameter.numel() for parameter in Sign(4, 128, 256, 100).parameters()) == 683_370


def test_sign_reads_every_hop():
    network = Sign(3, 5, 8, 2).eval()
    inputs = torch.randn(4, 3, 5)
    base = network(inputs)
    assert base.shape == (4, 2)
    for hop in range(3):
        moved = inputs.clone()
        moved[:, hop] += 1
        assert not torch.allclose(network(moved), base)


def test_scores_agree_with_scikit_learn():
    generator = torch.Generator().manual_seed(0)
    output, label = torch.randn(200, generator=generator), (torch.rand(200, generator=generator) < 0.3).float()
    assert scores.f1(output, label) == pytest.approx(f1_score(label, output > 0))
    assert scores.accuracy(output, label) == pytest.approx(accuracy_score(label, output > 0))
    assert scores.r2(output, 2 * output + label) == pytest.approx(r2_score(2 * output + label, output))
    assert scores.negative_mae(output, label) == pytest.approx(-mean_absolute_error(label, output))
    assert scores.f1(-torch.ones(3), torch.tensor([0.0, 1.0, 1.0])) == 0.0
    loss = scores.elementwise_loss(output[:, None], label[:, None], (Task("a"),)).mean()
    assert float(loss) == pytest.approx(log_loss(label, torch.sigmoid(output)), rel=1e-5)


def test_losses_of_mixed_kinds_and_missing_labels():
    tasks = (Task("a"), Task("b", "regression", "r2"))
    output = torch.tensor([[0.0, 1.0], [2.0, 3.0]])
    label = torch.tensor([[1.0, torch.nan], [torch.nan, 5.0]])
    assert float(mean_loss(output, label, tasks)) == pytest.approx((np.log(2) + 4.0) / 2)


def test_flops_of_a_dense_layer():
    network = nn.Linear(7, 3)
    row = torch.randn(1, 7)
    assert count_flops(lambda: network(torch.randn(10, 7))) == 2 * 10 * 7 * 3
    forward, both = network_flops(network, row)
    # Backward through the only layer needs the weights' gradient, not the inputs'.
    assert (forward, both) == (2 * 21, 4 * 21)
    assert network.weight.grad is None and network.training


def test_training_is_repeatable_and_touches_only_the_subsets_heads():
    problem = small_problem("sign")
    first, second = (fit(problem, [1, 3], QUICK, seed=2, device="cpu") for _ in range(2))
    other = fit(problem, [1, 3], QUICK, seed=3, device="cpu")
    assert first.losses == second.losses != other.losses
    pairs = zip(first.network.parameters(), second.network.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    fresh, trained = problem.network(2).heads[3].weight, first.network.heads[3].weight
    assert torch.equal(fresh[[0, 2]], trained[[0, 2]])
    assert not torch.equal(fresh[[1, 3]], trained[[1, 3]])


def test_training_does_not_depend_on_the_subsets_order():
    problem = small_problem()
    assert fit(problem, [2, 0], QUICK, 0, "cpu").losses == fit(problem, [0, 2, 2], QUICK, 0, "cpu").losses


def test_training_a_linear_network_finds_scikit_learns_minimum():
    problem = small_problem()
    recipe = Recipe(epochs=800, batch_size=1000, learning_rate=0.05)
    trained = fit(problem, [0], recipe, 0, "cpu").network.weight[0].detach().numpy()
    rows = problem.train.of_tasks([0])
    reference = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10)
    reference.fit(problem.inputs[rows.input_index].numpy(), rows.label.numpy())
    assert trained == pytest.approx(reference.coef_[0], rel=1e-3)


@pytest.mark.parametrize(
    ("recipe", "make"),
    [
        (Recipe(epochs=4, batch_size=32), lambda weights: torch.optim.Adam(weights, 0.01)),
        (
            Recipe(epochs=4, batch_size=32, learning_rate=0.1, optimiser="sgd", momentum=0.9),
            lambda weights: torch.optim.SGD(weights, 0.1, momentum=0.9),
        ),
    ],
    ids=["Adam", "SGD with momentum"],
)
def test_full_training_is_a_plain_loop_over_mini_batches(recipe, make):
    small = small_problem()
    problem = replace(small, inputs=small.inputs.double(), build=lambda: small.build().double())
    subset, labels = [1, 3], torch.full((300, 4), torch.nan).double()
    labels[small.train.input_index, small.train.task_index] = small.train.label.double()
    rows = (~labels[:, subset].isnan()).any(dim=1).nonzero()[:, 0]
    assert labels[rows][:, subset].isnan().any() and len(rows) > 64 and len(rows) % 32 > 1
    weight = problem.network(0).weight.detach().clone().requires_grad_()
    optimiser, order = make([weight]), torch_generator(0, "order", *subset)
    for _ in range(recipe.epochs):
        for batch in rows[torch.randperm(len(rows), generator=order)].split(32):
            output, label = problem.inputs[batch] @ weight[subset].T, labels[batch][:, subset]
            known = ~label.isnan()
            optimiser.zero_grad()
            nn.functional.binary_cross_entropy_with_logits(output[known], label[known]).backward()
            optimiser.step()
    trained = fit(problem, subset, recipe, 0, "cpu").network.weight
    torch.testing.assert_close(trained, weight, rtol=0, atol=1e-10)
    found = FullTraining(problem, recipe, 0, "cpu").scores(np.array([[0, 1, 0, 1]], dtype=bool)).isel(subset=0)
    for task in subset:
        some = small.val.of_tasks([task])
        logits = (problem.inputs[some.input_index] @ weight[task]).detach()
        assert found["score"].values[task] == pytest.approx(f1_score(some.label, logits > 0), abs=1e-10)
        loss = log_loss(some.label, torch.sigmoid(logits))
        assert found["negative_loss"].values[task] == pytest.approx(-loss, abs=1e-9)


def test_fine_tuning_starts_from_the_given_network_and_leaves_it():
    problem = small_problem()
    start = fit(problem, range(4), QUICK, 0, "cpu").network
    before = start.weight.detach().clone()
    tuned = fit(problem, [0], Recipe(epochs=1, learning_rate=1e-6), 9, "cpu", start=start).network
    assert torch.equal(start.weight, before)
    assert torch.allclose(tuned.weight, before, atol=1e-4) and not torch.equal(tuned.weight, before)


def test_flops_of_training_count_every_pass_over_the_labelled_inputs():
    problem = small_problem()
    rows = len(problem.train.of_tasks([0, 1]).input_index.unique())
    per_row = network_flops(problem.network(0), problem.inputs[:1])[1]
    assert fit(problem, [0, 1], QUICK, 0, "cpu").flops == 5 * rows * per_row


def test_evaluation_scores_the_members_only():
    problem = small_problem()
    network = fit(problem, [0, 2], QUICK, 0, "cpu").network
    result = evaluate(network, problem, "val", [0, 2], torch.device("cpu"))
    rows = problem.val.of_tasks([2])
    logits = network(problem.inputs[rows.input_index])[:, 2].detach()
    assert result["score"][2] == pytest.approx(f1_score(rows.label, logits > 0))
    assert result["negative_loss"][2] == pytest.approx(-log_loss(rows.label, torch.sigmoid(logits)), rel=1e-5)
    assert np.isnan(result["score"][[1, 3]]).all()


def test_full_training_trains_equal_subsets_once():
    problem = small_problem()
    algorithm = FullTraining(problem, QUICK, 0, "cpu")
    twice = algorithm.scores(np.array([[1, 1, 0, 0], [1, 1, 0, 0]]))
    once = FullTraining(problem, QUICK, 0, "cpu")
    once.scores(np.array([[1, 1, 0, 0]]))
    assert algorithm.flops == once.flops > 0
    assert twice.score[0].equals(twice.score[1])


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda: Recipe(epochs=0), "epochs"),
        (lambda: Recipe(learning_rate=float("nan")), "learning_rate"),
        (lambda: Recipe(weight_decay=-1), "weight_decay"),
        (lambda: fit(small_problem(), [], QUICK, 0, "cpu"), "subset"),
        (lambda: fit(small_problem(), [4], QUICK, 0, "cpu"), "subset"),
        (lambda: resolve_device("tpu"), "device"),
    ],
)
def test_bad_input(call, argument):
    with pytest.raises(InputError) as caught:
        call()
    assert caught.value.argument == argument


def test_a_diverging_training_is_an_error():
    with pytest.raises(InputError, match="Lower the learning rate"):
        fit(small_problem("sign"), [0], Recipe(epochs=20, learning_rate=1e30), 0, "cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_cuda_without_a_gpu_is_an_error():
    with pytest.raises(InputError, match="no GPU"):
        resolve_device("cuda")
