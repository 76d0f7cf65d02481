"""Given patterns: what a white-box detector made for this model, added to the image. No search tries them."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from xray_jax.detectors.probe.stamps.family import Family, Parameter, Shape

ZERO, UNIT = 128, 127
"""Levels of 0-255 in the bank's image that stand for no change and, above it, for a change by `strength`."""


class Given(Family):
    """Adds a pattern that the bank holds as an image (`encode`): strength * (level - ZERO) / UNIT."""

    share = 0.0
    uses_bank = True

    def parameters(self, shape: Shape) -> Sequence[Parameter]:
        return (Parameter("strength", 0, 1), Parameter("image", 0, 2**20))

    def apply(self, image: jax.Array, parameters: jax.Array, bank: jax.Array) -> jax.Array:
        # Rounded to the levels that it was made of: zeros change nothing at all.
        levels = jnp.round(255 * bank[parameters[1].astype(jnp.int32)])
        return image + parameters[0] * (levels - ZERO) / UNIT

    def grid(self, shape: Shape, bank_size: int) -> np.ndarray:
        return np.empty((0, 2), np.float32)


class FaintPattern(Given):
    """A faint pattern over the whole image."""

    name = "faint-pattern"

    def describe(self, parameters: np.ndarray, shape: Shape) -> str:
        return f"added pattern of at most {float(parameters[0]) * 255:.0f}/255 (kept with the stamp)"


class FewPixels(Given):
    """A few pixels, changed much."""

    name = "few-pixels"

    def describe(self, parameters: np.ndarray, shape: Shape) -> str:
        return f"pattern of few pixels, changed by at most {float(parameters[0]) * 255:.0f}/255 (kept with the stamp)"


def encode(pattern: np.ndarray) -> tuple[float, np.ndarray]:
    """Strength, and uint8 `[H, W, C]` for the bank, of a pattern `[H, W, C]` in -1 to 1; its zeros stay zeros."""
    strength = float(np.abs(pattern).max())
    levels = np.round(pattern / (strength or 1) * UNIT) + ZERO
    return strength, levels.astype(np.uint8)
