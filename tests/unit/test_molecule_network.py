import warnings

import numpy as np
import pytest
import torch

from taskgroup_core.flops import network_flops
from taskgroup_core.gradients.factors import FactoredGradients
from taskgroup_core.gradients.flat import FlatNetwork
from taskgroup_core.gradients.per_example import per_example_gradients
from taskgroup_core.models.molecule import ATOMIC_NUMBERS, SUM_SCALE, MoleculeNetwork
from taskgroup_core.problems.molecules import molecule_problem
from taskgroup_core.training.fit import fit
from taskgroup_core.training.network_probes import rows_mix
from taskgroup_core.training.recipe import Recipe
from taskgroup_core.training.shared_parameters import shared_parameters
from taskgroup_core.training.stackable import NotStackedWarning, why_not_stackable
from taskgroup_core.training.stacked import fit_many
from tests.molecules import random_molecules


@pytest.fixture
def network():
    torch.manual_seed(1)
    return MoleculeNetwork(3, width=6, rounds=2, n_radial=4, cutoff=5.0).double().eval()


@pytest.fixture
def inputs():
    return torch.from_numpy(random_molecules(6).padded(9)).double()


def rotation(seed, mirrored=False):
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    q *= np.sign(np.diag(r))
    if (np.linalg.det(q) < 0) != mirrored:
        q[:, 0] *= -1
    return torch.from_numpy(q)


def moved(inputs, matrix, shift):
    there = inputs[..., :1] > 0
    return torch.cat([inputs[..., :1], (inputs[..., 1:] @ matrix.T + shift) * there], dim=-1)


@pytest.mark.parametrize("mirrored", [False, True])
def test_turning_mirroring_and_moving_a_molecule_changes_nothing(network, inputs, mirrored):
    matrix = rotation(2, mirrored)
    assert np.isclose(torch.linalg.det(matrix), -1 if mirrored else 1)
    other = moved(inputs, matrix, torch.tensor([30.0, -7.0, 0.5], dtype=torch.float64))
    assert (other - inputs).abs().max() > 5
    assert torch.allclose(network(other), network(inputs), atol=1e-12)


def test_the_order_of_the_atoms_does_not_matter_and_their_elements_and_distances_do(network, inputs):
    order = torch.randperm(inputs.shape[1], generator=torch.Generator().manual_seed(0))
    plain = network(inputs)
    assert torch.allclose(network(inputs[:, order]), plain, atol=1e-13)
    swapped = inputs.clone()
    swapped[:, 0, 0] = torch.where(inputs[:, 0, 0] == 6, 7.0, 6.0)
    stretched = inputs * torch.tensor([1, 1.1, 1.1, 1.1])
    assert (network(swapped) - plain).abs().amax(dim=1).min() > 1e-5
    assert (network(stretched) - plain).abs().amax(dim=1).min() > 1e-5


def test_padding_has_no_influence(network, inputs):
    longer = torch.cat([inputs, torch.zeros(len(inputs), 5, 4, dtype=torch.float64)], dim=1)
    nonsense = longer.clone()
    nonsense[..., 1:] += (longer[..., :1] == 0) * 3.7  # positions of atoms that are not there
    plain = network(inputs)
    assert torch.allclose(network(longer), plain, atol=1e-13)
    assert torch.allclose(network(nonsense), plain, atol=1e-13)


def by_loops(network, molecule):
    """The definition in the docstring, atom by atom."""
    atoms = [atom for atom in molecule if atom[0] > 0]
    states = [torch.tensor([float(atom[0] == z) for z in ATOMIC_NUMBERS], dtype=torch.float64) for atom in atoms]
    centres, cutoff = network.centres, network.cutoff
    for layer in network.rounds:
        size = len(states[0])
        new = []
        for i, atom in enumerate(atoms):
            total = layer.bias + layer.weight[:, :size] @ states[i]
            for j, other in enumerate(atoms):
                distance = torch.linalg.norm(atom[1:] - other[1:])
                if i == j or distance >= cutoff:
                    continue
                for k, centre in enumerate(centres):
                    weight = layer.weight[:, (1 + k) * size : (2 + k) * size]
                    radial = torch.exp(-0.5 * ((distance - centre) / (centres[1] - centres[0])) ** 2)
                    total = total + weight @ states[j] * radial * (1 + torch.cos(torch.pi * distance / cutoff)) / 2
            new.append(total * torch.sigmoid(total))
        states = new
    hidden = network.hidden(sum(states) / SUM_SCALE)
    return network.heads(hidden * torch.sigmoid(hidden))


