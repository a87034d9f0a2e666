"""All data sets of the project, gathered from the problems that read them."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from importlib import import_module

from taskgroup_core.errors import InputError
from taskgroup_core.problems.registry import DataSet

# Modules of taskgroup_core.problems, each with a tuple DATASETS.
MODULES = (
    "blogcatalog",
    "celeba",
    "debian",
    "drawn_faces",
    "landmine",
    "molecules",
    "prompt_files",
    "published",
    "rte",
    "school",
    "series",
    "snap_graphs",
    "wic",
    "word_in_context",
    "yeast",
)


def catalogue() -> dict[str, DataSet]:
    """Every data set by its name, in alphabetical order."""
    modules = [import_module(f"taskgroup_core.problems.{name}") for name in MODULES]
    return check_names(one for module in modules for one in module.DATASETS)


def check_names(datasets: Iterable[DataSet]) -> dict[str, DataSet]:
    """Data sets by name, in alphabetical order, after checking that no two share a folder or a file.

    Raises
    ------
    InputError : two data sets of one name, a data set with two files of one name, or a file that could neither be
        downloaded nor be had as its data set says.
    """
    found: dict[str, DataSet] = {}
    for one in datasets:
        if one.name in found:
            raise InputError("DATASETS", f"two data sets named {one.name!r}", "Give each a name of its own.")
        names = [file.name for file in one.files]
        if len(set(names)) < len(names):
            raise InputError("DATASETS", f"two files of {one.name!r} with one name", "Name each file once.")
        if not one.how and any(file.address is None for file in one.files):
            raise InputError("DATASETS", f"no address and no `how` in {one.name!r}", "Say how to get the file.")
        found[one.name] = one
    return dict(sorted(found.items()))


def find_dataset(name: str) -> DataSet:
    """The data set of a name.

    Raises
    ------
    InputError : no data set of that name.
    """
    known = catalogue()
    if name not in known:
        near = get_close_matches(name, known, n=1)
        remedy = f"Did you mean {near[0]!r}?" if near else f"Use one of {', '.join(known)}."
        raise InputError("NAME", repr(name), f"{remedy} taskgroup data list shows all.")
    return known[name]
