"""Derive the drawn people of this folder from two packages of emoji pictures.

    npm pack emoji-datasource-twitter@16.0.0 emoji-datasource-google@16.0.0
    python data/faces/derive.py emoji-datasource-twitter-16.0.0.tgz emoji-datasource-google-16.0.0.tgz

The rule is in README.md, whose tables of counts this script writes anew. Same packages, same bytes (for one version of
pyarrow, whose name is in the Parquet file, and of its zstd). Needs Pillow.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import re
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

STYLES = {"twemoji": "twitter", "noto": "google"}  # name here: name of the package
CATEGORY = "People & Body"
SUBCATEGORIES = ("activity", "fantasy", "gesture", "resting", "role", "sport")  # all "person-...", and "person" itself
TONES = {"": "none", "1F3FB": "light", "1F3FC": "medium-light", "1F3FD": "medium", "1F3FE": "medium-dark"}
TONES |= {"1F3FF": "dark"}
ATTRIBUTES = ("woman", "man", "light_skin", "dark_skin", "role", "active", "sport", "water", "facing_right")
WATER = re.compile(r"\b(SURF\w*|SWIM\w*|ROWING BOAT|ROWBOAT|WATER POLO|BATH|MERMAID|MERMAN|MERPERSON)\b")
WORDS = {
    "woman": {"woman", "girl", "princess", "mother"},
    "man": {"man", "boy", "prince", "father"},
    "neither": {"person", "adult", "child", "mx"},
}
# Entries drawn alike, or as one figure in two sizes: one concept. P is MAN, WOMAN or ADULT.
SAME = (
    ("P", "1F471"),  # adult; blond hair, of which one picture is the same
    ("1F466", "1F467", "1F9D2"),  # children
    ("1F474", "1F475", "1F9D3"),  # older people
    ("1F385", "1F936", "P-1F384"),  # Father, Mother and Mx Christmas
    ("1F934", "1F478", "1FAC5"),  # prince, princess, person with crown
    ("1F930", "1FAC3", "1FAC4"),  # pregnant people
    ("1F931", "P-1F37C"),  # feeding a baby
    ("1F483", "1F57A"),  # dancing
    ("P-1F9BC", "P-1F9BD"),  # in a wheelchair, motorised or not
    ("1F6B4", "1F6B5"),  # cycling, on a mountain or not
    ("1F64D", "1F64E"),  # frowning and pouting
)
SHARES = {"train": 0.6, "val": 0.2, "test": 0.2}
BALANCE = 1.35  # no attribute may be so many times more or less frequent in a split than over all
MARK = "<!-- counts: written by derive.py -->"

Entry = dict[str, Any]


def people(emoji: Sequence[Entry]) -> list[Entry]:
    """The entries that show one person in the five skin tones of Unicode, in the order of the file."""
    wanted = {"person", *(f"person-{name}" for name in SUBCATEGORIES)}
    return [
        entry
        for entry in emoji
        if entry["category"] == CATEGORY
        and entry["subcategory"] in wanted
        and set(entry.get("skin_variations", {})) == set(TONES) - {""}
    ]


def without_sex(code: str) -> str:
    """A code without the signs of sex: MAN, WOMAN and ADULT become P."""
    return re.sub(r"^1F(468|469|9D1)(?=-|$)", "P", re.sub(r"-200D-264[02]-FE0F", "", code))


def concept(code: str) -> str:
    """What an entry shows, whoever it is and whichever way they face."""
    plain = without_sex(code).replace("-200D-27A1-FE0F", "").replace("-FE0F", "").replace("-200D", "")
    return next((group[0] for group in SAME if plain in group), plain)


def sex(entry: Entry, codes: Sequence[str]) -> str | None:
    """Whether an entry shows a woman, a man, explicitly neither, or None where the metadata do not say."""
    code = entry["unified"]
    for found, sign, person in (("woman", "2640", "1F469"), ("man", "2642", "1F468")):
        if sign in code.split("-") or code.split("-")[0] == person:
            return found
    if sum(without_sex(other) == without_sex(code) for other in codes) > 1:
        return "neither"  # it stands beside a woman and a man, whatever its old name says
    words = set(re.split(r"[^a-z]+", f"{entry['name']} {entry['short_name']}".lower()))
    found = [kind for kind, its in WORDS.items() if words & its]
    return found[0] if len(found) == 1 else None


def attributes(entry: Entry, tone: str, codes: Sequence[str]) -> dict[str, bool | None]:
    """The nine labels of a picture, None where the metadata do not say."""
    kind, name, who = entry["subcategory"], entry["name"], sex(entry, codes)
    return {
        "woman": None if who is None else who == "woman",
        "man": None if who is None else who == "man",
        "light_skin": tone in ("light", "medium-light"),
        "dark_skin": tone in ("dark", "medium-dark"),
        "role": kind == "person-role",
        "active": kind in ("person-activity", "person-sport"),
        "sport": kind == "person-sport",
        "water": WATER.search(name) is not None,
        "facing_right": name.endswith("FACING RIGHT"),
    }


def picture(data: bytes) -> np.ndarray:
    """A picture on white, uint8 with shape (64, 64, 3), each channel in 32 steps."""
    rgba = np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"), dtype=np.uint32)
    alpha = rgba[..., 3:]
    return ((rgba[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255 >> 3).astype(np.uint8)


def split_concepts(rows: list[Entry]) -> tuple[dict[str, str], int]:
    """A split for each concept, from the first seed for which all attributes are balanced (see BALANCE)."""
    names = sorted({row["concept"] for row in rows})
    number = np.array([names.index(row["concept"]) for row in rows])
    labels = np.array([[np.nan if row[name] is None else row[name] for name in ATTRIBUTES] for row in rows])
    overall = np.nanmean(labels, axis=0)
    parts = np.repeat(list(SHARES), np.diff([0, *np.round(np.cumsum(list(SHARES.values())) * len(names)).astype(int)]))
    for seed in range(100_000):
        part = np.empty_like(parts)
        part[np.random.default_rng(seed).permutation(len(names))] = parts
        ratios = np.array([np.nanmean(labels[part[number] == split], axis=0) / overall for split in SHARES])
        if ratios.min() >= 1 / BALANCE and ratios.max() <= BALANCE:
            return dict(zip(names, part.tolist(), strict=True)), seed
    raise SystemExit("No balanced split was found.")


def table_rows(packages: dict[str, tarfile.TarFile]) -> Iterator[Entry]:
    """One row a picture, style by style, entry by entry, tone by tone."""
    for style, package in packages.items():
        emoji = people(json.load(package.extractfile("package/emoji.json")))
        codes = [entry["unified"] for entry in emoji]
        for entry in emoji:
            for code, tone in TONES.items():
                image = (entry["skin_variations"][code] if code else entry)["image"]
                member = package.extractfile(f"package/img/{STYLES[style]}/64/{image}")
                yield {
                    "style": style,
                    "name": entry["name"].lower(),
                    "code": entry["unified"],
                    "concept": concept(entry["unified"]),
                    "tone": tone,
                    **attributes(entry, tone, codes),
                    "picture": picture(member.read()).tobytes(),
                }


def derive(packages: dict[str, tarfile.TarFile]) -> tuple[list[Entry], dict[str, int]]:
    """The rows that are kept, with their splits, and the counts for the data card."""
    rows = list(table_rows(packages))
    tones: dict[tuple[str, str], set[bytes]] = {}
    for row in rows:
        tones.setdefault((row["style"], row["code"]), set()).add(row["picture"])
    blind = {code for (_, code), seen in tones.items() if len(seen) < len(TONES)}
    counts = {"entries in each package": len({row["code"] for row in rows})}
    rows = [row for row in rows if row["code"] not in blind]
    split, seed = split_concepts(rows)
    rows = [row | {"split": split[row["concept"]]} for row in rows]
    counts |= {
        "of these, dropped because a style draws two tones alike": len(blind),
        "entries kept": len({row["code"] for row in rows}),
        "pictures kept": len(rows),
        "concepts": len(split),
        "seed of the split": seed,
    }
    return rows, counts


def write(folder: Path, rows: list[Entry]) -> str:
    """Write people.parquet and SHA256SUMS."""
    text = {name: pa.array([row[name] for row in rows], pa.string()) for name in ("style", "name", "code")}
    text |= {name: pa.array([row[name] for row in rows], pa.string()) for name in ("concept", "tone", "split")}
    labels = {name: pa.array([row[name] for row in rows], pa.bool_()) for name in ATTRIBUTES}
    pictures = {"picture": pa.array([row["picture"] for row in rows], pa.binary(64 * 64 * 3))}
    pq.write_table(
        pa.table(text | labels | pictures),
        folder / "people.parquet",
        compression="zstd",
        compression_level=22,
        use_dictionary=list(text),
        data_page_size=2**26,  # one page, so that a picture can be coded by its neighbours' difference
        row_group_size=len(rows),
    )
    digest = hashlib.sha256((folder / "people.parquet").read_bytes()).hexdigest()
    (folder / "SHA256SUMS").write_text(f"{digest}  people.parquet\n")
    return digest


def card_tables(rows: list[Entry], counts: dict[str, int]) -> list[str]:
    """The tables of the card: what was counted, and how frequent each attribute is."""
    lines = ["| step | count |", "|---|---:|", *(f"| {what} | {count:,} |" for what, count in counts.items())]
    lines += ["", "| split | concepts | pictures |", "|---|---:|---:|"]
    parts = {split: [row for row in rows if row["split"] == split] for split in SHARES}
    lines += [f"| {split} | {len({row['concept'] for row in of})} | {len(of):,} |" for split, of in parts.items()]
    lines += ["", "| attribute | labelled | positive | % | % in train | % in val | % in test |", "|---|" + "---:|" * 6]
    for name in ATTRIBUTES:
        known = [row[name] for row in rows if row[name] is not None]
        shares = [100 * np.mean([row[name] for row in of if row[name] is not None]) for of in (rows, *parts.values())]
        lines.append(f"| `{name}` | {len(known):,} | {sum(known):,} | " + " | ".join(f"{s:.1f}" for s in shares) + " |")
    return lines


def main() -> None:
    """Command line: see the top of this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("twitter", type=Path, help="emoji-datasource-twitter-16.0.0.tgz")
    parser.add_argument("google", type=Path, help="emoji-datasource-google-16.0.0.tgz")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder to write (default: this one)")
    arguments = parser.parse_args()
    archives = (arguments.twitter, arguments.google)
    with tarfile.open(arguments.twitter) as twemoji, tarfile.open(arguments.google) as noto:
        rows, counts = derive({"twemoji": twemoji, "noto": noto})
    arguments.out.mkdir(parents=True, exist_ok=True)
    digest = write(arguments.out, rows)
    size = (arguments.out / "people.parquet").stat().st_size
    lines = card_tables(rows, counts)
    lines += ["", "| file | bytes | SHA-256 |", "|---|---:|---|", f"| `people.parquet` | {size:,} | `{digest}` |", ""]
    for path in archives:
        sha = hashlib.sha256(path.read_bytes()).hexdigest()
        lines.append(f"Input: `{path.name}`, {path.stat().st_size:,} bytes, SHA-256 `{sha}`.")
    table = "\n".join(lines)
    print(table)
    card = arguments.out / "README.md"
    if card.exists():
        before, _, after = card.read_text().split(MARK)
        card.write_text(f"{before}{MARK}\n\n{table}\n\n{MARK}{after}")


if __name__ == "__main__":
    main()
