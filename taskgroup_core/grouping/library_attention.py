"""One graph attention layer of torch_geometric with given weights: another implementation than this package's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from taskgroup_core.errors import MissingExtra
from taskgroup_core.matrices import FloatArray

if TYPE_CHECKING:
    from torch import Tensor


def library_layer(
    weights: Mapping[str, Tensor], edge: NDArray[np.bool_], weight: FloatArray | None
) -> tuple[Callable[[Tensor], Tensor], list[Tensor]]:
    """A `GATConv` in double precision, which maps rows with shape (n, d) to (n, heads * units), and its parameters.

    Parameters
    ----------
    weights : of one network's layer, see `initial_weights`; they are copied.
    edge, weight : see `Graph`. Loops, and the weights on them, are left to the library.

    Raises
    ------
    MissingExtra : torch_geometric is not installed.
    """
    import torch

    try:
        from torch_geometric.nn import GATConv
    except ImportError as error:
        raise MissingExtra("torch-geometric", "graph") from error
    heads, n_out, n_in = weights["linear"].shape
    loops = bool(edge.diagonal().any())
    with torch.random.fork_rng(devices=[]):  # the layer draws weights of its own, which the given ones replace
        layer = GATConv(n_in, n_out, heads, edge_dim=None if weight is None else 1, add_self_loops=loops).double()
    names = {"lin.weight": "linear", "att_src": "source", "att_dst": "target", "bias": "bias"}
    names |= {} if weight is None else {"lin_edge.weight": "edge linear", "att_edge": "edge"}
    own = layer.state_dict()
    layer.load_state_dict({name: weights[word].reshape(own[name].shape) for name, word in names.items()})
    target, source = np.nonzero(edge & ~np.eye(len(edge), dtype=bool))
    edges = torch.from_numpy(np.stack([source, target]))
    on_edges = None if weight is None else torch.from_numpy(weight[target, source][:, None])
    return partial(layer, edge_index=edges, edge_attr=on_edges), list(layer.parameters())
