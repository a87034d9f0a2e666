import numpy as np
import torch

from taskgroup_core.runs.chapter import Chapter
from taskgroup_core.runs.resume import chapter_slices

EMBEDDED = Chapter("embedded", 0, torch.device("cpu"))


def test_slices_are_found_again_and_dropped_when_anything_changes(tmp_path):
    data = tmp_path / "data.bin"
    data.write_bytes(b"one")

    def names(chapter=EMBEDDED, parameters=(("m", 3),)):
        return chapter_slices(chapter, "run", dict(parameters), [data], tmp_path / "slices").names

    chapter_slices(EMBEDDED, "run", {"m": 3}, [data], tmp_path / "slices").put("first", x=np.ones(2))
    assert names() == ["first"]
    assert names(parameters=(("m", 4),)) == []
    assert names() == []


def test_changed_data_and_seeds_drop_slices_too(tmp_path):
    data = tmp_path / "data.bin"
    for change in ("data", "seed"):
        data.write_bytes(b"one")
        chapter_slices(EMBEDDED, change, {}, [data], tmp_path / "slices").put("first", x=np.ones(2))
        if change == "data":
            data.write_bytes(b"two")
        chapter = Chapter("embedded", int(change == "seed"), torch.device("cpu"))
        assert chapter_slices(chapter, change, {}, [data], tmp_path / "slices").names == []


def test_smoke_keeps_nothing(tmp_path):
    assert chapter_slices(Chapter("smoke", 0, torch.device("cpu")), "run", {}, [], tmp_path) is None
    assert not list(tmp_path.iterdir())
