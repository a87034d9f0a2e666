from dataclasses import replace
from functools import partial
from itertools import product

import pytest
import torch
from torch import nn

from taskgroup_core.errors import InputError
from taskgroup_core.flops import network_flops
from taskgroup_core.models.sign import Sign
from taskgroup_core.scores import elementwise_loss
from taskgroup_core.training.epochs import training_flops
from taskgroup_core.training.fit import fit
from taskgroup_core.training.recipe import Recipe, make_optimiser, make_schedule
from taskgroup_core.training.stacked import fit_many
from tests.small import small_problem

SUBSETS = [[0], [1, 3], [0, 1, 2, 3], [2, 0], [3], [0, 1, 2], [0]]
SEEDS = [0, 1, 2, 3, 4, 5, 6]
OPTIMISERS = {"adam": {}, "adamw": {}, "sgd": {"learning_rate": 0.2, "momentum": 0.9}}
STOPPING = Recipe(epochs=40, batch_size=32, learning_rate=0.05, keep="best", patience=3)


SIGN = partial(Sign, 2, 6, 8, 4, 0.2)


def problem_in_double(build=SIGN, network="sign"):
    problem = small_problem(network)
    return replace(problem, inputs=problem.inputs.double(), build=lambda: build().double())


def normalised():
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.PReLU(8), nn.Dropout(0.3), nn.Linear(8, 4))


def mean_validation_loss(network, problem, subset):
    used, labels = problem.table("val")
    with torch.no_grad():
        outputs = network(problem.inputs[used])
    of_task = []
    for task in subset:
        known = ~labels[:, task].isnan()
        label = labels[known, task].to(outputs.dtype)[:, None]
        of_task.append(float(elementwise_loss(outputs[known][:, [task]], label, (problem.tasks[task],)).mean()))
    return sum(of_task) / len(of_task)


def assert_stacked_is_alone(problem, recipe):
    lengths = []
    for subset, seed, found in zip(SUBSETS, SEEDS, fit_many(problem, SUBSETS, recipe, SEEDS, "cpu"), strict=True):
        alone = fit(problem, subset, recipe, seed, "cpu")
        assert found.losses == pytest.approx(alone.losses, rel=1e-5)
        assert found.validation_losses == pytest.approx(alone.validation_losses, rel=1e-5)
        assert found.flops == alone.flops and not found.network.training
        other = alone.network.state_dict()
        for name, value in found.network.state_dict().items():
            torch.testing.assert_close(value, other[name], rtol=1e-5, atol=1e-5 * float(other[name].abs().max()))
        lengths.append(len(found.losses))
    return lengths


@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize("schedule", ["constant", "cosine", "step"])
@pytest.mark.parametrize(("keep", "patience"), [("last", None), ("best", None), ("last", 2), ("best", 2)])
def test_stacked_training_is_training_alone(optimiser, schedule, keep, patience):
    settings = {"learning_rate": 0.05, **OPTIMISERS[optimiser]}
    recipe = Recipe(
        epochs=8,
        batch_size=32,
        weight_decay=0.05,
        optimiser=optimiser,
        schedule=schedule,
        decay_every=2,
        keep=keep,
        patience=patience,
        **settings,
    )
    assert_stacked_is_alone(problem_in_double(), recipe)


@pytest.mark.parametrize("batch_size", [1000, 31])
def test_networks_stop_apart_and_keep_their_own_running_statistics(batch_size):
    recipe = replace(STOPPING, batch_size=batch_size, optimiser="adamw", weight_decay=0.1)
    lengths = assert_stacked_is_alone(problem_in_double(normalised, "linear"), recipe)
    assert len(set(lengths)) > 2 and min(lengths) < 40


@pytest.mark.parametrize(("optimiser", "keep"), list(product(OPTIMISERS, ["last", "best"])))
def test_what_is_kept_and_when_it_stops(optimiser, keep):
    problem = problem_in_double()
    recipe = replace(STOPPING, optimiser=optimiser, keep=keep, **OPTIMISERS[optimiser])
    fitted = fit(problem, [0, 2], recipe, 0, "cpu")
    curve = fitted.validation_losses
    lowest = curve.index(min(curve))
    assert len(curve) == len(fitted.losses) == lowest + 1 + 3 < 40
    wanted = curve[-1] if keep == "last" else min(curve)
    assert mean_validation_loss(fitted.network, problem, [0, 2]) == pytest.approx(wanted, rel=1e-9)


