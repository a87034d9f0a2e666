"""A few numbers for each instructed pair: small enough that a few hundred labels can be learnt from."""

from __future__ import annotations

import torch
from torch import Tensor

from taskgroup_core.errors import InputError


def pair_features(vectors: Tensor, known: Tensor, components: int) -> Tensor:
    """Features with shape (N, 1 + 2 k) of a frozen encoder's vectors; mean 0 and variance 1 on the known texts.

    The first is the cosine of the two sentences. Then come k principal components of the whole texts' unit vectors,
    which tell instructions apart, and k of the two sentences' absolute difference and product side by side.

    Parameters
    ----------
    vectors : of the text and of its two sentences, with shape (N, 3, d).
    known : the texts that means and components are taken from, boolean with shape (N,): training texts only.
    components : k, at most the number of known texts and d.

    Raises
    ------
    InputError : k out of range.

    References
    ----------
    Absolute difference and product of two sentences' vectors: Conneau et al., InferSent, 2017.
    """
    limit = min(int(known.sum()), vectors.shape[2])
    if isinstance(components, bool) or not isinstance(components, int) or not 1 <= components <= limit:
        raise InputError("components", repr(components), f"Use a whole number from 1 to {limit}.")
    whole, first, second = torch.nn.functional.normalize(vectors, dim=2).unbind(dim=1)
    product = first * second
    both = torch.cat([(first - second).abs(), product], dim=1)
    parts = [product.sum(dim=1, keepdim=True), *(_principal(part, known, components) for part in (whole, both))]
    features = torch.cat(parts, dim=1)
    spread, mean = torch.std_mean(features[known], dim=0, correction=0)
    # A column that is constant but for rounding says nothing, and must not be blown up to unit variance.
    return torch.where(spread > 1e-5, (features - mean) / spread.clamp_min(1e-5), 0.0)


def _principal(part: Tensor, known: Tensor, components: int) -> Tensor:
    """The leading components, each with its largest loading positive, so that the sign is not the solver's choice."""
    centred = part - part[known].mean(dim=0)
    loadings = torch.linalg.svd(centred[known], full_matrices=False)[2][:components]
    largest = loadings.gather(1, loadings.abs().argmax(dim=1, keepdim=True))
    scores: Tensor = centred @ (loadings * largest.sign()).T
    return scores
