"""Instructions as tasks: rendering, splits, features, and every estimator on them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from taskgroup_core.affinity.full_training import FullTraining
from taskgroup_core.affinity.grad_tae import GradTAE, meta_initialisations
from taskgroup_core.affinity.gradient_cosine import GradientCosineAffinity
from taskgroup_core.affinity.lookahead import LookaheadAffinity
from taskgroup_core.affinity.pairwise import pairwise_affinity
from taskgroup_core.affinity.sample_convergence import SampleConvergenceAffinity
from taskgroup_core.affinity.transfer_gain import TransferGainAffinity
from taskgroup_core.grouping.sdp import SDPGrouper
from taskgroup_core.models.text import WordDifferences
from taskgroup_core.problems.entailment_instructions import ENTAILMENT
from taskgroup_core.problems.instructions import frozen_problem, instructed
from taskgroup_core.problems.pair_features import pair_features
from taskgroup_core.problems.templates import Instruction, render
from taskgroup_core.problems.text_encoders import HashedWords
from taskgroup_core.problems.word_sense_instructions import WORD_SENSE
from taskgroup_core.subsets import pairs, singletons
from taskgroup_core.training.fit import fit
from taskgroup_core.training.recipe import Recipe
from tests.texts import INSTRUCTIONS, frozen, tiny_pairs

RECIPE = Recipe(epochs=6, batch_size=30, learning_rate=0.02)


def test_rendering_knows_where_each_field_went():
    one = Instruction("x", 'Say {{"A) yes"}}: {{ b }} and {{a}}, {{b}}.', ("no", "yes"))
    done = render(one, {"a": "left", "b": "right {{a}}", "c": "unused"})
    assert done.text == "Say A) yes: right {{a}} and left, right {{a}}."  # what is filled in is not looked at again
    assert {name: [done.text[i:j] for i, j in spans] for name, spans in done.spans.items()} == {
        "b": ["right {{a}}", "right {{a}}"],
        "a": ["left"],
    }


@pytest.mark.parametrize(("own", "fields"), [(WORD_SENSE, {"sentence1", "sentence2"}), (ENTAILMENT, {"premise"})])
def test_the_own_lists_are_long_varied_and_show_both_sentences(own, fields):
    assert len(own) >= 30
    assert len({one.text for one in own.values()}) == len(own)
    assert all(fields <= one.fields for one in own.values())
    assert {"reversed", "misleading", "irrelevant", "other words", "role play"} <= {one.note for one in own.values()}
    reversals = [one for one in own.values() if one.note == "reversed"]
    assert all(one.answers in (("Yes", "No"), ("True", "False")) for one in reversals)


def test_each_pair_and_instruction_is_one_input_of_one_task():
    problem, made = frozen(), tiny_pairs()
    assert problem.task_names == [one.name for one in INSTRUCTIONS]
    assert len(problem.inputs) == 3 * len(made)
    for split in ("train", "val", "test"):
        rows = getattr(problem, split)
        assert torch.equal(rows.input_index // len(made), rows.task_index)
        pair = rows.input_index % len(made)
        assert (made.split[pair.numpy()] == split).all()
        assert torch.equal(rows.label, torch.from_numpy(made.label[pair.numpy()]).float())
    assert len(problem.train) + len(problem.val) + len(problem.test) == len(problem.inputs)


def test_hashed_words_are_counts_of_the_text_and_of_each_sentence():
    texts = next(iter(instructed(tiny_pairs(), INSTRUCTIONS)))
    vectors = HashedWords(4096).encode(texts, ("premise", "hypothesis"))
    then = HashedWords(4096).encode([render(Instruction("t", "then {{a}}", ("0", "1")), {"a": ""})], ("a", "a"))
    # So many places hold these few words without a clash, and the whole is the sum of its parts.
    assert torch.allclose(vectors[:, 0], vectors[:, 1] + vectors[:, 2] + then[:, 0])
    assert (vectors[:, 1].abs().sum(dim=1) == 3).all()


def test_features_are_the_cosine_and_standardised_components_of_known_texts():
    generator = torch.Generator().manual_seed(1)
    vectors = torch.randn(50, 3, 12, generator=generator)
    known = torch.arange(50) < 40
    found = pair_features(vectors, known, 3)
    assert found.shape == (50, 7)
    cosine = torch.cosine_similarity(vectors[:, 1], vectors[:, 2], dim=1)
    expected = (cosine - cosine[known].mean()) / cosine[known].std(correction=0)
    assert torch.allclose(found[:, 0], expected, atol=1e-5)
    assert torch.allclose(found[known].var(dim=0, correction=0), torch.ones(7), atol=1e-4)
    changed = vectors.clone()
    changed[~known] = torch.randn(10, 3, 12, generator=generator)
    assert torch.equal(pair_features(changed, known, 3)[known], found[known])  # nothing of the others leaks in
    from sklearn.decomposition import PCA

    unit = torch.nn.functional.normalize(vectors[:, 0], dim=1).numpy()
    other = PCA(3, whiten=True).fit(unit[:40]).transform(unit) * np.sqrt(40 / 39)
    agreement = np.abs([np.corrcoef(found[:, 1 + k], other[:, k])[0, 1] for k in range(3)])
    assert np.allclose(agreement, 1, atol=1e-4)


def test_answers_are_read_off_words():
    words = torch.tensor([[1.0, 4.0, 9.0]])
    assert WordDifferences([(0, 1), (1, 0), (1, 2)])(words).tolist() == [[3.0, -3.0, 5.0]]
    outputs = frozen().network(0)(frozen().inputs[:5])
    assert torch.allclose(outputs[:, 0], -outputs[:, 2])  # the same words, reversed
    assert torch.equal(outputs[:, 0], outputs[:, 1])
    assert frozen("tasks").network(0)(frozen().inputs[:5]).shape == (5, 3)


def test_training_learns_and_repeats_itself():
    fitted = [fit(frozen(), [0, 1, 2], Recipe(epochs=30, batch_size=30, learning_rate=0.02), 0, "cpu") for _ in "ab"]
    assert fitted[0].losses == fitted[1].losses
    assert fitted[0].losses[-1] < 0.7 * fitted[0].losses[0]


@pytest.mark.parametrize("head", ["answers", "tasks"])
def test_every_estimator_and_a_grouper_run_on_it(head):
    problem = frozen(head)
    shared = (lambda _: True) if head == "answers" else None
    meta, _ = meta_initialisations(problem, RECIPE, 1, 0, "cpu")
    algorithms = [FullTraining(problem, RECIPE, 0, "cpu"), GradTAE(problem, meta, dimension=20, device="cpu")]
    subsets = np.vstack([singletons(3), pairs(3)])
    found = [pairwise_affinity(one.scores(subsets)["negative_loss"]) for one in algorithms]
    for make in (LookaheadAffinity, TransferGainAffinity, GradientCosineAffinity):
        found.append(make(RECIPE, 0, "cpu", every=2, shared=shared).affinity(problem))
    # No input carries labels of two tasks, so SCA draws each task's own.
    found.append(SampleConvergenceAffinity(10, 0, "cpu", inputs="own", shared=shared).affinity(problem))
    for affinity in found:
        assert np.isfinite(affinity.values).all()
        assert sum(map(len, SDPGrouper(2, solver="ADMM").fit(affinity).groups_)) == 3


def test_reversed_answers_oppose_each_other_in_the_words():
    """On the very same features, labels and words the gradient of a reversed task is that of swapped labels."""
    made = tiny_pairs()
    two = (INSTRUCTIONS[0], Instruction("turned", INSTRUCTIONS[0].text, ("yes", "no")))
    problem = frozen_problem(made, two, HashedWords(32), components=4, width=6)
    assert torch.allclose(problem.inputs[: len(made)], problem.inputs[len(made) :])
    affinity = GradientCosineAffinity(RECIPE, 0, "cpu", every=2, shared=lambda _: True).affinity(problem)
    assert affinity.values[0, 1] < 0
