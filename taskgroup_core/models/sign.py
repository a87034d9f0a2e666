"""SIGN: a graph network whose hops are computed beforehand, so that training sees plain rows."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from taskgroup_core.checks import check_whole
from taskgroup_core.models.options import check_dropout


def _perceptron(n_inputs: int, width: int, n_outputs: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(nn.Linear(n_inputs, width), nn.PReLU(), nn.Dropout(dropout), nn.Linear(width, n_outputs))


class Sign(nn.Module):
    """Scalable Inception Graph Network: a two-layer perceptron per hop, concatenated, then one more with the heads.

    Three dense layers lie between the input and the hidden layer that the heads read. With 4 hops (0 to 3) of 128
    features, width 256 and 100 outputs it has the 683,370 parameters that GRAD-TAG reports.

    Parameters
    ----------
    n_hops : number of hop features, the node's own included.
    n_features : features per hop.
    width : neurons of every hidden layer.
    n_outputs : number of heads, one logit each.
    dropout : probability of dropping a hidden neuron in training mode.

    Raises
    ------
    InputError : a width below 1, or a dropout outside [0, 1).

    References
    ----------
    Frasca et al., SIGN: Scalable Inception Graph Neural Networks, 2020; GRAD-TAG, section 5.1.2 and C.1.1.

    Deviations
    ----------
    The paper gives depth and width only. One PReLU slope a perceptron and one after the concatenation is the layout
    under which the reported number of parameters comes out exactly.
    """

    def __init__(self, n_hops: int, n_features: int, width: int, n_outputs: int, dropout: float = 0.5) -> None:
        super().__init__()
        check_whole("width", width)
        check_dropout(dropout)
        self.hops = nn.ModuleList(_perceptron(n_features, width, width, dropout) for _ in range(n_hops))
        self.mix = nn.Sequential(nn.PReLU(), nn.Dropout(dropout))
        self.heads = _perceptron(n_hops * width, width, n_outputs, dropout)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits with shape (B, n_outputs) of hop features with shape (B, n_hops, n_features)."""
        hidden = torch.cat([hop(inputs[:, index]) for index, hop in enumerate(self.hops)], dim=1)
        outputs: Tensor = self.heads(self.mix(hidden))
        return outputs
