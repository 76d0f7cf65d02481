"""Borders: frames around the image and strips along one edge, in one colour."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from xray_jax.detectors.probe.stamps.family import (
    Family,
    Parameter,
    Shape,
    as_channels,
    colour_name,
    colour_parameters,
    palette,
    pixel_grid,
)

_SIDES = ("top strip", "bottom strip", "left strip", "right strip", "frame")


class Border(Family):
    """A strip of some thickness along the top, bottom, left or right edge, or all four."""

    name = "border"
    share = 0.6

    def parameters(self, shape: Shape) -> Sequence[Parameter]:
        thickest = max(1, min(shape[:2]) // 8)
        return (
            Parameter("side", values=tuple(float(i) for i in range(len(_SIDES)))),
            Parameter("thickness", 1, thickest, (1,)),
            *colour_parameters(shape[2]),
        )

    def apply(self, image: jax.Array, parameters: jax.Array, bank: jax.Array) -> jax.Array:
        side, thickness = parameters[:2]
        height, width, _ = image.shape
        rows, columns = pixel_grid(image)
        distances = jnp.stack([rows, height - 1 - rows, columns, width - 1 - columns])
        distance = jnp.where(side == 4, distances.min(0), distances[jnp.clip(side, 0, 3).astype(jnp.int32)])
        return jnp.where((distance < thickness)[..., None], as_channels(parameters[2:5], image), image)

    def grid(self, shape: Shape, bank_size: int) -> np.ndarray:
        thickest = max(1, min(shape[:2]) // 8)
        stamps = [
            (side, thickness, *colour)
            for thickness in sorted({1, max(1, thickest // 2), thickest})
            for colour in palette(shape[2]).tolist()
            for side in range(len(_SIDES))
        ]
        return np.asarray(stamps, np.float32)

    def describe(self, parameters: np.ndarray, shape: Shape) -> str:
        ink = colour_name(parameters[2:5], shape[2])
        return f"{ink} {_SIDES[int(parameters[0])]}, {int(parameters[1])} pixels thick"
