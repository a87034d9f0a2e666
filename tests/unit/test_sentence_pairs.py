"""RTE, WiC, lists of instructions and the embedded pairs: official formats, counts, splits and memory."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import sys
import tracemalloc
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from taskgroup_core.problems.prompt_files import promptsource_instructions, released_instructions
from taskgroup_core.problems.rte import load_rte
from taskgroup_core.problems.templates import render
from taskgroup_core.problems.wic import load_wic
from taskgroup_core.problems.word_in_context import load_word_in_context
from taskgroup_core.runs.instruction_parameters import paper_instructions, paper_recipe
from tests.texts import tiny_pairs

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
FOLDER = Path(__file__).resolve().parents[2] / "data" / "word_in_context"
MIB = 2**20


def shared(name: str) -> Path:
    if not (SHARED / name).is_dir():
        pytest.skip(f"no {name} data here")
    return SHARED / name


def counts(pairs):
    return Counter(pairs.split.tolist()), Counter(pairs.label.tolist())


def test_rte_as_it_is_distributed():
    pairs = load_rte(shared("rte"))
    assert counts(pairs) == ({"train": 2241, "val": 249, "test": 277}, {1: 1395, 0: 1372})
    assert pairs.fields["hypothesis"][0] == "Weapons of Mass Destruction Found in Iraq." and pairs.label[0] == 0
    premise, seen = np.array(pairs.fields["premise"]), pairs.split == "train"
    known = [int(np.isin(premise[pairs.split == split], premise[seen]).sum()) for split in ("val", "test")]
    validation, test = ((pairs.split == split).sum() for split in ("val", "test"))
    card = " ".join((FOLDER.parents[1] / "book" / "data_instructions.md").read_text(encoding="utf-8").split())
    assert f"{known[0]} of our {validation}" in card and f"{known[1]} of the {test} pairs" in card
    again, other = load_rte(shared("rte")), load_rte(shared("rte"), seed=1)
    assert (again.split == pairs.split).all() and (other.split != pairs.split).any()


def test_wic_as_it_is_distributed():
    pairs = load_wic(shared("wic"))
    assert counts(pairs) == ({"train": 5428, "val": 638, "test": 1400}, {0: 3733, 1: 3733})
    assert pairs.fields["word"][0] == "carry" and pairs.label[0] == 0


@pytest.mark.parametrize(("load", "name"), [(load_rte, "rte"), (load_wic, "wic")])
def test_loading_needs_at_most_twice_the_memory_of_what_it_loads(load, name):
    folder = shared(name)
    load(folder)
    tracemalloc.start()
    pairs = load(folder)
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(pairs) and peak < 2 * held


@pytest.mark.parametrize("source", ["rte", "wic"])
def test_lists_of_instructions(source):
    folder = shared("prompts")
    ten, hundred = promptsource_instructions(source, folder), released_instructions(source, folder)
    assert (len(ten), len(hundred)) == (10, 100 if source == "rte" else 95)
    assert {one.answers for one in ten} == {("No", "Yes"), ("False", "True")}  # label 1 is the word that affirms
    fields = dict.fromkeys(("premise", "hypothesis", "sentence1", "sentence2", "word"), "text")
    assert all("{{" not in render(one, fields).text for one in (*ten, *hundred))
    assert len(paper_instructions(source, folder)) == 100


def write_rte(folder, train=None):
    head = "index\tsentence1\tsentence2\tlabel\n"
    rows = [f'{i}\tAll "dogs" bark, {i}.\tA dog barks.\t{["not_entailment", "entailment"][i % 2]}\n' for i in range(20)]
    (folder / "train.tsv").write_text(head + (train or "".join(rows)), encoding="utf-8")
    (folder / "dev.tsv").write_text(head + "".join(rows[:4]), encoding="utf-8")


def write_wic(folder, data="carry\tV\t0-1\tCarry it .\tSound carries .\n", gold="T\n"):
    for name in ("train", "dev", "test"):
        (folder / f"{name}.data.txt").write_text(data, encoding="utf-8")
        (folder / f"{name}.gold.txt").write_text(gold, encoding="utf-8")


def test_rte_from_a_small_file(tmp_path):
    write_rte(tmp_path)
    pairs = load_rte(tmp_path, validation=0.2)
    assert counts(pairs)[0] == {"train": 16, "val": 4, "test": 4}
    assert counts(pairs.take(np.flatnonzero(pairs.split == "val")))[1] == {0: 2, 1: 2}
    assert pairs.pair(3) == {"premise": 'All "dogs" bark, 3.', "hypothesis": "A dog barks."}


def test_wic_from_a_small_file(tmp_path):
    write_wic(tmp_path, "carry\tV\t0-1\tCarry it .\tSound carries .\n" * 2, "T\nF\n")
    pairs = load_wic(tmp_path)
    assert pairs.split.tolist() == ["train"] * 2 + ["val"] * 2 + ["test"] * 2 and pairs.label.tolist() == [1, 0] * 3
    assert pairs.pair(1) == {"word": "carry", "sentence1": "Carry it .", "sentence2": "Sound carries ."}


def test_samples_are_balanced_and_repeatable():
    pairs = tiny_pairs()
    some = pairs.sample(8, 4, 2, seed=3)
    assert counts(some) == ({"train": 8, "val": 4, "test": 2}, {0: 7, 1: 7})
    assert some.fields == pairs.sample(8, 4, 2, seed=3).fields != pairs.sample(8, 4, 2, seed=4).fields


def test_the_papers_steps_become_passes():
    recipe = paper_recipe(2490, batch_size=8)
    steps = -(-2490 // 8)
    assert (recipe.optimiser, recipe.learning_rate) == ("adamw", 5e-5)
    assert 5000 <= recipe.epochs * steps < 5000 + steps


@pytest.fixture(scope="module")
def derive():
    spec = importlib.util.spec_from_file_location("derive_pairs", FOLDER / "derive.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


def card(what):
    found = re.search(rf"^\| {re.escape(what)} \| ([\d,]+) \|$", (FOLDER / "README.md").read_text(), re.MULTILINE)
    return int(found.group(1).replace(",", ""))


def test_card_and_checksum_agree_with_the_file():
    content = (FOLDER / "pairs.parquet").read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    assert len(content) < 2 * MIB
    assert (FOLDER / "SHA256SUMS").read_text() == f"{digest}  pairs.parquet\n"
    assert f"`{digest}`" in (FOLDER / "README.md").read_text()
    assert "Copyright 2006 by Princeton University" in (FOLDER / "LICENSE.wordnet").read_text()


def test_embedded_pairs_are_balanced_and_split_by_lemma():
    table = pd.read_parquet(FOLDER / "pairs.parquet")
    pairs = load_word_in_context()
    assert len(pairs) == len(table) == card("pairs kept")
    assert table["word"].nunique() == card("words") and (table["pos"] == "N").sum() == card("pairs of nouns")
    for split, rows in table.groupby("split"):
        assert len(rows) == card(f"pairs in {split}") and rows["label"].mean() == 0.5
    assert table.groupby("word")["split"].nunique().max() == 1
    assert not pd.concat([table["sentence1"], table["sentence2"]]).duplicated().any()
    assert table.groupby(["word", "label"]).size().max() <= 6  # three as a noun and three as a verb
    for side in "12":
        for text, start, end in zip(table[f"sentence{side}"], table[f"start{side}"], table[f"end{side}"], strict=True):
            assert re.fullmatch(r"[A-Za-z]+", text[start:end])


def test_rule_on_a_small_wordnet(derive, tmp_path):
    def synset(offset, topic, lemma, *examples):
        return f"{offset:08} {topic:02} n 01 {lemma} 0 000 | what it is; " + "; ".join(f'"{text}"' for text in examples)

    lines = [
        "  1 the licence",
        synset(1, 5, "mouse", "the mice ran away", "a mouse likes cheese", "mouse and mice meet"),
    ]
    lines += [synset(2, 6, "mouse", "click with the mouse"), synset(3, 5, "mouse", "he is a quiet mouse")]
    lines += [synset(4, 4, "Paris", "we saw Paris once"), synset(5, 4, "box", "two boxes of it", "boxing is hard")]
    (tmp_path / "data.noun").write_text("\n".join(lines) + "\n")
    (tmp_path / "noun.exc").write_text("mice mouse\n")
    (tmp_path / "data.verb").write_text("  1 the licence\n")
    (tmp_path / "verb.exc").write_text("")
    found = derive.uses(tmp_path)
    assert {key: [use.sentence for use in uses] for key, uses in found.items()} == {
        ("mouse", "N"): ["the mice ran away", "a mouse likes cheese", "click with the mouse", "he is a quiet mouse"],
        ("box", "N"): ["two boxes of it"],  # a noun's form is not made by -ing
    }
    labels = Counter((label, one.topic != two.topic) for label, _, _, one, two in derive.candidates(found))
    assert labels == {(1, False): 1, (0, True): 3}  # the two senses of one topic make no pair
    rows = derive.choose(found)
    assert len(rows) == 2 and {row["label"] for row in rows} == {0, 1} and len({row["split"] for row in rows}) == 1
    assert all(
        row[f"sentence{s}"][row[f"start{s}"] : row[f"end{s}"]] in ("mice", "mouse") for row in rows for s in "12"
    )
    assert derive.write(tmp_path, rows) == derive.write(tmp_path, derive.choose(found))
