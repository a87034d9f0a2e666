"""CelebA's official formats, on a part of the real files and on tiny ones written here."""

from __future__ import annotations

import gzip
import hashlib
import io
import lzma
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from taskgroup_core.errors import DataError, InputError, MissingExtra
from taskgroup_core.problems import celeba
from taskgroup_core.problems.celeba import CELEBA, TAG_ATTRIBUTES, celeba_problem
from taskgroup_core.problems.pictures import MOST_BYTES, PictureFiles, resized

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "celeba"
ATTRIBUTES = ["Goatee", "Smiling", "Wearing_Hat"]
N = 24


def jpeg(seed: int, size: tuple[int, int] = (64, 64), mode: str = "RGB") -> bytes:
    values = np.random.default_rng(seed).integers(0, 256, (size[1] // 2 + 1, size[0] // 2 + 1, 3), dtype=np.uint8)
    image = Image.fromarray(values).resize(size).convert(mode)
    saved = io.BytesIO()
    image.save(saved, "JPEG", quality=95)
    return saved.getvalue()


# A picture of 64 x 64 pixels that says it has 60,000 x 60,000.
BOMB = jpeg(0).replace(b"\xff\xc0\x00\x11\x08\x00\x40\x00\x40", b"\xff\xc0\x00\x11\x08\xea\x60\xea\x60")


def write(folder: Path, n: int = N, size: tuple[int, int] = (64, 64)) -> Path:
    """Files as published: counts, names and -1 or 1 in columns of three, lines that end in CRLF."""
    names = [f"{index + 1:06}.jpg" for index in range(n)]
    signs = [["-1", "1"][index >> bit & 1] for index in range(n) for bit in range(3)]
    rows = [f"{name} " + " ".join(f"{s:>2}" for s in signs[3 * i : 3 * i + 3]) for i, name in enumerate(names)]
    text = "\r\n".join([str(n), " ".join(ATTRIBUTES) + " ", *rows, ""])
    (folder / "list_attr_celeba.txt").write_text(text, newline="")
    parts = [0 if index < n // 3 else 1 if index < 2 * n // 3 else 2 for index in range(n)]
    (folder / "list_eval_partition.txt").write_text(
        "".join(f"{name} {part}\r\n" for name, part in zip(names, parts, strict=True)), newline=""
    )
    (folder / "img_align_celeba").mkdir()
    for index, name in enumerate(names):
        (folder / "img_align_celeba" / name).write_bytes(jpeg(index, size))
    return folder


def archive(folder: Path, inside: str = "img_align_celeba/") -> Path:
    """The same pictures in a zip archive, and no folder any more."""
    place = folder / "img_align_celeba"
    with zipfile.ZipFile(folder / "img_align_celeba.zip", "w") as packed:
        packed.writestr(inside, "")
        for path in sorted(place.iterdir()):
            packed.writestr(f"{inside}{path.name}", path.read_bytes())
            path.unlink()
    place.rmdir()
    return folder


def load(folder: Path, **options: object) -> torch.Tensor:
    return celeba_problem(ATTRIBUTES, folder=folder, width=2, **options).inputs


def test_labels_and_splits_are_those_of_the_files(tmp_path: Path) -> None:
    problem = celeba_problem(["Wearing_Hat", "Goatee"], folder=write(tmp_path), width=2)
    used, labels = problem.table("val")
    assert used.tolist() == list(range(8, 16))
    assert labels[:, 1].tolist() == [index & 1 for index in range(8, 16)]
    assert labels[:, 0].tolist() == [index >> 2 & 1 for index in range(8, 16)]
    assert problem.inputs.dtype == torch.uint8 and problem.inputs.shape == (N, 3, 64, 64)
    assert problem.task_names == ["Wearing_Hat", "Goatee"]
    assert {task.metric for task in problem.tasks} == {"accuracy"}


def test_a_folder_and_an_archive_hold_the_same_pictures(tmp_path: Path) -> None:
    plain = load(write(tmp_path))
    decoded = np.asarray(Image.open(io.BytesIO(jpeg(5))))
    assert np.array_equal(plain[5].permute(1, 2, 0), decoded)
    assert torch.equal(load(archive(tmp_path)), plain)
    assert torch.equal(load(tmp_path, pictures="img_align_celeba.zip"), plain)


@pytest.mark.parametrize("suffix", [".gz", ".xz"])
def test_text_files_may_be_compressed(tmp_path: Path, suffix: str) -> None:
    plain = load(write(tmp_path))
    for name in ("list_attr_celeba.txt", "list_eval_partition.txt"):
        pack = gzip.compress if suffix == ".gz" else lzma.compress
        (tmp_path / f"{name}{suffix}").write_bytes(pack((tmp_path / name).read_bytes()))
        (tmp_path / name).unlink()
    assert torch.equal(load(tmp_path), plain)
    damaged = tmp_path / f"list_attr_celeba.txt{suffix}"
    damaged.write_bytes(damaged.read_bytes()[:-9])
    with pytest.raises(DataError, match=re.escape(damaged.name)):
        load(tmp_path)


def test_published_pictures_are_resized_as_tensorflow_does(tmp_path: Path) -> None:
    found = load(write(tmp_path, size=(178, 218)))[3].double().numpy()
    pixels = np.asarray(Image.open(io.BytesIO(jpeg(3, (178, 218))))).astype(float)

    def along(values: np.ndarray, axis: int) -> np.ndarray:
        """Linear between the two pixels around each new centre, with centres at half pixels."""
        length = values.shape[axis]
        place = np.clip((np.arange(64) + 0.5) * length / 64 - 0.5, 0, length - 1)
        low = np.minimum(np.floor(place).astype(int), length - 2)
        weight = (place - low).reshape([-1 if a == axis else 1 for a in range(3)])
        return np.take(values, low, axis) * (1 - weight) + np.take(values, low + 1, axis) * weight

    exact = along(along(pixels, 0), 1).transpose(2, 0, 1)
    assert np.abs(found - exact).max() < 0.51


def test_smaller_pictures_are_means_and_squares_stay(tmp_path: Path) -> None:
    full = load(write(tmp_path))
    small = load(tmp_path, size=16)
    exact = full.reshape(N, 3, 16, 4, 16, 4).double().mean(dim=(3, 5))
    assert (small - exact).abs().max() <= 0.5
    square = np.arange(64 * 64 * 3, dtype=np.uint8).reshape(64, 64, 3)
    assert np.array_equal(resized(square, 64), square.transpose(2, 0, 1))


def test_some_pictures_of_each_split_are_drawn_by_seed(tmp_path: Path) -> None:
    write(tmp_path, n=60)
    options = {"n_train": 12, "n_val": 15, "n_test": 18}
    first, again, other = (
        celeba_problem(ATTRIBUTES, folder=tmp_path, width=2, seed=seed, **options) for seed in (0, 0, 1)
    )
    assert [len(first.table(split)[0]) for split in ("train", "val", "test")] == [12, 15, 18]
    assert torch.equal(first.inputs, again.inputs) and not torch.equal(first.inputs, other.inputs)
    whole = {picture.numpy().tobytes() for picture in load(tmp_path)[:20]}
    assert {picture.numpy().tobytes() for picture in first.inputs[first.table("train")[0]]} <= whole


def test_a_missing_picture_is_named_unless_a_part_is_asked_for(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "img_align_celeba" / "000003.jpg").unlink()
    with pytest.raises(DataError, match=r"000003\.jpg: found no such picture"):
        load(tmp_path)
    assert len(load(tmp_path, partial=True)) == N - 1
    archive(tmp_path)
    with pytest.raises(DataError, match=r"000003\.jpg: found no such picture"):
        load(tmp_path)
    assert len(load(tmp_path, partial=True)) == N - 1


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (4, "000002.jpg -1 1"),
        (4, "000002.jpg -1 1 1 1"),
        (4, "000002.jpg -1 0 1"),
        (4, "000002.jpg -1 x 1"),
        (4, ""),
        (1, "many"),
        (1, ""),
    ],
)
def test_a_malformed_row_of_the_attributes(tmp_path: Path, line: int, text: str) -> None:
    path = write(tmp_path) / "list_attr_celeba.txt"
    lines = path.read_text().splitlines()
    lines[line - 1] = text
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match=rf"list_attr_celeba\.txt, line {line}: found"):
        load(tmp_path)


