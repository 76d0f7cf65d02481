"""Patches: rectangles of one pixel to a fifth of the image, as BadNets' squares and grids."""

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

SOLID, CHECKER, ACROSS, DOWN = 0.0, 1.0, 2.0, 3.0
"""Patterns. A checkerboard alternates with the inverse colour; a gradient runs from it to the colour."""
_WORDS = {SOLID: "solid", CHECKER: "checkered", ACROSS: "left-to-right gradient", DOWN: "top-to-bottom gradient"}


class Patch(Family):
    """A rectangle, solid, checkered or with a gradient."""

    name = "patch"
    share = 10.0

    def parameters(self, shape: Shape) -> Sequence[Parameter]:
        height, width, channels = shape
        largest = max(1, min(height, width) // 5)
        # Moves of half a side reach the exact place from a stride of half a side; single pixels then settle it.
        far = max(2.0, largest // 2)
        return (
            Parameter("row", 0, height - 1, (1, far)),
            Parameter("column", 0, width - 1, (1, far)),
            Parameter("height", 1, largest, (1, 2)),
            Parameter("width", 1, largest, (1, 2)),
            Parameter("pattern", values=(SOLID, CHECKER, ACROSS, DOWN)),
            *colour_parameters(channels),
        )

    def apply(self, image: jax.Array, parameters: jax.Array, bank: jax.Array) -> jax.Array:
        row, column, height, width, pattern = parameters[:5]
        ink = as_channels(parameters[5:8], image)
        rows, columns = pixel_grid(image)
        down, across = rows - row, columns - column
        inside = (down >= 0) & (down < height) & (across >= 0) & (across < width)
        weight = jnp.select(
            [pattern == CHECKER, pattern == ACROSS, pattern == DOWN],
            [1 - (down + across) % 2, across / jnp.maximum(width - 1, 1), down / jnp.maximum(height - 1, 1)],
            1.0,
        )[..., None]
        return jnp.where(inside[..., None], weight * ink + (1 - weight) * (1 - ink), image)

    def grid(self, shape: Shape, bank_size: int) -> np.ndarray:
        height, width, channels = shape
        side = min(height, width)
        colours = palette(channels)
        # An eighth of the image at every half side, in every colour: covers any small trigger of that colour.
        stamps = _lay(shape, max(2, side // 8), max(1, side // 16), SOLID, colours)
        stamps += _lay(shape, max(2, side // 8), max(1, side // 16), CHECKER, colours[:2])
        # Triggers that work only at their exact place: pixel steps near the border, where triggers are put.
        small = max(1, round(side * 3 / 32))
        near = _lay(shape, small, max(1, side // 32), SOLID, colours[:1])
        near += _lay(shape, small, max(1, side // 32), CHECKER, colours[:2])
        margin = max(1, side // 8)
        stamps += [s for s in near if min(s[0], s[1], height - small - s[0], width - small - s[1]) <= margin]
        large = max(1, side // 5)
        stamps += _lay(shape, large, max(1, large // 2), SOLID, colours[:2])
        return np.asarray(stamps, np.float32)

    def describe(self, parameters: np.ndarray, shape: Shape) -> str:
        row, column, height, width = (int(v) for v in parameters[:4])
        ink = colour_name(parameters[5:8], shape[2])
        bottom, right = min(row + height, shape[0]) - 1, min(column + width, shape[1]) - 1
        if (bottom, right) == (row, column):
            return f"one {ink} pixel at row {row}, column {column}"
        size = f"{bottom - row + 1}x{right - column + 1}"
        return f"{size} {_WORDS[float(parameters[4])]} {ink} patch, rows {row}-{bottom}, columns {column}-{right}"


def _lay(shape: Shape, side: int, stride: int, pattern: float, colours: np.ndarray) -> list[tuple[float, ...]]:
    return [
        (row, column, side, side, pattern, *colour)
        for colour in colours.tolist()
        for row in positions(shape[0], side, stride)
        for column in positions(shape[1], side, stride)
    ]
