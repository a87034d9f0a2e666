"""Token ids and low-rank adapters: the same problem for a language model, here a tiny random one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from taskgroup_core.affinity.full_training import FullTraining
from taskgroup_core.affinity.grad_tae import GradTAE, meta_initialisations
from taskgroup_core.affinity.lookahead import LookaheadAffinity
from taskgroup_core.affinity.pairwise import pairwise_affinity
from taskgroup_core.affinity.sample_convergence import SampleConvergenceAffinity
from taskgroup_core.gradients.flat import FlatNetwork
from taskgroup_core.gradients.per_example import per_example_gradients
from taskgroup_core.problems.templates import render
from taskgroup_core.problems.text_encoders import FrozenEncoder
from taskgroup_core.subsets import pairs, singletons
from taskgroup_core.training.fit import fit
from taskgroup_core.training.recipe import Recipe
from taskgroup_core.training.stackable import why_not_stackable
from tests.texts import INSTRUCTIONS, adapted, tiny_backbone, tiny_pairs, trainable

for package in ("transformers", "peft"):
    pytest.importorskip(package, reason=f"{package} is not installed: pip install 'taskgroup_core[text]'")

RECIPE = Recipe(epochs=3, batch_size=20, learning_rate=0.02, optimiser="adamw")
KINDS = ("t5", "bert")


def test_inputs_are_token_ids_filled_up_with_padding():
    problem = adapted("t5")
    assert problem.inputs.dtype == torch.int64
    tokenizer = tiny_backbone("t5").tokenizer
    plain, quoted = problem.inputs[0], problem.inputs[60]
    texts = tiny_pairs().pair(0)
    assert tokenizer.decode(quoted) == f"is it {texts['hypothesis']} after {texts['premise']}"
    assert (plain[7:] == tokenizer.pad_token_id).all() and len(plain) == 9


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_network_computes_what_transformers_does(kind):
    problem, backbone = adapted(kind), tiny_backbone(kind)
    network, tokens = problem.network(0).eval(), problem.inputs[[0, 70, 130]]
    there = (tokens != 0).long()
    with torch.no_grad():
        if kind == "t5":
            logits = backbone.model(
                input_ids=tokens, attention_mask=there, decoder_input_ids=torch.zeros(3, 1, dtype=torch.long)
            ).logits[:, 0]
            ids = backbone.tokenizer.convert_tokens_to_ids
            odds = logits.log_softmax(dim=1)
            expected = torch.stack([odds[:, ids(b)] - odds[:, ids(a)] for a, b in (i.answers for i in INSTRUCTIONS)], 1)
        else:
            hidden = backbone.model(input_ids=tokens, attention_mask=there).last_hidden_state
            means = [row[mask.bool()].mean(dim=0) for row, mask in zip(hidden, there, strict=True)]
            expected = network.head(torch.stack(means))
        assert torch.allclose(network(tokens), expected, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_only_adapters_and_head_are_trained_and_are_features(kind):
    problem = adapted(kind)
    start, fitted = problem.network(0), fit(problem, [0, 2], RECIPE, 0, "cpu")
    moving = trainable(start)
    assert moving and all("lora_" in name or name.startswith("head.") for name in moving)
    assert FlatNetwork(start.eval()).n_parameters == sum(start.get_parameter(name).numel() for name in moving)
    for (name, before), after in zip(start.state_dict().items(), fitted.network.state_dict().values(), strict=True):
        assert name in moving or torch.equal(before, after), name
    moved = [n for n in moving if not torch.equal(start.get_parameter(n), fitted.network.get_parameter(n))]
    # A decoder that sees one position pays all attention to it, whatever its query is.
    idle = [name for name in moving if name not in moved]
    assert all("decoder" in name and "SelfAttention.q" in name for name in idle) and len(moved) > len(idle)
    assert not trainable(tiny_backbone(kind).model) or all(
        "lora_" not in n for n in trainable(tiny_backbone(kind).model)
    )


@pytest.mark.parametrize("kind", KINDS)
def test_training_lowers_the_loss_and_repeats_itself(kind):
    recipe = Recipe(epochs=12, batch_size=20, learning_rate=0.05, optimiser="adamw")
    first, second = (fit(adapted(kind), [0, 1], recipe, 1, "cpu") for _ in range(2))
    assert first.losses == second.losses
    assert first.losses[-1] < first.losses[0] - 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_examples_are_autograds(kind):
    problem = adapted(kind)
    network = fit(problem, [0, 1, 2], RECIPE, 0, "cpu").network
    flat, rows, which = FlatNetwork(network), problem.inputs[[3, 65, 131]], torch.tensor([0, 1, 2])
    found = per_example_gradients(flat, rows, which)
    for row, column, gradient in zip(rows, which, found, strict=True):
        output = network(row[None])[0, column]
        alone = torch.autograd.grad(output, [network.get_parameter(n) for n in flat.shapes], allow_unused=True)
        flattened = [
            torch.zeros(shape).flatten() if g is None else g.flatten()
            for g, shape in zip(alone, flat.shapes.values(), strict=True)
        ]
        assert torch.allclose(gradient, torch.cat(flattened), atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_networks_can_be_stacked(kind):
    problem = adapted(kind)
    assert why_not_stackable([problem.network(0), problem.network(1)], problem.inputs[:6], True) is None


def test_evaluation_in_parts_is_the_same():
    problem = adapted("t5")
    network = problem.network(0).eval()
    network.rows_at_once = 7
    with torch.no_grad():
        parted = network(problem.inputs)
    assert torch.allclose(parted, network(problem.inputs), atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_estimators_run(kind):
    problem = adapted(kind)
    meta, _ = meta_initialisations(problem, RECIPE, 1, 0, "cpu")
    subsets = np.vstack([singletons(3), pairs(3)])
    shared = lambda name: "lora_" in name  # noqa: E731
    for projection in ("gaussian",) if kind == "bert" else ("kronecker",):
        scores = GradTAE(problem, meta, dimension=16, device="cpu", projection=projection).scores(subsets)
        assert np.isfinite(pairwise_affinity(scores["negative_loss"]).values).all()
    one_epoch = Recipe(epochs=1, batch_size=20, learning_rate=0.02)
    full = FullTraining(problem, one_epoch, 0, "cpu").scores(pairs(3))
    assert np.isfinite(pairwise_affinity(full["negative_loss"]).values).all()
    for estimator in (
        LookaheadAffinity(one_epoch, 0, "cpu", every=1, shared=shared),
        SampleConvergenceAffinity(4, 0, "cpu", inputs="own", shared=shared),
    ):
        assert np.isfinite(estimator.affinity(problem).values).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_frozen_encoder_averages_the_tokens_of_the_text_and_of_each_sentence(kind):
    pairs, backbone = tiny_pairs(), tiny_backbone(kind)
    texts = [render(INSTRUCTIONS[row % 3], pairs.pair(row)) for row in range(7)]  # of two lengths, so with padding
    found = FrozenEncoder(backbone, "cpu", rows_at_once=3).encode(texts, pairs.sentences)
    assert found.shape == (7, 3, 16)
    encoder = backbone.model.get_encoder() if kind == "t5" else backbone.model
    for row, (text, vectors) in enumerate(zip(texts, found, strict=True)):
        words = text.text.split()
        with torch.no_grad():
            ids = torch.tensor([backbone.tokenizer.convert_tokens_to_ids(words)])
            hidden = encoder(input_ids=ids).last_hidden_state[0]
        places = [range(len(words))]
        for name in pairs.sentences:
            start = len(text.text[: text.spans[name][0][0]].split())
            assert words[start : start + 3] == pairs.pair(row)[name].split()
            places.append(range(start, start + 3))
        expected = torch.stack([hidden[list(which)].mean(dim=0) for which in places])
        assert torch.allclose(vectors, expected, atol=1e-5)