def test_looking_at_validation_changes_nothing_about_the_training():
    problem = problem_in_double()
    plain = fit(problem, [0, 1], Recipe(epochs=5, batch_size=32), 0, "cpu")
    seen = fit(problem, [0, 1], Recipe(epochs=5, batch_size=32, patience=5), 0, "cpu")
    assert plain.losses == seen.losses and plain.validation_losses == ()
    pairs = zip(plain.network.parameters(), seen.network.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_flops_count_the_epochs_that_were_run_and_their_validation():
    problem = problem_in_double()
    forward, both = network_flops(problem.network(0), problem.inputs[:1])
    rows = len(problem.train.of_tasks([0, 2]).input_index.unique())
    epoch = both * rows + forward * len(problem.val.input_index.unique())
    fitted = fit(problem, [0, 2], STOPPING, 0, "cpu")
    assert fitted.flops == len(fitted.losses) * epoch < training_flops(problem, [0, 2], STOPPING) == 40 * epoch


def test_schedules_by_hand():
    def rates(**settings):
        recipe = Recipe(epochs=6, learning_rate=2.0, **settings)
        optimiser = make_optimiser(recipe, [torch.zeros(1, requires_grad=True)])
        schedule, found = make_schedule(recipe, optimiser), []
        for _ in range(recipe.epochs):
            found.append(optimiser.param_groups[0]["lr"])
            optimiser.step()
            schedule.step()
        return found

    assert rates() == [2.0] * 6
    assert rates(schedule="step", decay_every=2) == [2.0, 2.0, 1.0, 1.0, 0.5, 0.5]
    assert rates(schedule="cosine") == pytest.approx([2, 1 + 3**0.5 / 2, 1.5, 1, 0.5, 1 - 3**0.5 / 2])


def test_steps_of_the_optimisers_by_hand():
    def after_two_steps(**settings):
        weight = torch.tensor([1.0], dtype=torch.float64, requires_grad=True)
        optimiser = make_optimiser(Recipe(learning_rate=0.1, weight_decay=0.5, **settings), [weight])
        for gradient in (2.0, 4.0):
            weight.grad = torch.tensor([gradient], dtype=torch.float64)
            optimiser.step()
        return weight.item()

    first = 1 - 0.1 * 2.5
    assert after_two_steps(optimiser="sgd") == pytest.approx(first - 0.1 * (4 + 0.5 * first))
    velocity = 0.9 * 2.5 + 4 + 0.5 * first
    assert after_two_steps(optimiser="sgd", momentum=0.9) == pytest.approx(first - 0.1 * velocity)
    # Adam's first step is the learning rate's size, whatever the gradient; AdamW shrinks the weight apart from it.
    m, v = (0.9 * 0.2 + 0.4) / (1 - 0.81), (0.999 * 0.004 + 0.016) / (1 - 0.999**2)
    shrunk = 1 * 0.95 - 0.1
    assert after_two_steps(optimiser="adamw") == pytest.approx(shrunk * 0.95 - 0.1 * m / v**0.5, rel=1e-6)
    pulled = 4 + 0.5 * 0.9
    m, v = (0.9 * 0.25 + 0.1 * pulled) / (1 - 0.81), (0.999 * 0.00625 + 0.001 * pulled**2) / (1 - 0.999**2)
    assert after_two_steps(optimiser="adam") == pytest.approx(0.9 - 0.1 * m / v**0.5, rel=1e-6)


def test_a_validation_loss_that_never_is_finite_is_an_error():
    class Overflowing(nn.Linear):
        def forward(self, x):
            return super().forward(x) if self.training else super().forward(x) * float("nan")

    problem = replace(small_problem(), build=partial(Overflowing, 6, 4))
    for train in (lambda r: fit(problem, [0], r, 0, "cpu"), lambda r: fit_many(problem, [[0], [1]], r, [0, 1], "cpu")):
        with pytest.raises(InputError, match="never was finite"):
            train(Recipe(epochs=3, keep="best"))


@pytest.mark.parametrize(
    ("settings", "argument"),
    [
        ({"optimiser": "lbfgs"}, "optimiser"),
        ({"schedule": "linear"}, "schedule"),
        ({"keep": "first"}, "keep"),
        ({"momentum": 0.9}, "momentum"),
        ({"momentum": 1.0, "optimiser": "sgd"}, "momentum"),
        ({"momentum": float("nan"), "optimiser": "sgd"}, "momentum"),
        ({"patience": 0}, "patience"),
        ({"patience": 2.5}, "patience"),
        ({"decay_every": 0}, "decay_every"),
        ({"decay_factor": 0.0}, "decay_factor"),
        ({"epochs": 2.5}, "epochs"),
        ({"batch_size": True}, "batch_size"),
        ({"learning_rate": float("inf")}, "learning_rate"),
        ({"weight_decay": float("inf")}, "weight_decay"),
    ],
)
def test_bad_values(settings, argument):
    with pytest.raises(InputError) as caught:
        Recipe(**settings)
    assert caught.value.argument == argument
