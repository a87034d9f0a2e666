from dataclasses import replace

import pytest
import torch

from taskgroup_core.errors import InputError
from taskgroup_core.examples import Examples
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
    ],
)
def test_bad_rows(make, words):
    with pytest.raises(InputError, match=words):
        make()


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
