import numpy as np
import pytest
import torch

from taskgroup_core.affinity.subset_regressions import TaskRows, subset_regressions
from taskgroup_core.errors import InputError


def rows(kind="binary", **change):
    given = {
        "features": torch.ones(4, 1, 3, dtype=torch.float64),
        "offset": torch.zeros(4, 1, dtype=torch.float64),
        "label": torch.tensor([0.0, 1.0, 0.0, 1.0], dtype=torch.float64),
    }
    return TaskRows(kind, **{**given, **change})


@pytest.mark.parametrize(
    ("change", "argument"),
    [
        ({"features": torch.ones(4, 1, 3)}, "features"),
        ({"features": torch.ones(4, 3, dtype=torch.float64)}, "features"),
        ({"features": torch.ones(4, 2, 3, dtype=torch.float64), "offset": torch.zeros(4, 2).double()}, "features"),
        ({"kind": "multiclass"}, "features"),
        ({"features": torch.full((4, 1, 3), torch.nan, dtype=torch.float64)}, "features, offset, label"),
        ({"offset": torch.full((4, 1), torch.inf, dtype=torch.float64)}, "features, offset, label"),
        ({"offset": torch.zeros(4, dtype=torch.float64)}, "offset, label"),
        ({"offset": torch.zeros(4, 1)}, "offset, label"),
        ({"label": torch.zeros(3, dtype=torch.float64)}, "offset, label"),
        (
            {"features": torch.ones(0, 1, 3).double(), "offset": torch.zeros(0, 1), "label": torch.zeros(0)},
            "offset, label",
        ),
        ({"label": torch.full((4,), 2.0, dtype=torch.float64)}, "label"),
        ({"label": torch.full((4,), 0.5, dtype=torch.float64)}, "label"),
    ],
)
def test_rows_refuse_bad_input(change, argument):
    with pytest.raises(InputError) as caught:
        rows(**change)
    assert caught.value.argument == argument


@pytest.mark.parametrize("label", [3.0, -1.0, 0.5])
def test_a_class_outside_the_outputs_is_refused(label):
    with pytest.raises(InputError, match="0 to 2"):
        TaskRows("multiclass", torch.ones(1, 3, 2).double(), torch.zeros(1, 3).double(), torch.tensor([label]))


@pytest.mark.parametrize(
    ("change", "argument"),
    [
        ({"C": 0.0}, "C"),
        ({"C": -1.0}, "C"),
        ({"C": np.nan}, "C"),
        ({"tolerance": 0.0}, "tolerance"),
        ({"max_iterations": 0}, "max_iterations"),
        ({"rows": []}, "rows"),
        ({"rows": [rows(), rows(features=torch.ones(4, 1, 2, dtype=torch.float64))]}, "rows"),
        ({"subsets": np.zeros((1, 2), dtype=bool)}, "subsets"),
        ({"subsets": np.ones((1, 3), dtype=bool)}, "subsets"),
        ({"subsets": np.ones((0, 2), dtype=bool)}, "subsets"),
    ],
)
def test_regressions_refuse_bad_input(change, argument):
    with pytest.raises(InputError) as caught:
        subset_regressions(**{"rows": [rows(), rows()], "subsets": np.ones((1, 2), dtype=bool), **change})
    assert caught.value.argument == argument
