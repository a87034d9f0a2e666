"""What numbers are divided by to have standard deviation 1, where some do not vary."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

ROUNDING = 1e-12  # of the mean: what is left of the standard deviation of equal numbers in double precision


def divisors(mean: ArrayLike, spread: ArrayLike, rounding: float = ROUNDING) -> NDArray[np.float64]:
    """The standard deviations, or 1 where numbers are equal but for rounding, which must not be blown up.

    Parameters
    ----------
    mean, spread : means and standard deviations, of one shape.
    rounding : a standard deviation up to this share of the mean's size is rounding.
    """
    return np.where(np.asarray(spread) > rounding * np.abs(mean), spread, 1.0)


def standardised(values: NDArray[np.float32], rounding: float) -> NDArray[np.float32]:
    """Each entry of rows, with shape (N, ...), at mean 0 and standard deviation 1 over the rows; see `divisors`."""
    mean, spread = (statistic(values, axis=0, dtype=np.float64) for statistic in (np.mean, np.std))
    scaled: NDArray[np.float64] = (values - mean) / divisors(mean, spread, rounding)
    return scaled.astype(np.float32)
