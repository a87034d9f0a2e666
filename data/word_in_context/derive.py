"""Derive the word-in-context pairs of this folder from WordNet's example sentences.

    apt-get download wordnet-base                   # Debian 12: WordNet 3.0
    dpkg-deb -x wordnet-base_*.deb unpacked
    python data/word_in_context/derive.py --from unpacked/usr/share/wordnet [--out /some/folder]

The rule is in README.md, whose table of counts this script writes anew. Same input, same bytes (for one version of
pyarrow, whose name is in every Parquet file).
"""

from __future__ import annotations

import argparse
import hashlib
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

KINDS = {"N": "noun", "V": "verb"}
# Morphy's rules of detachment, as WordNet's manual page lists them: ending > what replaces it.
ENDINGS = {
    "N": "s>,ses>s,xes>x,zes>z,ches>ch,shes>sh,men>man,ies>y",
    "V": "s>,ies>y,es>e,es>,ed>e,ed>,ing>e,ing>",
}
FEWEST_WORDS, MOST_WORDS = 3, 30
PAIRS_OF_A_LEMMA = 3  # of each label, at most
SHARES = {"train": 0.6, "val": 0.2, "test": 0.2}
MARK = "<!-- counts: written by derive.py -->"
WORD = re.compile(r"[A-Za-z]+")


@dataclass(frozen=True)
class Use:
    """One sentence in which a lemma stands with a known sense: the synset, its topic file, and where the word is."""

    synset: str
    topic: str
    sentence: str
    start: int
    end: int


def order(*words: str) -> bytes:
    """A key that puts things in an order which means nothing and is the same everywhere."""
    return hashlib.sha256("\0".join(words).encode()).digest()


def exceptions(folder: Path, pos: str) -> dict[str, set[str]]:
    """Irregular forms: each with its base forms."""
    lines = (folder / f"{KINDS[pos]}.exc").read_text(encoding="ascii").splitlines()
    return {words[0]: set(words[1:]) for words in map(str.split, lines)}


def bases(form: str, pos: str, irregular: dict[str, set[str]]) -> set[str]:
    """All words that a form may be a form of, itself included; most of them are none."""
    rules = [rule.split(">") for rule in ENDINGS[pos].split(",")]
    regular = {form[: -len(end)] + base for end, base in rules if form.endswith(end) and len(form) > len(end)}
    return {form} | irregular.get(form, set()) | regular


def synsets(folder: Path, pos: str) -> Iterator[tuple[str, str, list[str], list[str]]]:
    """Offset, topic file, one-word lower-case lemmas and example sentences of every synset."""
    for line in (folder / f"data.{KINDS[pos]}").read_text(encoding="ascii").splitlines():
        if line.startswith(" "):
            continue  # the licence stands at the head of the file
        head, _, gloss = line.partition(" | ")
        fields = head.split()
        words = fields[4 : 4 + 2 * int(fields[3], 16) : 2]
        lemmas = [word for word in words if word.isalpha() and word.islower()]
        yield fields[0], fields[1], lemmas, [text.strip() for text in re.findall(r'"([^"]*)"', gloss)]


def uses(folder: Path) -> dict[tuple[str, str], list[Use]]:
    """For each (lemma, part of speech) the sentences that hold exactly one form of the lemma."""
    found: dict[tuple[str, str], list[Use]] = defaultdict(list)
    for pos in KINDS:
        irregular = exceptions(folder, pos)
        for synset, topic, lemmas, sentences in synsets(folder, pos):
            for sentence in sentences:
                words = list(WORD.finditer(sentence))
                if not FEWEST_WORDS <= len(words) <= MOST_WORDS:
                    continue
                for lemma in lemmas:
                    hits = [word for word in words if lemma in bases(word.group().lower(), pos, irregular)]
                    if len(hits) == 1:
                        found[lemma, pos].append(Use(synset, topic, sentence, *hits[0].span()))
    return found


def candidates(found: dict[tuple[str, str], list[Use]]) -> Iterator[tuple[int, str, str, Use, Use]]:
    """All admissible pairs: one synset (1), or two synsets of different topic files (0)."""
    for (lemma, pos), sentences in found.items():
        for index, first in enumerate(sentences):
            for second in sentences[index + 1 :]:
                if first.synset == second.synset or first.topic != second.topic:
                    label = int(first.synset == second.synset)
                    one, two = sorted((first, second), key=lambda use: order("place", lemma, use.sentence))
                    yield label, lemma, pos, one, two


