import gc
import warnings
import weakref
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from taskgroup_core.errors import InputError
from taskgroup_core.models.sign import Sign
from taskgroup_core.problems.problem import Problem
from taskgroup_core.tasks import Task
from taskgroup_core.training import stacked
from taskgroup_core.training.batches import batch_sizes, smallest_batch
from taskgroup_core.training.epochs import labelled_rows, training_flops
from taskgroup_core.training.fit import fit
from taskgroup_core.training.joint import joint_steps, joint_training
from taskgroup_core.training.network_probes import bytes_per_network, rows_mix
from taskgroup_core.training.network_stack import NetworkStack
from taskgroup_core.training.recipe import Recipe
from taskgroup_core.training.stack_plan import plan_stacks
from taskgroup_core.training.stackable import NotStackedWarning, why_not_stackable
from taskgroup_core.training.stacked import fit_many
from tests.small import small_problem

SUBSETS = [[0], [1, 3], [0, 1, 2, 3], [2, 0], [3], [0, 1, 2], [0]]
SEEDS = [0, 1, 2, 3, 4, 5, 6]
QUICK = Recipe(epochs=4, batch_size=32)


def double(problem: Problem, build=None) -> Problem:
    make = build or problem.build
    return replace(problem, inputs=problem.inputs.double(), build=lambda: make().double())


class Residual(nn.Module):
    """Two tied layers, a normalisation, an unused layer and a frozen one."""

    def __init__(self, normalisation, dropout=0.0):
        super().__init__()
        self.enter, self.heads = nn.Linear(6, 8), nn.Linear(8, 4)
        self.inner = nn.Linear(8, 8)
        self.again = self.inner
        self.normalisation, self.dropout = normalisation(8), nn.Dropout(dropout)
        self.unused, self.frozen = nn.Linear(3, 3), nn.Linear(8, 8)
        self.frozen.requires_grad_(False)

    def forward(self, x):
        hidden = self.dropout(torch.relu(self.normalisation(self.enter(x))))
        return self.heads(self.again(torch.tanh(self.inner(hidden))) + self.frozen(hidden))


class Counting(nn.Linear):
    """Its count of batches is in no state_dict."""

    def __init__(self):
        super().__init__(6, 4)
        self.register_buffer("seen", torch.zeros(()), persistent=False)

    def forward(self, x):
        if self.training:
            self.seen.add_(1)
        return super().forward(x)


class Branching(nn.Linear):
    def forward(self, x):
        return super().forward(x) if float(x.sum()) > 0 else 2 * super().forward(x)


class Hidden(nn.Linear):
    """Its initialisation is partly in a plain attribute, which no stack sees."""

    def __init__(self):
        super().__init__(6, 4)
        self.scale = float(torch.rand(()))

    def forward(self, x):
        return self.scale * super().forward(x)


class Assigning(nn.Linear):
    """Its buffer is replaced instead of changed in place."""

    def __init__(self):
        super().__init__(6, 4)
        self.register_buffer("seen", torch.zeros(6))

    def forward(self, x):
        if self.training:
            self.seen = self.seen + x.detach().mean(dim=0)
        return super().forward(x)


class Centred(nn.Linear):
    def forward(self, x):
        return super().forward(x - x.mean(dim=0))


class Scaled(nn.Linear):
    def forward(self, x):
        return super().forward(x) / len(x) ** 0.5


def assert_same(problem, recipe, stacked, start=None, rel=1e-5):
    for subset, seed, found in zip(SUBSETS, SEEDS, stacked, strict=True):
        alone = fit(problem, subset, recipe, seed, "cpu", start=start)
        assert found.losses == pytest.approx(alone.losses, rel=rel)
        assert found.flops == alone.flops == training_flops(problem, subset, recipe, len(alone.losses))
        assert not found.network.training
        other = alone.network.state_dict()
        for name, value in found.network.state_dict().items():
            assert torch.allclose(value, other[name], rtol=rel, atol=rel * float(other[name].abs().max())), name


def assert_stacked_is_alone(problem, recipe=QUICK, budget=None, rel=1e-5):
    with warnings.catch_warnings():
        warnings.simplefilter("error", NotStackedWarning)
        stacked = fit_many(problem, SUBSETS, recipe, SEEDS, "cpu", budget)
    assert_same(problem, recipe, stacked, rel=rel)


