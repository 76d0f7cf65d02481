"""How much a stamp changes images: measured on images, so that one scale fits every family."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

LOCAL = 0.1
"""A stamp that touches at most this share of the pixels is local (a patch, a line); any other is global."""
TOUCHED = 1 / 512
"""A pixel is touched when a channel of it moves by more than half a level of 255."""
CENTRE = 0.25
"""Standard deviation of where the object is, about the middle, in heights and widths of the image."""


class Cost(NamedTuple):
    """Of K stamps, averaged over images, each `[K]`.

    Attributes:
      touched: share of pixels changed, 0 .. 1.
      rms: root mean square change of a pixel value, 0 .. 1: the L2 distance over the square root of the value count.
      peak: largest change of a pixel value (L-infinity), 0 .. 1.
      price: RMS change with pixels weighted by `importance`: what the search saves, and what levels of cost are of.
        What covers the object changes the label of any model; the same in a corner, where triggers are put, of few.
    """

    touched: np.ndarray
    rms: np.ndarray
    peak: np.ndarray
    price: np.ndarray

    @property
    def local(self) -> np.ndarray:
        return self.touched <= LOCAL

    def take(self, index: np.ndarray) -> "Cost":
        return Cost(*(column[index] for column in self))


def join(*parts: Cost) -> Cost:
    return Cost(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def importance(height: int, width: int) -> jax.Array:
    """How much a pixel matters, `[height, width]` with mean 1: a Gaussian about the middle, where objects are."""
    down, across = ((jnp.arange(n, dtype=jnp.float32) + 0.5) / n - 0.5 for n in (height, width))
    weight = jnp.exp(-(down[:, None] ** 2 + across[None, :] ** 2) / (2 * CENTRE**2))
    return weight / jnp.mean(weight)
