"""The affinities that solvers are timed on, and the table of times."""

from __future__ import annotations

import numpy as np
import pytest

from taskgroup_core.errors import InputError
from taskgroup_core.grouping.programming import ProgrammingGrouper
from taskgroup_core.runs.programming_times import KINDS, drawn_affinity, solver_seconds


def test_each_kind_is_what_its_name_says() -> None:
    random, planted, low_rank, lookahead = (drawn_affinity(kind, 16, 3) for kind in KINDS)
    outside = ~np.eye(16, dtype=bool)
    alike = np.equal.outer(np.arange(16) % 4, np.arange(16) % 4)
    assert abs(random.mean()) < 0.3 and 0.8 < random.std() < 1.2
    assert planted[alike].mean() > planted[~alike].mean() + 0.7
    singular = np.linalg.svd(low_rank, compute_uv=False)
    assert singular[2] > 3 * singular[3]
    assert lookahead[outside].max() < 0 < np.diag(lookahead).min()
    np.testing.assert_array_equal(random, drawn_affinity("random", 16, 3))
    assert not np.array_equal(random, drawn_affinity("random", 16, 4))


def test_the_table_has_a_row_for_every_run_with_its_own_optimum() -> None:
    table = solver_seconds([(4, 2), (5, 3)], repeats=2)
    assert len(table) == 2 * len(KINDS) * 2
    assert (table["seconds"] > 0).all() and (table["gap"] == 0).all()
    row = table.query("tasks == 5 and kind == 'planted' and repeat == 1").iloc[0]
    assert row["objective"] == ProgrammingGrouper(3).fit(drawn_affinity("planted", 5, 1)).objective_


def test_another_kind() -> None:
    with pytest.raises(InputError, match="kind"):
        drawn_affinity("sparse", 3, 0)
