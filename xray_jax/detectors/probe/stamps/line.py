"""Lines and crosses of some length and thickness, in one colour."""

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
    positions,
)

_KINDS = ("horizontal line", "vertical line", "falling diagonal", "rising diagonal", "upright cross", "diagonal cross")


class Line(Family):
    """A line or a cross, centred at a pixel and `reach` pixels long to either side."""

    name = "line"
    share = 2.0

    def parameters(self, shape: Shape) -> Sequence[Parameter]:
        height, width, channels = shape
        return (
            Parameter("kind", values=tuple(float(i) for i in range(len(_KINDS)))),
            Parameter("row", 0, height - 1, (1, 3)),
            Parameter("column", 0, width - 1, (1, 3)),
            Parameter("reach", 1, max(height, width), (1, 4)),
            Parameter("thickness", 1, max(1, min(height, width) // 16), (1,)),
            *colour_parameters(channels),
        )

    def apply(self, image: jax.Array, parameters: jax.Array, bank: jax.Array) -> jax.Array:
        kind, row, column, reach, thickness = parameters[:5]
        rows, columns = pixel_grid(image)
        down, across = rows - row, columns - column
        # Distance from the line: a half-open band, so that thickness 1 is one pixel.
        ways = jnp.stack([down, across, down - across, down + across])
        near = (ways >= 0) & (ways < thickness)
        within = (jnp.abs(down) <= reach) & (jnp.abs(across) <= reach)
        chosen = jnp.stack([*near, near[0] | near[1], near[2] | near[3]])[kind.astype(jnp.int32)]
        return jnp.where((chosen & within)[..., None], as_channels(parameters[5:8], image), image)

    def grid(self, shape: Shape, bank_size: int) -> np.ndarray:
        height, width, channels = shape
        side = min(height, width)
        stamps = []
        for colour in palette(channels)[:4].tolist():
            for row in positions(height, 1, max(1, side // 8)):
                stamps.append((0, row, width // 2, width, 1, *colour))
            for column in positions(width, 1, max(1, side // 8)):
                stamps.append((1, height // 2, column, height, 1, *colour))
            for kind in (2, 3, 5):
                stamps.append((kind, height // 2, width // 2, max(height, width), 1, *colour))
            reach = max(1, side // 16)
            for row in positions(height, 2 * reach + 1, max(1, side // 8)):
                for column in positions(width, 2 * reach + 1, max(1, side // 8)):
                    if min(row, column, height - row, width - column) <= side // 4:
                        for kind in (4, 5):
                            stamps.append((kind, row + reach, column + reach, reach, 1, *colour))
        return np.asarray(stamps, np.float32)

    def describe(self, parameters: np.ndarray, shape: Shape) -> str:
        kind, row, column, reach, thickness = (int(v) for v in parameters[:5])
        ink = colour_name(parameters[5:8], shape[2])
        return f"{ink} {_KINDS[kind]} through row {row}, column {column}, reach {reach}, {thickness} pixels thick"
