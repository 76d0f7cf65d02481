"""Cost of a stamp: how much it changes images, measured on images, so that one scale fits every family."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

LOCAL = 0.1
"""A stamp that touches at most this share of the pixels is local (a patch, a line); any other is global."""
TOUCHED = 1 / 512
"""A pixel is touched when a channel of it moves by more than half a level of 255."""
CENTRE = 0.25
"""Standard deviation of `importance` about the middle of the image, in heights and widths of it."""


class Cost(NamedTuple):
    """Cost of K stamps, averaged over images: float32 `[K]` each.

    Attributes:
      touched: share of pixels changed, 0 .. 1.
      rms: root mean square change of a pixel value, 0 .. 1: the L2 distance over the square root of the value count.
      peak: largest change of a pixel value (L-infinity), 0 .. 1.
      weighted_rms: RMS change with pixels weighted by `importance`, 0 .. 1: what the search keeps low, and what cost
        levels are of. A change that covers the object changes the label of any model; the same change in a corner,
        where triggers are put, that of few.
    """

    touched: np.ndarray
    rms: np.ndarray
    peak: np.ndarray
    weighted_rms: np.ndarray

    @property
    def local(self) -> np.ndarray:
        """Which stamps touch at most `LOCAL` of the pixels, bool `[K]`."""
        return self.touched <= LOCAL

    def take(self, index: np.ndarray) -> "Cost":
        """Cost of the stamps `index`, integers or bools."""
        return Cost(*(column[index] for column in self))


def join(*parts: Cost) -> Cost:
    """Costs one after the other."""
    return Cost(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def importance(height: int, width: int) -> jax.Array:
    """Weight of each pixel, `[height, width]` with mean 1: a Gaussian about the middle, where objects are."""
    down, across = ((jnp.arange(n, dtype=jnp.float32) + 0.5) / n - 0.5 for n in (height, width))
    weight = jnp.exp(-(down[:, None] ** 2 + across[None, :] ** 2) / (2 * CENTRE**2))
    return weight / jnp.mean(weight)
