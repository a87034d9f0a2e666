"""A message-passing network over the atoms of a molecule, dense, so that many of them can be trained as one stack."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

ATOMIC_NUMBERS = (1.0, 6.0, 7.0, 8.0, 9.0)
SUM_SCALE = 4.0  # about the root of the number of atoms of a molecule of QM9: keeps sums over atoms near 1


class MoleculeNetwork(nn.Module):
    """Rounds of messages between atoms, a sum over atoms, one hidden layer, and the heads: the last layer.

    In each round an atom's state becomes silu(W_0 h_i + sum_k W_k sum_j g_k(d_ij) h_j + b): each neighbour sends its
    state through a matrix that depends on the distance d_ij. The first states are the elements, one-hot. Since
    positions enter by distances only, outputs do not change when a molecule is turned, mirrored or moved; nor
    when its atoms are listed in another order, or followed by padding.

    Parameters
    ----------
    n_outputs : number of heads.
    width : of an atom's state and of the hidden layer.
    rounds : of messages.
    n_radial : number of functions g_k: Gaussians of the distance, evenly spaced from 0.5 angstrom to `cutoff` and as
        wide as they are apart, times a half cosine that ends at the cutoff.
    cutoff : in angstrom; atoms farther apart do not see each other. Twelve angstrom spans every molecule of QM9.

    References
    ----------
    Gilmer et al., Neural Message Passing for Quantum Chemistry, 2017, section 5 ("edge network"), which the network
    named in SCA's supplement follows; Behler and Parrinello, 2007, for the half cosine.

    Deviations
    ----------
    SCA's network forms an edge's matrix with a layer of 128 neurons from the distance and the type of the bond; here
    fixed Gaussians of the distance stand in their place, and bonds are not given. Each round has weights of its own
    where that network repeats one round with a gated recurrent unit, and the readout is a sum over atoms in place of
    Set2Set: both can be stacked.
    """

    elements: Tensor
    centres: Tensor

    def __init__(
        self, n_outputs: int, width: int = 64, rounds: int = 3, n_radial: int = 16, cutoff: float = 12.0
    ) -> None:
        super().__init__()
        self.cutoff = cutoff
        self.register_buffer("elements", torch.tensor(ATOMIC_NUMBERS))
        self.register_buffer("centres", torch.linspace(0.5, cutoff, n_radial))
        widths = [len(ATOMIC_NUMBERS), *[width] * rounds]
        self.rounds = nn.ModuleList(nn.Linear((1 + n_radial) * n_in, width) for n_in in widths[:-1])
        self.hidden = nn.Linear(widths[-1], width)
        self.heads = nn.Linear(width, n_outputs)

    def _radial(self, positions: Tensor, there: Tensor) -> Tensor:
        """g_k(d_ij), with shape (B, A, K, A): 0 for an atom with itself, and for padding."""
        squares = (positions.unsqueeze(2) - positions.unsqueeze(1)).square().sum(dim=-1)
        apart = 1 - torch.eye(positions.shape[1], dtype=positions.dtype, device=positions.device)
        pair = there.unsqueeze(2) * there.unsqueeze(1) * apart
        distance = (squares + (1 - pair)).sqrt().unsqueeze(2)  # off 0, where a root has no slope
        steps = (distance - self.centres[:, None]) / (self.centres[1] - self.centres[0])
        fade = 0.5 + 0.5 * torch.cos(torch.pi * (distance / self.cutoff).clamp(max=1))
        return torch.exp(-0.5 * steps.square()) * (fade * pair.unsqueeze(2))

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs with shape (B, n_outputs) of molecules with shape (B, A, 4): atomic number (0: padding), position."""
        state = (inputs[..., :1] == self.elements).to(inputs.dtype)
        there = state.sum(dim=-1)
        batch, atoms = there.shape
        radial = self._radial(inputs[..., 1:], there).flatten(1, 2)
        for layer in self.rounds:
            seen = (radial @ state).reshape(batch, atoms, -1)
            state = silu(layer(torch.cat([state, seen], dim=-1)))
        total = (state * there.unsqueeze(-1)).sum(dim=1) / SUM_SCALE
        outputs: Tensor = self.heads(silu(self.hidden(total)))
        return outputs