def test_the_network_is_its_definition(network, inputs):
    with torch.no_grad():
        slow = torch.stack([by_loops(network, molecule) for molecule in inputs])
        assert torch.allclose(network(inputs), slow, atol=1e-12)


def test_atoms_beyond_the_cutoff_do_not_see_each_other():
    network = MoleculeNetwork(2, width=4, rounds=2, n_radial=3, cutoff=3.0).double()
    pair = torch.tensor([[[6.0, 0, 0, 0], [1.0, 0, 0, 3.1]]], dtype=torch.float64)
    far, near = pair.clone(), pair.clone()
    far[0, 1, 3], near[0, 1, 3] = 50.0, 2.5
    assert torch.equal(network(pair), network(far))
    assert (network(pair) - network(near)).abs().max() > 1e-5


def test_only_the_last_layer_is_not_shared(network):
    names = [name for name, _ in network.named_parameters()]
    assert [name for name in names if name not in shared_parameters(network, 3)] == ["heads.weight", "heads.bias"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_per_example_gradients_are_those_of_one_backward_pass_each(network, inputs, dtype):
    network, inputs = network.to(dtype), inputs.to(dtype)
    flat, columns = FlatNetwork(network), torch.tensor([0, 1, 2, 0, 1, 2])
    slow = []
    for row, column in zip(inputs, columns, strict=True):
        output = network(row[None])[0, column]
        slow.append(torch.cat([g.flatten() for g in torch.autograd.grad(output, list(network.parameters()))]))
    close = {"atol": 1e-5 if dtype == torch.float32 else 1e-12}
    assert torch.allclose(per_example_gradients(flat, inputs, columns), torch.stack(slow), **close)
    parts = FactoredGradients(flat, inputs[:1])(inputs, columns)
    assert torch.allclose(torch.cat([part.form() for part in parts], dim=1), torch.stack(slow), **close)


def test_gradients_of_positions_are_finite_and_right(network, inputs):
    positions = inputs[:2, :, 1:].clone().requires_grad_()
    there = inputs[:2, :, :1]

    def outputs(places):
        return network(torch.cat([there, places], dim=-1))

    (found,) = torch.autograd.grad(outputs(positions).sum(), positions)
    assert torch.isfinite(found).all()
    assert torch.autograd.gradcheck(outputs, (positions,), atol=1e-6)


def test_operations_are_counted():
    network = MoleculeNetwork(3, width=6, rounds=2, n_radial=4)
    forward, both = network_flops(network, torch.from_numpy(random_molecules(1, most=3).padded(5)))
    messages = 2 * (5 * 4) * 5 * (5 + 6)  # the matrix g with the states of both rounds
    layers = 2 * 5 * 6 * 5 * (5 + 6)  # five atoms, six neurons, five blocks of states
    assert forward == messages + layers + 2 * 6 * 6 + 2 * 6 * 3
    assert 2 * forward < both <= 3 * forward


def test_a_stack_trains_the_networks_that_training_one_by_one_gives():
    problem = molecule_problem(random_molecules(60), ("mu", "R2", "U0"), width=5, rounds=2, n_radial=3, cutoff=6.0)
    networks = [problem.network(seed) for seed in (0, 1)]
    assert why_not_stackable(networks, problem.inputs[:5], True) is None
    assert not rows_mix(networks[0], problem.inputs[:5])
    recipe = Recipe(epochs=4, batch_size=9, learning_rate=0.02)
    subsets = [[0], [1, 2], [0, 1, 2]]
    with warnings.catch_warnings():
        warnings.simplefilter("error", NotStackedWarning)
        together = fit_many(problem, subsets, recipe, [3, 4, 5], "cpu")
    for subset, seed, stacked in zip(subsets, (3, 4, 5), together, strict=True):
        alone = fit(problem, subset, recipe, seed, "cpu")
        assert stacked.losses[-1] < stacked.losses[0]
        for one, other in zip(alone.network.parameters(), stacked.network.parameters(), strict=True):
            assert torch.allclose(one, other, atol=2e-5)
