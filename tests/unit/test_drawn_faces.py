from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import re
import shutil
import tarfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from taskgroup_core.errors import DataError, InputError
from taskgroup_core.problems.drawn_faces import (
    ATTRIBUTES,
    STYLES,
    DrawnFaces,
    drawn_faces_problem,
    load_drawn_faces,
)

FOLDER = Path(__file__).resolve().parents[2] / "data" / "faces"


@pytest.fixture(scope="module")
def faces() -> DrawnFaces:
    return load_drawn_faces()


@pytest.fixture(scope="module")
def derive() -> ModuleType:
    spec = importlib.util.spec_from_file_location("derive_faces", FOLDER / "derive.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def card() -> str:
    return (FOLDER / "README.md").read_text(encoding="utf-8")


def card_count(what: str) -> int:
    return int(re.search(rf"^\| {re.escape(what)} \| ([\d,]+) \|$", card(), re.MULTILINE).group(1).replace(",", ""))


def test_card_and_checksum_agree_with_the_file_which_is_small() -> None:
    data = (FOLDER / "people.parquet").read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    assert f"| `people.parquet` | {len(data):,} | `{digest}` |" in card()
    assert (FOLDER / "SHA256SUMS").read_text() == f"{digest}  people.parquet\n"
    assert len(data) < 3e6


def test_licences_and_credits_are_in_the_card() -> None:
    for words in ("Twemoji", "Creative Commons Attribution 4.0", "Noto Emoji", "Apache License 2.0", "MIT", "Changes"):
        assert words in card()


def test_counts_of_the_card(faces: DrawnFaces) -> None:
    table = faces.table
    assert len(table) == len(faces.pictures) == card_count("pictures kept")
    assert table["code"].nunique() == card_count("entries kept")
    assert table["concept"].nunique() == card_count("concepts")
    for name in ATTRIBUTES:
        known = table[name].dropna()
        assert re.search(rf"\| `{name}` \| {len(known):,} \| {int(known.sum()):,} \| {100 * known.mean():.1f} ", card())
        assert known.mean() > 0.05
    for split, part in table.groupby("split"):
        assert f"| {split} | {part['concept'].nunique()} | {len(part):,} |" in card()


def test_a_concept_lies_in_one_split_with_all_its_variants(faces: DrawnFaces) -> None:
    assert (faces.table.groupby("concept")["split"].nunique() == 1).all()
    twins = faces.table.groupby("code")
    assert (twins["concept"].nunique() == 1).all()
    assert (twins.size() == 12).all()  # six tones, two styles


def test_no_picture_is_in_two_splits(faces: DrawnFaces) -> None:
    digests = [hashlib.sha256(picture.tobytes()).hexdigest() for picture in faces.pictures]
    splits = faces.table.assign(digest=digests).groupby("digest")["split"].nunique()
    assert (splits == 1).all()


def test_attributes_overlap_as_the_card_says(faces: DrawnFaces) -> None:
    on = faces.table[list(ATTRIBUTES)].fillna(False).astype(bool)
    assert not (on["sport"] & ~on["active"]).any() and not (on["facing_right"] & ~on["active"]).any()
    for first, second in (("woman", "man"), ("light_skin", "dark_skin"), ("role", "active")):
        assert not (on[first] & on[second]).any()
    assert (on["water"] & on["sport"]).any() and (on["water"] & ~on["active"]).any()
    missing = faces.table[faces.table["woman"].isna()]
    assert missing["man"].isna().all() and set(missing["name"]) >= {"ninja", "horse racing", "baby"}


def test_pictures_are_drawings_on_white_in_both_styles(faces: DrawnFaces) -> None:
    assert faces.pictures.dtype == np.uint8 and faces.pictures.shape[1:] == (3, 64, 64)
    corners = faces.pictures[:, :, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert (corners == 255).all(axis=1).mean() > 0.6
    assert len(np.unique(faces.pictures)) <= 32
    # The colour of a face without skin tone is yellow: red and green high, blue low.
    face = faces.table.query("name == 'adult' and tone == 'none'").index
    assert set(faces.table["style"][face]) == set(STYLES)
    red, green, blue = faces.pictures[face, :, 38, 32].T
    assert red.min() > 200 and green.min() > 150 and blue.max() < 120


def test_darker_tones_are_darker(faces: DrawnFaces) -> None:
    adults = faces.table.query("name == 'adult' and tone != 'none'")
    for _, rows in adults.groupby("style"):
        nose = faces.pictures[rows.index, :, 38, 32].astype(int).sum(axis=1)
        assert (np.diff(nose) < 0).all()


def test_problems_of_some_attributes_styles_and_sizes(faces: DrawnFaces) -> None:
    whole = drawn_faces_problem(size=8)
    assert whole.task_names == list(ATTRIBUTES) and whole.inputs.shape == (3132, 3, 8, 8)
    assert len(whole.train) == 9 * len(whole.table("train")[0]) - 2 * int(
        faces.table.query("split == 'train'")["woman"].isna().sum()
    )
    small = drawn_faces_problem(
        ["sport", "man"], styles=["noto"], n_train=60, n_val=40, n_test=30, size=16, width=3, metric="accuracy", seed=2
    )
    assert [len(small.table(split)[0]) for split in ("train", "val", "test")] == [60, 40, 30]
    assert [task.metric for task in small.tasks] == ["accuracy"] * 2
    assert small.network(0)(small.inputs[:2]).shape == (2, 2)
    more = drawn_faces_problem(["sport", "man"], styles=["noto"], n_train=70, n_val=40, n_test=30, size=16, seed=2)
    known = {picture.numpy().tobytes() for picture in more.inputs[more.table("train")[0]]}
    assert {picture.numpy().tobytes() for picture in small.inputs[small.table("train")[0]]} <= known


def test_smaller_pictures_are_means_over_blocks(faces: DrawnFaces) -> None:
    small = drawn_faces_problem(size=16).inputs[7].numpy()
    exact = faces.pictures[7].reshape(3, 16, 4, 16, 4).mean(axis=(2, 4))
    assert np.abs(small - exact).max() <= 0.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attributes": ["smiling"]}, "attributes: found 'smiling'.*woman"),
        ({"styles": ["photo"]}, "styles: found.*twemoji"),
        ({"styles": []}, "styles: found"),
        ({"size": 24}, "size: found 24.*16"),
        ({"n_train": 0}, "n_train: found 0"),
        ({"n_val": 5000}, "n_val: found 5000"),
        ({"n_test": True}, "n_test: found True"),
        ({"n_test": 1}, "test: found one class only"),
        ({"metric": "r2"}, "metric: found 'r2'"),
    ],
)
def test_bad_options(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        drawn_faces_problem(**options)


def test_an_altered_file_is_refused(tmp_path: Path) -> None:
    folder = shutil.copytree(FOLDER, tmp_path / "faces")
    (folder / "people.parquet").write_bytes((folder / "people.parquet").read_bytes()[:-1])
    with pytest.raises(DataError, match="SHA-256"):
        load_drawn_faces(folder)


def entry(code: str, name: str, short: str, kind: str = "person-role") -> dict[str, object]:
    return {"unified": code, "name": name, "short_name": short, "subcategory": kind, "category": "People & Body"}


JUDGES = [
    entry("1F9D1-200D-2696-FE0F", "JUDGE", "judge"),
    entry("1F468-200D-2696-FE0F", "MAN JUDGE", "male-judge"),
    entry("1F469-200D-2696-FE0F", "WOMAN JUDGE", "female-judge"),
]
OTHERS = [
    entry("1F473", "MAN WITH TURBAN", "man_with_turban"),
    entry("1F473-200D-2640-FE0F", "WOMAN WEARING TURBAN", "woman-wearing-turban"),
    entry("1F478", "PRINCESS", "princess"),
    entry("1F977", "NINJA", "ninja"),
    entry("1F574-FE0F", "PERSON IN SUIT LEVITATING", "man_in_business_suit_levitating"),
    entry("1F6B6-200D-27A1-FE0F", "PERSON WALKING FACING RIGHT", "person_walking_facing_right", "person-activity"),
    entry("1F93D", "WATER POLO", "water_polo", "person-sport"),
]


def test_sex_follows_signs_then_siblings_then_words(derive: ModuleType) -> None:
    codes = [one["unified"] for one in JUDGES + OTHERS]
    found = [derive.sex(one, codes) for one in JUDGES + OTHERS]
    assert found == ["neither", "man", "woman", "neither", "woman", "woman", None, None, "neither", None]


def test_concepts_join_sexes_directions_and_twins(derive: ModuleType) -> None:
    assert len({derive.concept(one["unified"]) for one in JUDGES}) == 1
    assert derive.concept("1F6B6-200D-27A1-FE0F") == derive.concept("1F6B6-200D-2640-FE0F") == "1F6B6"
    assert derive.concept("1F469-200D-1F9BC-200D-27A1-FE0F") == derive.concept("1F9D1-200D-1F9BD")
    assert derive.concept("1F469") == derive.concept("1F471-200D-2642-FE0F") == "P"
    assert derive.concept("1F469-200D-1F33E") != derive.concept("1F469-200D-1F373")


def test_attributes_of_entries(derive: ModuleType) -> None:
    codes = [one["unified"] for one in JUDGES + OTHERS]
    walking = derive.attributes(OTHERS[-2], "dark", codes)
    assert [name for name, value in walking.items() if value] == ["dark_skin", "active", "facing_right"]
    polo = derive.attributes(OTHERS[-1], "none", codes)
    assert [name for name, value in polo.items() if value] == ["active", "sport", "water"]
    assert polo["woman"] is None and polo["man"] is None


def test_the_rule_on_small_packages(derive: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tones = [tone for tone in derive.TONES if tone]
    emoji = [
        dict(
            one,
            image=f"{one['unified']}.png",
            skin_variations={t: {"image": f"{one['unified']}-{t}.png"} for t in tones},
        )
        for one in [*JUDGES, *OTHERS]
    ]
    emoji.append(dict(entry("1F468-200D-1F467", "FAMILY", "family", "family"), image="family.png"))
    blind = "1F977"

    def package(style: str) -> tarfile.TarFile:
        data = io.BytesIO()
        with tarfile.open(fileobj=data, mode="w") as tar:

            def add(name: str, content: bytes) -> None:
                info = tarfile.TarInfo(f"package/{name}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))

            add("emoji.json", json.dumps(emoji).encode())
            for index, one in enumerate(emoji[:-1]):
                for code in derive.TONES:
                    shade = 0 if one["unified"] == blind else 40 * list(derive.TONES).index(code)
                    image = Image.new("RGBA", (64, 64), (shade, 20 * index, 0, 128))
                    saved = io.BytesIO()
                    image.save(saved, "PNG")
                    name = one["skin_variations"][code]["image"] if code else one["image"]
                    add(f"img/{derive.STYLES[style]}/64/{name}", saved.getvalue())
        return tarfile.open(fileobj=io.BytesIO(data.getvalue()))

    monkeypatch.setattr(derive, "split_concepts", lambda rows: ({row["concept"]: "train" for row in rows}, 3))
    rows, counts = derive.derive({style: package(style) for style in STYLES})
    assert counts["entries in each package"] == 10 and counts["entries kept"] == 9
    assert len(rows) == 9 * 6 * 2 and blind not in {row["code"] for row in rows}
    # Half of black and half of white is grey, in 32 steps.
    assert np.frombuffer(rows[0]["picture"], dtype=np.uint8).max() == (255 - 128 * 255 // 255) >> 3
    sums = [derive.write(tmp_path, rows) for _ in range(2)]
    assert sums[0] == sums[1]
    again = load_drawn_faces(tmp_path)
    assert again.pictures.shape == (108, 3, 64, 64)
    assert again.table["name"][0] == "judge" and pd.isna(again.table.query("code == '1F574-FE0F'")["man"]).all()


def test_splits_are_balanced_and_by_concept(derive: ModuleType) -> None:
    generator = np.random.default_rng(0)
    concepts = [f"c{index}" for index in range(60)]
    traits = {concept: generator.random(9) < 0.5 for concept in concepts}
    rows = [
        {"concept": concept, **dict(zip(derive.ATTRIBUTES, map(bool, traits[concept]), strict=True))}
        for concept in concepts * 3
    ]
    split, _ = derive.split_concepts(rows)
    assert pd.Series(split).value_counts().to_dict() == {"train": 36, "val": 12, "test": 12}
    overall = np.mean(list(traits.values()), axis=0)
    for part in ("train", "val", "test"):
        share = np.mean([traits[concept] for concept, its in split.items() if its == part], axis=0)
        assert (share / overall).max() <= 1.35 and (share / overall).min() >= 1 / 1.35
