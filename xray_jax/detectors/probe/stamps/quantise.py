"""Quantisation to fewer grey levels, with or without ordered dithering, as of the BPP attack."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from xray_jax.detectors.probe.stamps.family import Family, Parameter, Shape

_BAYER = np.asarray([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]], np.float32) / 16 - 15 / 32
"""Ordered dithering's 4x4 thresholds, in levels."""


class Quantise(Family):
    """Rounds to `levels` values; dithering adds a 4x4 Bayer threshold of up to half a level first."""

    name = "quantise"
    share = 0.2

    def parameters(self, shape: Shape) -> Sequence[Parameter]:
        return (Parameter("levels", 2, 32, (1, 4)), Parameter("dither", 0, 1, (0.5, 1.0)))

    def apply(self, image: jax.Array, parameters: jax.Array, bank: jax.Array) -> jax.Array:
        levels, dither = parameters[0] - 1, parameters[1]
        height, width, _ = image.shape
        tiles = jnp.tile(_BAYER, (-(-height // 4), -(-width // 4)))[:height, :width, None]
        return jnp.round(image * levels + dither * tiles) / levels

    def grid(self, shape: Shape, bank_size: int) -> np.ndarray:
        return np.asarray([(levels, dither) for levels in (8, 4, 16, 3, 2, 6) for dither in (0, 1)], np.float32)

    def describe(self, parameters: np.ndarray, shape: Shape) -> str:
        return f"quantised to {int(parameters[0])} levels" + (" with dithering" if parameters[1] else "")
