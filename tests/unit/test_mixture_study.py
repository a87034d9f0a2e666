"""The study of SCA's free choices: what is shared, what is compared."""

from __future__ import annotations

import numpy as np
import pytest

from taskgroup_core.errors import InputError
from taskgroup_core.grouping.gat_mixture import GATMixtureGrouper
from taskgroup_core.grouping.grouping import Grouping
from taskgroup_core.runs.mixture_study import mixture_study
from taskgroup_core.seeds import derive

LABELS = np.repeat(np.arange(3), 3)
FAMILIES = (LABELS[:, None] == LABELS) + 0.05 * np.random.default_rng(0).standard_normal((9, 9))
VARIANTS = {
    "as printed": {},
    "full": {"covariance": "full"},
    "2 neighbours": {"neighbours": 2},
    "untrained": {"embedding": "untrained"},
    "rows": {"embedding": "rows"},
}


@pytest.fixture(scope="module")
def study():
    truth = Grouping.from_labels(LABELS)
    return mixture_study(FAMILIES, 3, VARIANTS, families=truth, seeds=3, restarts=2, seed=5)


def test_each_run_is_the_groupers_own(study) -> None:
    rows, groupings = study
    for name in ("full", "2 neighbours"):
        state = derive(5, "mixture study", 1)
        alone = GATMixtureGrouper(3, restarts=2, random_state=state, **VARIANTS[name]).fit(FAMILIES)
        assert groupings[name][1].groups == alone.groups_
    assert list(rows.index) == list(VARIANTS) and all(len(found) == 3 for found in groupings.values())


def test_clear_families_are_in_the_rows_and_neighbours_keep_them(study) -> None:
    rows, _ = study
    for name in ("rows", "2 neighbours"):
        assert rows.loc[name, "to families"] == rows.loc[name, "between seeds"] == 1
    assert (rows["lowest"] <= rows["to families"]).all() and (rows["to families"] <= rows["highest"]).all()
    assert (rows.memberships >= 1).all() and rows.groups.between(1, 3).all()


def test_without_families_only_the_seeds_are_compared() -> None:
    rows, _ = mixture_study(FAMILIES, 3, {"rows": {"embedding": "rows"}}, seeds=2, restarts=1)
    assert np.isnan(rows["to families"]["rows"]) and rows["between seeds"]["rows"] <= 1


@pytest.mark.parametrize(
    ("variants", "seeds", "named"),
    [({}, 2, "variants"), ({"a": {}}, 1, "seeds"), ({"a": {"embedding": "columns"}}, 2, "embedding")],
)
def test_bad_arguments(variants, seeds, named) -> None:
    with pytest.raises(InputError, match=named):
        mixture_study(FAMILIES, 3, variants, seeds=seeds, restarts=1)
