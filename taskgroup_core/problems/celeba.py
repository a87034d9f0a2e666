"""CelebA: photographs of faces with 40 binary attributes, of which TAG takes nine."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from taskgroup_core.errors import DataError
from taskgroup_core.problems.faces import FULL_SIZE, SPLITS, check_attributes, check_size, drawn_rows, face_problem
from taskgroup_core.problems.pictures import PictureFiles, resized, shrunk
from taskgroup_core.problems.problem import Problem
from taskgroup_core.problems.registry import DataFile, DataSet, data_folder, locate
from taskgroup_core.problems.text_files import SUFFIXES, opened_text

# a1 to a9 of TAG, Principled task grouping and SCA, in their order.
TAG_ATTRIBUTES = (
    "5_o_Clock_Shadow",
    "Black_Hair",
    "Blond_Hair",
    "Brown_Hair",
    "Goatee",
    "Mustache",
    "No_Beard",
    "Rosy_Cheeks",
    "Wearing_Hat",
)
PICTURES = "img_align_celeba"
PIXELS = ((178, 218), (FULL_SIZE, FULL_SIZE))  # as published, or made smaller by whoever keeps them
CELEBA = DataSet(
    "celeba",
    "CelebA: 202,599 photographs of faces with 40 binary attributes",
    "for non-commercial research only, not to be redistributed",
    (
        DataFile(
            "list_attr_celeba.txt",
            sha256="f0e5da289d5ccf75ffe8811132694922b60f2af59256ed362afa03fefba324d0",
            size=26_721_026,
        ),
        DataFile(
            "list_eval_partition.txt",
            sha256="fc955bcb3ef8fbdf7d5640d9a8693a8431b5f2ee291a5c1449a1549e7e073fe7",
            size=2_836_386,
        ),
        DataFile(f"{PICTURES}.zip"),
    ),
    "CelebA may be used for non-commercial research only: accept its agreement at "
    "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html, download the aligned pictures, the attributes and the "
    "partition there, and put them into this folder.",
)
DATASETS: tuple[DataSet, ...] = (CELEBA,)


def celeba_problem(
    attributes: Sequence[str] = TAG_ATTRIBUTES,
    *,
    folder: str | Path | None = None,
    pictures: str = PICTURES,
    partial: bool = False,
    n_train: int | None = None,
    n_val: int | None = None,
    n_test: int | None = None,
    size: int = 64,
    width: int = 64,
    metric: str = "accuracy",
    seed: int = 0,
) -> Problem:
    """One binary task an attribute, on CelebA's aligned pictures and official splits.

    Parameters
    ----------
    attributes : names as in the second line of list_attr_celeba.txt.
    folder : where list_attr_celeba.txt and list_eval_partition.txt are, or their .gz or .xz, and the pictures; by
        default celeba/ below `data_folder()`.
    pictures : name there of a folder of JPEG files or of a zip archive (its .zip may be left out), of 178 x 218
        pixels or already 64 x 64.
    partial : use the pictures that are there, where all must be otherwise.
    n_train, n_val, n_test : pictures of each split, drawn at random; None takes all.
    size : height and width of the pictures: 64, or 32, 16 or 8 by the mean over square blocks.
    width : channels of the `Residual` network; TAG's are 64.
    metric : of every task; the papers print 100 - 100 accuracy, summed over the tasks.
    seed : decides which pictures are drawn.

    Raises
    ------
    DataError : a file that is missing (the message says how to get it), truncated or malformed (with its line), a
        number of rows that is not the one the file names, files that do not fit each other, or see `PictureFiles`.
    InputError : an unknown attribute, a size or a number out of range, or so few pictures that a split lacks one
        class of a task.
    MissingExtra : Pillow is not installed.

    References
    ----------
    Liu et al., Deep Learning Face Attributes in the Wild, 2015; TAG, B.6: all of the official splits
    (162,770, 19,867 and 19,962 pictures) at 64 x 64.

    Deviations
    ----------
    Resized values are rounded to bytes, where TAG's released code keeps floats.
    """
    check_size(size)
    place = Path(folder) if folder is not None else data_folder() / CELEBA.name
    names, labels = _attributes(_text(place, "list_attr_celeba.txt"), attributes)
    split = _partition(_text(place, "list_eval_partition.txt"), names)
    candidates = [place / pictures, place / f"{pictures}.zip"]
    source = next((path for path in candidates if path.exists()), None)
    if source is None:
        raise DataError(str(candidates[0]), "no such folder or archive", CELEBA.how)
    with PictureFiles(source) as files:
        if partial:
            split[[name not in files for name in names]] = -1
        rows = drawn_rows(split, (n_train, n_val, n_test), seed)
        loaded = np.empty((len(rows), 3, size, size), dtype=np.uint8)
        for index, row in enumerate(rows):
            loaded[index] = shrunk(resized(files.pixels(names[row], PIXELS), FULL_SIZE)[None], size)[0]
    return face_problem("CelebA", list(attributes), loaded, labels[rows], split[rows], width=width, metric=metric)


def _text(place: Path, name: str) -> Path:
    """The path of a text file, compressed or not."""
    found = [place / f"{name}{suffix}" for suffix in SUFFIXES]
    return next((path for path in found if path.is_file()), None) or locate(CELEBA, name, place)


def _attributes(path: Path, attributes: Sequence[str]) -> tuple[list[str], NDArray[np.float32]]:
    """The N names of pictures, and the labels of some attributes, 0 or 1, with shape (N, n)."""
    names, values = [], bytearray()
    with opened_text(path) as file:
        count = file.readline().strip()
        if not count.isdigit():
            raise DataError(f"{path}, line 1", repr(count[:60]), "The first line is the number of pictures.")
        header = file.readline().split()
        columns = [1 + header.index(name) for name in check_attributes(attributes, header)]
        for number, line in enumerate(file, start=3):
            words = line.split()
            if len(words) != 1 + len(header) or not {"1", "-1"}.issuperset(words[1:]):
                remedy = f"Each row holds the name of a picture and {len(header)} times 1 or -1."
                raise DataError(f"{path}, line {number}", repr(line[:60]), remedy)
            names.append(words[0])
            values.extend(words[column] == "1" for column in columns)
    if len(names) != int(count):
        raise DataError(str(path), f"{len(names)} rows, where line 1 says {count}", "Download it again.")
    return names, np.frombuffer(values, dtype=np.uint8).reshape(len(names), -1).astype(np.float32)


def _partition(path: Path, names: Sequence[str]) -> NDArray[np.int8]:
    """The split of each picture, 0, 1 or 2, with shape (N,)."""
    split = np.empty(len(names), dtype=np.int8)
    with opened_text(path) as file:
        for number, (line, name) in enumerate(zip_longest(file, names), start=1):
            words = (line or "").split()
            if line is not None and (len(words) != 2 or words[1] not in ("0", "1", "2")):
                remedy = f"Each row holds the name of a picture and 0, 1 or 2 ({', '.join(SPLITS)})."
                raise DataError(f"{path}, line {number}", repr(line[:60]), remedy)
            if line is None or words[0] != name:
                found = f"{words[0] if words else 'the end'}, where the attributes have {name or 'the end'}"
                raise DataError(f"{path}, line {number}", found, "Use the two files of one release.")
            split[number - 1] = int(words[1])
    return split
