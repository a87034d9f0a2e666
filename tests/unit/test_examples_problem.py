import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from taskgroup_core.errors import InputError
from taskgroup_core.examples import Examples
from taskgroup_core.seeds import derive
from tests.small import small_problem


def rows(*triples):
    columns = list(zip(*triples, strict=True))
    return Examples(torch.tensor(columns[0]), torch.tensor(columns[1]), torch.tensor(columns[2], dtype=torch.float32))


def test_a_table_holds_the_same_rows():
    used, labels = rows((7, 1, 1.0), (3, 0, 0.0), (7, 0, 1.0)).table(3)
    assert used.tolist() == [3, 7]
    assert labels[1, :2].tolist() == [1.0, 1.0] and labels[0, 0] == 0.0
    assert labels.isnan().tolist() == [[False, True, True], [False, False, True]]


def test_a_pair_twice_is_found_in_any_order_of_the_rows():
    ordered = [(0, 0, 1.0), (2, 0, 0.0), (1, 1, 1.0), (2, 1, 0.0)]
    assert len(rows(*ordered)) == len(rows(*ordered[::-1])) == 4
    for place in range(len(ordered)):
        for where in range(len(ordered) + 1):
            with pytest.raises(InputError, match="twice"):
                rows(*ordered[:where], ordered[place], *ordered[where:])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: rows((0, 0, float("nan"))), "NaN"),
        (lambda: rows((0, 0, 1.0), (0, 0, 0.0)), "twice"),
        (lambda: rows((-1, 0, 1.0)), "negative"),
        (lambda: Examples(torch.zeros(2), torch.zeros(3), torch.zeros(2)), "shapes"),
        (lambda: Examples(np.arange(2), torch.zeros(2).long(), torch.zeros(2)), "input_index: found ndarray"),
        (lambda: Examples(torch.arange(2), torch.zeros(2).bool(), torch.zeros(2)), "task_index: found torch.bool"),
        (lambda: Examples(torch.arange(2.0), torch.zeros(2).long(), torch.zeros(2)), "input_index: found torch.float"),
        (lambda: Examples(torch.arange(2), torch.zeros(2).long(), torch.zeros(2) * 1j), "label: found torch.complex"),
    ],
)
def test_bad_rows(make, words):
    with pytest.raises(InputError, match=words):
        make()


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64])
def test_labels_that_are_missing_stay_missing_whatever_type_the_others_have(dtype):
    label = torch.tensor([1, 0, 1]).to(dtype)
    _, labels = Examples(torch.arange(3), torch.arange(3), label).table(3)
    assert labels.dtype == torch.float32 and labels.diagonal().tolist() == [1, 0, 1]
    assert labels.isnan().sum() == 6


def test_indices_of_any_integer_type_count_as_int64():
    rows = torch.tensor([1 << 25, 0], dtype=torch.int32)
    far = Examples(rows, torch.full((2,), 127, dtype=torch.int32), torch.zeros(2))
    assert far.input_index.dtype == far.task_index.dtype == torch.int64
    problem = small_problem(n_tasks=100)
    narrow = replace(problem.train, task_index=problem.train.task_index.to(torch.uint8))
    assert replace(problem, train=narrow).train.task_index.max() == 99


def changed(split, **values):
    problem = small_problem()
    return replace(problem, **{split: replace(getattr(problem, split), **values)})


def test_a_problem_refuses_what_cannot_be_learnt():
    problem = small_problem()
    train = problem.train
    one_class = torch.where(train.task_index == 2, torch.ones_like(train.label), train.label)
    with pytest.raises(InputError, match="one class only for task 'task 2'"):
        changed("train", label=one_class)
    for wrong in (problem.val.label * 2, problem.val.label / 2, -problem.val.label, problem.val.label * 1e30):
        with pytest.raises(InputError, match="labels of 'task 0' other than 0 and 1"):
            changed("val", label=wrong)
    last = torch.where((train.task_index == 3) & (train.label == 1), torch.tensor(2.0), train.label)
    with pytest.raises(InputError, match="labels of 'task 3' other than 0 and 1"):
        changed("train", label=last)
    with pytest.raises(InputError, match="no example of task 'task 3'"):
        replace(problem, test=problem.test.of_tasks([0, 1, 2]))
    with pytest.raises(InputError, match="There are 300 inputs"):
        changed("train", input_index=train.input_index + 300)
    with pytest.raises(InputError, match="NaN or infinity"):
        replace(problem, inputs=problem.inputs * float("nan"))
    with pytest.raises(InputError, match="inputs: found ndarray"):
        replace(problem, inputs=problem.inputs.numpy())


def test_networks_of_one_seed_are_equal_and_leave_no_trace():
    problem = small_problem("sign")
    torch.manual_seed(3)
    first = problem.network(5)
    after = torch.rand(1)
    torch.manual_seed(3)
    assert torch.equal(torch.rand(1), after)
    second, other = problem.network(5), problem.network(6)
    same = [torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True)]
    assert all(same)
    assert not torch.equal(next(first.parameters()), next(other.parameters()))


class Flat(nn.Linear):
    def forward(self, inputs):
        return super().forward(inputs)[:, 0]


ONE = nn.Linear(6, 4)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: ONE, "the same network"),
        (lambda: nn.Sequential(ONE), "the same parameters"),
        (lambda: 3, "returns int"),
        (lambda: nn.Linear(6, 3), r"shape \(2, 3\)"),
        (lambda: nn.Linear(6, 1), r"shape \(2, 1\)"),
        (lambda: Flat(6, 4), r"shape \(2,\)"),
        (lambda: nn.LSTM(6, 4), "outputs of tuple"),
        (lambda: nn.Linear(5, 4), "cannot read inputs of shape"),
        (lambda: nn.Linear(6, 4).double(), "torch.float32"),
    ],
)
def test_a_network_that_does_not_fit_its_problem_is_refused_before_it_is_trained(build, words):
    problem = replace(small_problem(), build=build)
    with pytest.raises(InputError, match=f"build: found .*{words}"):
        problem.network(0)


class NeedsTwo(nn.Linear):
    def forward(self, inputs):
        return super().forward(inputs / inputs.std(dim=0))


def test_networks_that_share_what_is_not_trained_or_need_several_rows_are_networks():
    frozen = nn.Linear(6, 6).requires_grad_(False)
    for build in (
        lambda: nn.Sequential(frozen, nn.Linear(6, 4)),
        lambda: nn.Sequential(nn.BatchNorm1d(6), nn.LazyLinear(4)),
        lambda: NeedsTwo(6, 4),
    ):
        assert replace(small_problem(), build=build).network(0).training


def test_a_network_is_checked_once_and_its_problem_still_pickles():
    calls = []

    def build():
        calls.append(0)
        return nn.Linear(6, 4)

    problem = replace(small_problem(), build=build)
    for seed in range(3):
        problem.network(seed)
    assert len(calls) == 2 + 3
    used = small_problem()
    first = used.network(1)
    assert torch.equal(pickle.loads(pickle.dumps(used)).network(1).weight, first.weight)
    with torch.random.fork_rng():
        torch.manual_seed(derive(1, "initialisation"))
        assert torch.equal(used.build().weight, first.weight)
