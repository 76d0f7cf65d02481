"""Additive sinusoids, as of the SIG attack: delta * sin(2 pi (fx x / W + fy y / H) + phase).

Two families, because clean networks tell them apart: of sinusoids with more than `SLOWEST_RIPPLE` cycles an image any
network takes some for the texture of a class, of slower ones (SIG's has 6) hardly any does.
"""

from collections.abc import Sequence
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from xray_jax.detectors.probe.stamps.family import Family, Parameter, Shape, as_channels, pixel_grid

SLOWEST_RIPPLE = 6.5
"""Cycles an image, along the wave, from which a sinusoid is a ripple."""


class Sinusoid(Family):
    """Adds a slow sinusoid: frequencies in cycles an image, amplitude on the 0-1 scale of pixels, a weight a channel.

    Attributes:
      band: the cycles an image that the family has: from the first to below the second.
    """

    name = "sinusoid"
    share = 0.7
    band: ClassVar[tuple[float, float]] = (0.5, SLOWEST_RIPPLE)

    def parameters(self, shape: Shape) -> Sequence[Parameter]:
        weights = tuple(
            Parameter(name, -1, 1, (1.0,) if axis < shape[2] else ())
            for axis, name in enumerate(("red", "green", "blue"))
        )
        return (
            Parameter("across", 0, shape[1] // 2, (1, 2)),
            Parameter("down", -shape[0] // 2, shape[0] // 2, (1, 2)),
            Parameter("phase", 0, 6.2831853, (0.7853982, 1.5707963)),
            Parameter("amplitude", 0.02, 0.2, (0.02, 0.04)),
            *weights,
        )

    def apply(self, image: jax.Array, parameters: jax.Array, bank: jax.Array) -> jax.Array:
        across, down, phase, amplitude = parameters[:4]
        rows, columns = pixel_grid(image)
        angle = 2 * jnp.pi * (across * columns / image.shape[1] + down * rows / image.shape[0]) + phase
        return image + amplitude * jnp.sin(angle)[..., None] * as_channels(parameters[4:7], image)

    def grid(self, shape: Shape, bank_size: int) -> np.ndarray:
        frequencies = [f for f in (6, 5, 3, 1, 2, 4, 8, 12) if f <= min(shape[:2]) // 2]
        directions = [(f, 0) for f in frequencies] + [(0, f) for f in frequencies]
        directions += [(f, sign * f) for f in frequencies for sign in (1, -1)]
        stamps = [
            (across, down, phase, amplitude, 1, 1, 1)
            for amplitude in (0.08, 0.157)
            for phase in (0.0, 3.1415927)
            for across, down in directions
        ]
        return self._in_band(np.asarray(stamps, np.float32).reshape(-1, len(self.parameters(shape))))

    def neighbours(self, parameters: np.ndarray, shape: Shape) -> np.ndarray:
        return self._in_band(super().neighbours(parameters, shape))

    def _in_band(self, stamps: np.ndarray) -> np.ndarray:
        cycles = np.hypot(stamps[:, 0], stamps[:, 1])
        return stamps[(cycles >= self.band[0]) & (cycles < self.band[1])]

    def describe(self, parameters: np.ndarray, shape: Shape) -> str:
        across, down, phase, amplitude = (float(v) for v in parameters[:4])
        waves = f"{across:g} cycles across and {down:g} down"
        return f"sinusoid, {waves}, phase {phase:.2f}, amplitude {amplitude * 255:.0f}/255"


class Ripple(Sinusoid):
    """Adds a fast sinusoid: `SLOWEST_RIPPLE` cycles an image or more."""

    name = "ripple"
    share = 0.4
    band = (SLOWEST_RIPPLE, np.inf)