@pytest.mark.parametrize("text", ["000002.jpg", "000002.jpg 3", "000002.jpg 0 0", "000002.jpg -1", ""])
def test_a_malformed_row_of_the_partition(tmp_path: Path, text: str) -> None:
    path = write(tmp_path) / "list_eval_partition.txt"
    lines = path.read_text().splitlines()
    lines[1] = text
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match=r"list_eval_partition\.txt, line 2: found"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: lines[:-1], "line 24: found the end, where the attributes have 000024"),
        (lambda lines: [*lines, "000025.jpg 2"], "line 25: found 000025.jpg, where the attributes have the end"),
        (lambda lines: [*lines[1:], lines[0]], "line 1: found 000002.jpg, where the attributes have 000001"),
    ],
)
def test_a_partition_of_other_pictures(tmp_path: Path, change: object, message: str) -> None:
    path = write(tmp_path) / "list_eval_partition.txt"
    path.write_text("\n".join(change(path.read_text().splitlines())) + "\n")
    with pytest.raises(DataError, match=message):
        load(tmp_path)


def test_the_number_of_rows_is_compared_with_the_first_line(tmp_path: Path) -> None:
    path = write(tmp_path) / "list_attr_celeba.txt"
    path.write_text(path.read_text().replace("24", "25", 1))
    with pytest.raises(DataError, match="found 24 rows, where line 1 says 25"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (jpeg(0, (64, 63)), "64 x 63 pixels in mode RGB.*178 x 218 or 64 x 64"),
        (jpeg(0, mode="L"), "64 x 64 pixels in mode L"),
        (jpeg(0)[:500], "no readable JPEG picture"),
        (b"", "no readable JPEG picture"),
        (b"GIF89a", "no readable JPEG picture"),
        (BOMB, "no readable JPEG picture"),
        (jpeg(0) + bytes(MOST_BYTES), "a file of"),
    ],
    ids=["size", "grey", "cut", "empty", "no JPEG", "bomb", "huge"],
)
def test_a_bad_picture_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = write(tmp_path) / "img_align_celeba" / "000007.jpg"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"000007\.jpg: found {message}"):
        load(tmp_path)