def choose(found: dict[tuple[str, str], list[Use]]) -> list[dict[str, object]]:
    """The pairs: no sentence twice, few of a lemma, as many of either label in every split."""
    ranked = sorted(candidates(found), key=lambda c: order(c[1], c[2], c[3].sentence, c[4].sentence))
    used: set[str] = set()
    number: dict[tuple[str, int], int] = defaultdict(int)
    rows: dict[tuple[str, int], list[dict[str, object]]] = defaultdict(list)
    # Pairs of one sense are the scarce ones, so they choose first.
    for label, lemma, pos, one, two in sorted(ranked, key=lambda c: -c[0]):
        texts = {one.sentence, two.sentence}
        if len(texts) < 2 or texts & used or number[lemma, label] == PAIRS_OF_A_LEMMA:
            continue
        used |= texts
        number[lemma, label] += 1
        row = {"word": lemma, "pos": pos, "sentence1": one.sentence, "sentence2": two.sentence}
        row |= {"start1": one.start, "end1": one.end, "start2": two.start, "end2": two.end}
        rows[split_of(lemma), label].append(row | {"label": label, "split": split_of(lemma)})
    kept = []
    for split in SHARES:
        fewest = min(len(rows[split, label]) for label in (0, 1))
        kept += [row for label in (0, 1) for row in rows[split, label][:fewest]]
    return sorted(kept, key=lambda row: order("row", str(row["sentence1"])))


def split_of(lemma: str) -> str:
    """The split of a lemma, whatever its part of speech."""
    place = int.from_bytes(order("split", lemma)[:8], "big") / 2**64
    return "train" if place < SHARES["train"] else "val" if place < SHARES["train"] + SHARES["val"] else "test"


def write(folder: Path, rows: list[dict[str, object]]) -> str:
    """Write pairs.parquet and SHA256SUMS."""
    kinds = {"label": pa.int8()} | {name: pa.int16() for name in ("start1", "end1", "start2", "end2")}
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in rows[0]])
    pq.write_table(pa.Table.from_pylist(rows, schema), folder / "pairs.parquet", compression="zstd")
    digest = hashlib.sha256((folder / "pairs.parquet").read_bytes()).hexdigest()
    (folder / "SHA256SUMS").write_text(f"{digest}  pairs.parquet\n")
    return digest


def main() -> None:
    """Command line: see the top of this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", dest="source", type=Path, required=True, help="folder with data.noun and noun.exc")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder to write (default: this one)")
    arguments = parser.parse_args()
    found = uses(arguments.source)
    rows = choose(found)
    arguments.out.mkdir(parents=True, exist_ok=True)
    digest = write(arguments.out, rows)
    counts = {
        "sentences with a form of a lemma of their synset": sum(map(len, found.values())),
        "of so many lemmas (noun and verb apart)": len(found),
        "pairs kept": len(rows),
        "words": len({row["word"] for row in rows}),
        "pairs of nouns": sum(row["pos"] == "N" for row in rows),
    } | {f"pairs in {split}": sum(row["split"] == split for row in rows) for split in SHARES}
    rows_of_table = [f"| {what} | {count:,} |" for what, count in counts.items()]
    table = "\n".join(["| what | count |", "|---|---:|", *rows_of_table])
    size = (arguments.out / "pairs.parquet").stat().st_size
    table += f"\n\n| file | bytes | SHA-256 |\n|---|---:|---|\n| `pairs.parquet` | {size:,} | `{digest}` |"
    sources = [f"{prefix}{kind}{end}" for kind in KINDS.values() for prefix, end in (("data.", ""), ("", ".exc"))]
    sums = [hashlib.sha256((arguments.source / name).read_bytes()).hexdigest() for name in sources]
    table += "\n\nInput: " + "; ".join(f"`{name}`, `{one}`" for name, one in zip(sources, sums, strict=True)) + "."
    print(table)
    card = arguments.out / "README.md"
    if card.exists():
        before, _, after = card.read_text(encoding="utf-8").split(MARK)
        card.write_text(f"{before}{MARK}\n\n{table}\n\n{MARK}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
