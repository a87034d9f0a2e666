"""Picture files in a folder or a zip archive, checked one by one and kept as bytes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import avg_pool2d, interpolate

from taskgroup_core.errors import DataError, MissingExtra
from taskgroup_core.problems.archive_members import readable
from taskgroup_core.problems.checked_zip import CheckedZip

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
    DataError : no such folder or archive, or see `CheckedZip`.
    """

    def __init__(self, place: Path) -> None:
        self.place, self.archive = place, None
        if place.is_dir():
            self._entries = {path.name: str(path) for path in place.iterdir() if path.suffix == ".jpg"}
            return
        self.archive = CheckedZip(place)
        self._entries = {PurePosixPath(name).name: name for name in self.archive.names if name.endswith(".jpg")}

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
        except (OSError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise DataError(where, f"no readable JPEG picture ({error})", "Download it again.") from error

    def _read(self, name: str, where: str) -> bytes:
        entry = self._entries.get(name)
        if entry is None:
            raise DataError(where, "no such picture", "Complete the pictures, or ask for a part of them.")
        with readable(self.place, entry), self.archive.open(entry) if self.archive else open(entry, "rb") as file:
            content: bytes = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise DataError(where, f"a file of more than {MOST_BYTES} bytes", "No picture of these is so large.")
        return content


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
