"""Picture files in a folder or a zip archive, checked one by one and kept as bytes."""

from __future__ import annotations

import io
import stat
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import avg_pool2d, interpolate

from taskgroup_core.errors import DataError, MissingExtra

Bytes = NDArray[np.uint8]
MOST_BYTES = 1 << 20  # of one picture file: CelebA's largest has a fiftieth of that
BLOCK = 256  # pictures changed at a time: bounds the memory that they take as floats


class PictureFiles(AbstractContextManager["PictureFiles"]):
    """The JPEG files of a folder, or those of a zip archive, which is read without unpacking it.

    Parameters
    ----------
    place : the folder or the archive; folders inside an archive do not count.

    Raises
    ------
    DataError : no such folder or archive, an archive that cannot be read, or see `check_member`.
    """

    def __init__(self, place: Path) -> None:
        self.place, self.archive = place, None
        self._entries: Mapping[str, Path | zipfile.ZipInfo]
        if place.is_dir():
            self._entries = {path.name: path for path in place.iterdir() if path.suffix == ".jpg"}
            return
        try:
            self.archive = zipfile.ZipFile(place)
        except FileNotFoundError as error:
            raise DataError(str(place), "no such folder or archive", "Correct the path.") from error
        except (zipfile.BadZipFile, OSError) as error:
            raise DataError(str(place), f"no readable zip archive ({error})", "Download it again.") from error
        members = [member for member in self.archive.infolist() if member.filename.endswith(".jpg")]
        for member in members:
            check_member(place, member)
        self._entries = {PurePosixPath(member.filename).name: member for member in members}

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def __exit__(self, *_: object) -> None:
        if self.archive is not None:
            self.archive.close()

    def pixels(self, name: str, sizes: Sequence[tuple[int, int]]) -> Bytes:
        """A picture, uint8 with shape (height, width, 3).

        Parameters
        ----------
        name : of its file.
        sizes : the sizes (width, height) that it may have.

        Raises
        ------
        DataError : a file that is missing, too large or no JPEG picture, or a picture of another size or not RGB.
        MissingExtra : Pillow is not installed.
        """
        try:
            from PIL import Image
        except ImportError as error:
            raise MissingExtra("pillow", "data") from error
        where = f"{self.place}/{name}"
        try:
            with Image.open(io.BytesIO(self._read(name, where)), formats=("JPEG",)) as image:
                if image.size not in sizes or image.mode != "RGB":
                    found = f"{image.size[0]} x {image.size[1]} pixels in mode {image.mode}"
                    wanted = " or ".join(f"{width} x {height}" for width, height in sizes)
                    raise DataError(where, found, f"Give pictures of {wanted} pixels in mode RGB.")
                return np.asarray(image)
        except (OSError, zipfile.BadZipFile) as error:
            raise DataError(where, f"no readable JPEG picture ({error})", "Download it again.") from error

    def _read(self, name: str, where: str) -> bytes:
        entry = self._entries.get(name)
        if entry is None:
            raise DataError(where, "no such picture", "Complete the pictures, or ask for a part of them.")
        if isinstance(entry, zipfile.ZipInfo):
            assert self.archive is not None
            return self.archive.read(entry)
        if entry.stat().st_size > MOST_BYTES:
            raise DataError(where, f"a file of {entry.stat().st_size} bytes", f"Pictures have at most {MOST_BYTES}.")
        return entry.read_bytes()


def check_member(archive: Path, member: zipfile.ZipInfo) -> None:
    """Refuse a member of an archive that points out of it, is a link, or is larger than a picture can be.

    Raises
    ------
    DataError : such a member.
    """
    path = PurePosixPath(member.filename.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or stat.S_ISLNK(member.external_attr >> 16):
        found = f"the member {member.filename!r}, a link or a path that leaves the archive"
    elif member.file_size > MOST_BYTES:
        found = f"the member {member.filename!r} of {member.file_size} bytes"
    else:
        return
    raise DataError(str(archive), found, "Do not use this archive: get it from its publisher.")


def resized(pixels: Bytes, size: int) -> Bytes:
    """A picture of any shape as a square, uint8 from shape (h, w, 3) to (3, size, size); a square one stays as it is.

    Bilinear between the four pixels around each new one's centre, without smoothing, as `tf.image.resize` does.
    """
    picture = torch.tensor(pixels).permute(2, 0, 1)
    if picture.shape[1:] != (size, size):
        scaled = interpolate(picture[None].float(), (size, size), mode="bilinear", align_corners=False)[0]
        picture = scaled.round().to(torch.uint8)
    found: Bytes = picture.numpy()
    return found


def shrunk(pictures: Bytes, size: int) -> Bytes:
    """Square pictures made smaller by the mean over square blocks, uint8 from (N, 3, s, s) to (N, 3, size, size).

    `size` must divide s.
    """
    factor = pictures.shape[-1] // size
    if factor == 1:
        return pictures
    result = np.empty((*pictures.shape[:2], size, size), dtype=np.uint8)
    for start in range(0, len(pictures), BLOCK):
        block = torch.tensor(pictures[start : start + BLOCK]).float()
        result[start : start + BLOCK] = avg_pool2d(block, factor).round().to(torch.uint8).numpy()
    return result
