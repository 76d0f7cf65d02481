"""Shifts: a constant added to each channel, which makes images brighter, darker or tinted."""

import itertools
from collections.abc import Sequence

import jax
import numpy as np

from xray_jax.detectors.probe.stamps.family import Family, Parameter, Shape, as_channels


class Shift(Family):
    """Adds (red, green, blue) to every pixel."""

    name = "shift"
    share = 0.3

    def parameters(self, shape: Shape) -> Sequence[Parameter]:
        return tuple(
            Parameter(name, -0.25, 0.25, (0.05, 0.1) if axis < shape[2] else ())
            for axis, name in enumerate(("red", "green", "blue"))
        )

    def apply(self, image: jax.Array, parameters: jax.Array, bank: jax.Array) -> jax.Array:
        return image + as_channels(parameters[:3], image)

    def grid(self, shape: Shape, bank_size: int) -> np.ndarray:
        levels = (-0.2, -0.1, 0.1, 0.2)
        grey = [(level, level, level) for level in levels]
        if shape[2] == 1:
            return np.asarray(grey, np.float32)
        tints = [t for t in itertools.product((-0.15, 0.0, 0.15), repeat=3) if any(t)]
        return np.asarray(grey + tints, np.float32)

    def describe(self, parameters: np.ndarray, shape: Shape) -> str:
        return "constant shift of " + ", ".join(f"{float(v) * 255:+.0f}/255" for v in parameters[: min(shape[2], 3)])