def test_an_altered_picture_in_an_archive_is_named(tmp_path: Path) -> None:
    archive(write(tmp_path))
    path = tmp_path / "img_align_celeba.zip"
    raw = bytearray(path.read_bytes())
    raw[raw.index(b"000007.jpg") + 300] ^= 0xFF
    path.write_bytes(raw)
    with pytest.raises(DataError, match=r"000007\.jpg': found a truncated, altered or unreadable archive"):
        load(tmp_path)


@pytest.mark.parametrize("name", ["../000001.jpg", "/000001.jpg", "a/../../000001.jpg", "..\\000001.jpg"])
def test_an_archive_that_points_out_of_itself(tmp_path: Path, name: str) -> None:
    archive(write(tmp_path))
    with zipfile.ZipFile(tmp_path / "img_align_celeba.zip", "a") as packed:
        packed.writestr(name, jpeg(0))
    with pytest.raises(DataError, match="leads out of the folder"):
        load(tmp_path)


def test_an_archive_with_a_link_or_a_giant(tmp_path: Path) -> None:
    archive(write(tmp_path))
    original = (tmp_path / "img_align_celeba.zip").read_bytes()
    link = zipfile.ZipInfo("img_align_celeba/link.jpg")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "img_align_celeba.zip", "a") as packed:
        packed.writestr(link, "/etc/passwd")
    with pytest.raises(DataError, match="a link"):
        load(tmp_path)
    (tmp_path / "img_align_celeba.zip").write_bytes(original)
    with zipfile.ZipFile(tmp_path / "img_align_celeba.zip", "a", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("img_align_celeba/giant.jpg", bytes(MOST_BYTES + 1))
    with PictureFiles(tmp_path / "img_align_celeba.zip") as files, pytest.raises(DataError, match="more than"):
        files.pixels("giant.jpg", [(178, 218)])
    (tmp_path / "img_align_celeba.zip").write_bytes(original[:-40])
    with pytest.raises(DataError, match="unreadable archive"):
        load(tmp_path)


def test_what_is_missing_is_said_with_the_way_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKGROUP_DATA", str(tmp_path))
    with pytest.raises(DataError, match=r"celeba/list_attr_celeba\.txt: found no such file.*non-commercial research"):
        celeba_problem()
    (tmp_path / "celeba").mkdir()
    write(tmp_path / "celeba")
    with pytest.raises(InputError, match=r"attributes: found '5_o_Clock_Shadow'.*Goatee, Smiling"):
        celeba_problem()
    with pytest.raises(DataError, match=r"none: found no such folder or archive.*non-commercial research"):
        celeba_problem(ATTRIBUTES, pictures="none")
    assert len(celeba_problem(ATTRIBUTES, width=2).inputs) == N
    with pytest.raises(InputError, match="size: found 48"):
        celeba_problem(ATTRIBUTES, size=48)
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtra, match=r"taskgroup_core\[data\]"):
        celeba_problem(ATTRIBUTES)