# 1000: one short batch; 32: several, the last of another length in every network; 7: networks of many lengths
@pytest.mark.parametrize("batch_size", [1000, 32, 7])
@pytest.mark.parametrize("budget", [100_000, None])
def test_stacked_training_is_training_alone(batch_size, budget):
    problem = double(small_problem("sign"), partial(Sign, 2, 6, 8, 4, 0.0))
    assert_stacked_is_alone(problem, Recipe(epochs=4, batch_size=batch_size), budget)


def test_stacked_training_is_training_alone_in_single_precision():
    problem = replace(small_problem("sign"), build=partial(Sign, 2, 6, 8, 4, 0.0))
    assert_stacked_is_alone(problem, rel=1e-3)


@pytest.mark.parametrize("normalisation", [nn.BatchNorm1d, nn.LayerNorm, partial(nn.GroupNorm, 2)])
@pytest.mark.parametrize("batch_size", [1000, 31])
def test_normalisation_tied_unused_and_frozen_layers(normalisation, batch_size):
    problem = double(small_problem(), partial(Residual, normalisation))
    assert_stacked_is_alone(problem, Recipe(epochs=4, batch_size=batch_size, weight_decay=0.1))


def labelled(problem, subset):
    return len(labelled_rows(problem, subset)[0])


# Remainders of one row, of one network and of two in a stack with others.
@pytest.mark.parametrize("subset", [[0], [0, 1, 2, 3]])
def test_one_row_that_is_left_joins_the_batch_before_it_where_batch_norm_needs_that(subset):
    problem = double(small_problem(), partial(Residual, nn.BatchNorm1d))
    rows = labelled(problem, subset)
    size = next(size for size in range(30, rows) if rows % size == 1)
    recipe = Recipe(epochs=2, batch_size=size, keep="best")
    assert_stacked_is_alone(problem, recipe)
    trained = fit(problem, subset, recipe, 0, "cpu").network
    assert trained.normalisation.num_batches_tracked in ((rows // size), 2 * (rows // size))
    everything = labelled(problem, range(4))
    joint = replace(recipe, batch_size=next(size for size in range(30, everything) if everything % size == 1))
    steps = []
    joint_training(problem, joint, 0, "cpu", observe=lambda moment: steps.append(len(moment.inputs)))
    assert len(steps) == joint_steps(problem, joint) and set(steps) == {joint.batch_size, joint.batch_size + 1}


def test_other_networks_take_one_row_that_is_left_by_itself():
    assert batch_sizes(9, 4, 1) == [4, 4, 1] and batch_sizes(9, 4, 2) == [4, 5]
    assert batch_sizes(10, 4, 2) == [4, 4, 2] and batch_sizes(8, 4, 2) == [4, 4] and batch_sizes(3, 4, 2) == [3]
    row = torch.randn(1, 6)
    assert smallest_batch(Residual(nn.LayerNorm), row) == 1 and smallest_batch(Residual(nn.BatchNorm1d), row) == 2
    picture = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    assert smallest_batch(picture, torch.randn(1, 3, 5, 5)) == 1, "many pixels"


@pytest.mark.parametrize(
    "train", [partial(fit, subset=[0], seed=0), partial(fit_many, subsets=[[0], [1]], seeds=[0, 1])]
)
def test_batches_of_one_row_are_an_error_for_batch_norm(train):
    problem = replace(small_problem(), build=partial(Residual, nn.BatchNorm1d))
    with pytest.raises(InputError, match=r"batch_size: found 1 for a subset with \d+ labelled inputs"):
        train(problem, recipe=Recipe(batch_size=1), device="cpu")


def test_running_statistics_are_each_networks_own():
    problem = double(small_problem(), partial(Residual, nn.BatchNorm1d))
    found = [fitted.network.normalisation for fitted in fit_many(problem, [[0], [1]], QUICK, [0, 0], "cpu")]
    assert not torch.allclose(found[0].running_mean, found[1].running_mean)
    assert found[0].num_batches_tracked == -(-len(problem.train.of_tasks([0])) // 32) * 4


def test_the_best_epoch_has_its_buffers_that_are_not_persistent():
    problem = replace(small_problem(), build=Counting)
    recipe = Recipe(epochs=6, batch_size=32, learning_rate=3.0, keep="best")
    epochs = set()
    stacked_networks = [fitted.network for fitted in fit_many(problem, SUBSETS, recipe, SEEDS, "cpu")]
    for subset, seed, network in zip(SUBSETS, SEEDS, stacked_networks, strict=True):
        alone = fit(problem, subset, recipe, seed, "cpu")
        best = int(np.argmin(alone.validation_losses)) + 1
        epochs.add(best)
        assert network.seen == alone.network.seen == best * -(-labelled(problem, subset) // 32)
    assert epochs > {6}, "some networks are best before the last epoch"
    joint = joint_training(problem, recipe, 0, "cpu")
    best = int(np.argmin(joint.validation_losses)) + 1
    assert joint.network.seen == best * -(-labelled(problem, range(4)) // 32)


@pytest.mark.parametrize("module", [Centred, Scaled])
def test_rows_that_influence_each_other_are_not_filled_up(module):
    problem = double(small_problem(), partial(module, 6, 4))
    assert rows_mix(problem.network(0), problem.inputs[:8])
    assert_stacked_is_alone(problem)


def test_dropout_does_not_count_as_mixing():
    problem = small_problem("sign")
    inputs = problem.inputs[:8]
    assert not rows_mix(problem.network(0), inputs)
    assert rows_mix(problem.network(0), inputs[:1].expand(8, 2, 6)), "equal rows cannot tell"


def test_mixed_kinds_of_tasks():
    problem = double(small_problem())
    tasks = (*problem.tasks[:3], Task("number", "regression", "r2"))
    assert_stacked_is_alone(replace(problem, tasks=tasks))


def test_a_budget_for_one_network_trains_them_alone():
    problem = small_problem("sign")
    for subset, seed, run in zip(SUBSETS, SEEDS, fit_many(problem, SUBSETS, QUICK, SEEDS, "cpu", 1), strict=True):
        assert run.losses == fit(problem, subset, QUICK, seed, "cpu").losses, "the very same, dropout and all"


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("recipe", [QUICK, replace(QUICK, keep="best", patience=1, learning_rate=0.1)])
def test_stacks_side_by_side_are_training_alone_too(two_threads, recipe):
    problem = double(small_problem("sign"), partial(Sign, 2, 6, 8, 4, 0.5))
    assert_stacked_is_alone(problem, recipe)
    assert torch.get_num_threads() == 2


def test_an_error_in_one_of_several_threads_is_raised_and_leaves_the_threads_as_they_were(two_threads):
    with pytest.raises(InputError, match="Lower the learning rate"):
        fit_many(small_problem("sign"), SUBSETS, Recipe(epochs=20, learning_rate=1e30), SEEDS, "cpu")
    assert torch.get_num_threads() == 2


def test_a_stack_is_gone_before_the_next_is_made(monkeypatch):
    alive, before = weakref.WeakSet(), []

    class Watched(NetworkStack):
        def __init__(self, *args):
            gc.collect()  # torch's first training in a process leaves a cycle of its own
            before.append(len(alive))
            super().__init__(*args)
            alive.update([self, self.optimiser])

    monkeypatch.setattr(stacked, "NetworkStack", Watched)
    fit_many(small_problem("sign"), SUBSETS, Recipe(epochs=1, batch_size=64), SEEDS, "cpu")
    assert before == [0] * len(before) and len(before) > 1


def test_fine_tuning_from_one_network():
    problem = double(small_problem("sign"), partial(Sign, 2, 6, 8, 4, 0.0))
    start = fit(problem, range(4), QUICK, 9, "cpu").network
    before = start.heads[3].weight.detach().clone()
    assert_same(problem, QUICK, fit_many(problem, SUBSETS, QUICK, SEEDS, "cpu", start=start), start=start)
    assert torch.equal(start.heads[3].weight, before)


@pytest.mark.parametrize("batch_size", [1000, 7])
def test_dropout_masks_are_those_of_a_network_alone(batch_size):
    problem = double(small_problem("sign"), partial(Sign, 2, 6, 8, 4, 0.5))
    assert_stacked_is_alone(problem, Recipe(epochs=4, batch_size=batch_size))
    first, second = fit_many(problem, [[0], [0]], QUICK, [1, 2], "cpu")
    assert first.losses != second.losses


class Dropping(nn.Module):
    """Dropout on what `arrange` makes of time steps; `back` makes rows first of it again."""

    def __init__(self, arrange, back, p, n_steps=5):
        super().__init__()
        self.enter, self.heads = nn.Linear(6, n_steps * 3), nn.Linear(n_steps * 3, 4)
        self.arrange, self.back, self.dropout = arrange, back, nn.Dropout(p)

    def forward(self, x):
        steps = self.arrange(torch.tanh(self.enter(x)).unflatten(1, (-1, 3)))
        return self.heads(self.back(self.dropout(steps)).flatten(1))


def steps_first(steps):
    return steps.transpose(0, 1)


def steps_first_in_order(steps):
    return steps.transpose(0, 1).contiguous()


def folded(steps):
    return steps.reshape(-1, 3)


def unfolded(rows):
    return rows.unflatten(0, (-1, 5))


def turned(steps):
    return steps.flip(0)


def sideways(steps):
    """Rows first, but not in memory."""
    return steps.transpose(1, 2)


@pytest.mark.parametrize(
    ("arrange", "back", "mix"),
    [
        (steps_first, steps_first, True),
        (steps_first_in_order, steps_first, True),
        (folded, unfolded, False),  # several entries a row, side by side
        (turned, turned, True),
        (sideways, sideways, False),
    ],
)
def test_dropout_on_tensors_whose_first_axis_is_not_the_rows(arrange, back, mix):
    problem = double(small_problem(), partial(Dropping, arrange, back, 0.5))
    assert rows_mix(problem.network(0), problem.inputs[:8]) == mix
    assert_stacked_is_alone(problem, Recipe(epochs=2, batch_size=64))


def test_dropout_that_hardly_drops_zeroes_no_time_steps():
    problem = small_problem()
    rows = len(labelled_rows(problem, range(4))[0])  # as many time steps as rows in the longest batch
    problem = double(problem, partial(Dropping, steps_first, steps_first, 1e-7, rows))
    assert_stacked_is_alone(problem, Recipe(epochs=2, batch_size=1000))


class Gated(nn.Module):
    """Applies a layer to a tensor that is the same for every network."""

    def __init__(self, layer):
        super().__init__()
        self.enter, self.layer = nn.Linear(6, 4), layer()

    def forward(self, x):
        return self.enter(x) * self.layer(-torch.ones(4, dtype=x.dtype))


class Late(nn.Linear):
    """Its dropout sees rows in large batches only."""

    def __init__(self):
        super().__init__(6, 4)
        self.dropout = nn.Dropout(0.5)

    def forward(self, x):
        return super().forward(self.dropout(x) if len(x) < 20 else self.dropout(x.T).T)


def test_dropout_on_a_tensor_without_networks_is_trained_alone_and_says_so():
    problem = replace(small_problem(), build=partial(Gated, partial(nn.Dropout, 0.5)))
    with pytest.warns(NotStackedWarning, match="a dropout layer reads a tensor that does not depend on the network"):
        fitted = fit_many(problem, SUBSETS, QUICK, SEEDS, "cpu")
    for subset, seed, run in zip(SUBSETS, SEEDS, fitted, strict=True):
        assert run.losses == fit(problem, subset, QUICK, seed, "cpu").losses


def test_a_rectifier_on_a_tensor_without_networks_is_stacked():
    assert_stacked_is_alone(double(small_problem(), partial(Gated, nn.PReLU)))


def test_a_dropout_layer_that_surprises_in_training_is_an_error():
    with pytest.raises(InputError, match="Train one network at a time"):
        fit_many(replace(small_problem(), build=Late), SUBSETS, Recipe(epochs=1), SEEDS, "cpu")


class Shaken(nn.Linear):
    """Random by other means than a dropout layer."""

    def forward(self, x):
        return super().forward(nn.functional.dropout(x, 0.5, self.training))


def shaken_twice():
    return nn.Sequential(nn.Linear(6, 6), nn.Dropout(0.5), Shaken(6, 4))


@pytest.mark.parametrize("module", [partial(Shaken, 6, 4), shaken_twice])
def test_other_randomness_is_repeatable_and_apart_in_every_network(module):
    problem = replace(small_problem(), build=module)
    with warnings.catch_warnings():
        warnings.simplefilter("error", NotStackedWarning)
        first, second = (fit_many(problem, [[0], [0]], QUICK, [1, 1], "cpu") for _ in range(2))
    assert [run.losses for run in first] == [run.losses for run in second]
    assert first[0].losses != first[1].losses, "same seed and subset, so that only the draws can differ"


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (partial(Branching, 6, 4), r".*\.item\(\)"),
        (Hidden, "its outputs differ"),
        (Assigning, "its buffers differ"),
    ],
)
def test_what_cannot_be_stacked_is_trained_alone_and_says_so(module, reason):
    problem = replace(small_problem(), build=module)
    with pytest.warns(NotStackedWarning, match=f"one at a time: {reason}"):
        fitted = fit_many(problem, SUBSETS, QUICK, SEEDS, "cpu")
    for subset, seed, run in zip(SUBSETS, SEEDS, fitted, strict=True):
        assert run.losses == fit(problem, subset, QUICK, seed, "cpu").losses


def test_the_probe_leaves_networks_as_they_were_and_names_what_differs():
    torch.manual_seed(0)
    networks = [Residual(nn.BatchNorm1d, dropout=0.5) for _ in range(2)]
    before = [{name: value.clone() for name, value in network.state_dict().items()} for network in networks]
    assert why_not_stackable(networks, torch.randn(8, 6)) is None
    for network, state in zip(networks, before, strict=True):
        assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    assert "outputs" in str(why_not_stackable([Hidden(), Hidden()], torch.randn(8, 6)))
    assert why_not_stackable([Assigning(), Assigning()], torch.randn(8, 6)) is not None


def test_memory_of_a_linear_network():
    network, rows = nn.Linear(6, 4, bias=False), torch.randn(8, 6)
    # 24 weights in 7 copies; of each row its 6 inputs and 3 times 4 outputs, twice; 4 bytes a number.
    assert bytes_per_network(network, rows, 100) == 4 * (7 * 24 + 2 * 100 * (6 + 3 * 4))


def test_stacks_keep_to_the_budget_and_to_equal_numbers_of_steps():
    sizes = np.random.default_rng(0).integers(1, 400, 50).tolist()
    stacks = plan_stacks(sizes, 100, lambda rows: 10 * rows, 5_000)
    assert sorted(position for stack in stacks for position in stack) == list(range(50))
    for stack in stacks:
        own = [sizes[position] for position in stack]
        assert own == sorted(own) and len({-(-size // 100) for size in own}) == 1
        assert len(stack) * 10 * min(100, own[-1]) <= 5_000
    assert plan_stacks([5, 5], 100, lambda rows: 10 * rows, 1) == [[0], [1]]
    assert [len(stack) for stack in plan_stacks([5] * 9, 100, lambda rows: rows, 40)] == [4, 5]
    assert [len(stack) for stack in plan_stacks([5] * 9, 100, lambda rows: rows, 90, side_by_side=3)] == [3, 3, 3]
    assert [len(stack) for stack in plan_stacks([5] * 9, 100, lambda rows: rows, 40, side_by_side=2)] == [3, 3, 3]


@pytest.mark.parametrize(
    ("change", "argument"),
    [
        ({"subsets": []}, "subsets"),
        ({"subsets": [[0], []]}, "subsets"),
        ({"subsets": [[0], [4]]}, "subsets"),
        ({"seeds": [0]}, "seeds"),
        ({"seeds": [0, -1]}, "seed"),
        ({"budget": 0}, "budget"),
        ({"device": "tpu"}, "device"),
        ({"recipe": Recipe(epochs=20, learning_rate=1e30)}, "recipe"),
    ],
)
def test_bad_input(change, argument):
    given = {"subsets": [[0], [1]], "recipe": QUICK, "seeds": [0, 1], "device": "cpu"} | change
    with pytest.raises(InputError) as caught:
        fit_many(small_problem("sign"), **given)
    assert caught.value.argument == argument