def test_nothing_of_celeba_is_downloaded_automatically() -> None:
    assert celeba.DATASETS == (CELEBA,)
    assert all(file.address is None for file in CELEBA.files) and "mmlab" in CELEBA.how


def shared(name: str) -> Path:
    if not (SHARED / name).is_file():
        pytest.skip(f"{SHARED / name} is not here")
    return SHARED / name


@pytest.mark.parametrize("name", ["list_attr_celeba.txt", "list_eval_partition.txt"])
def test_checksums_are_those_of_the_official_text_files(name: str) -> None:
    path = shared(f"{name}.xz" if "attr" in name else f"{name}.gz")
    data = (lzma if path.suffix == ".xz" else gzip).open(path).read()
    assert hashlib.sha256(data).hexdigest() == CELEBA.file(name).sha256
    assert len(data) == CELEBA.file(name).size


MEASURE = """
import resource, sys
from taskgroup_core.problems.celeba import celeba_problem
from PIL import Image
import torch
options = dict(folder=sys.argv[1], pictures="celeba64_30k", partial=True, width=2)
def peak(): return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
torch.zeros(1).isfinite()
before = peak()
problem = celeba_problem(n_train=7000, n_val=2000, n_test=2000, **options)
print(*[len(problem.table(split)[0]) for split in ("train", "val", "test")])
print(*problem.task_names)
print(peak() - before, problem.inputs.numel())
print(*[f"{1 - float(problem.table('train')[1][:, task].mean()):.3f}" for task in range(9)])
"""


def test_real_pictures_are_read_in_less_than_twice_their_memory() -> None:
    folder = shared("celeba64_30k.zip").parent
    done = subprocess.run([sys.executable, "-c", MEASURE, folder], capture_output=True, text=True, check=True)
    sizes, names, memory, shares = done.stdout.splitlines()
    assert sizes == "7000 2000 2000" and names.split() == list(TAG_ATTRIBUTES)
    more, data = map(int, memory.split())
    assert data == 11000 * 3 * 64 * 64 and more < 2 * data
    # Known frequencies over all pictures: 11 % shadows, 24 % black hair, 83 % without a beard, 5 % hats.
    absent = [float(share) for share in shares.split()]
    assert np.allclose([absent[0], absent[1], absent[6], absent[8]], [0.89, 0.76, 0.17, 0.95], atol=0.02)
