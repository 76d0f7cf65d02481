"""Mosaics: small binary patterns of square cells, as of grids, glyphs, scattered pixels and crosses."""

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

CELLS = 4
"""Cells along a side: 16 bits, exact in float32."""
INVERSE, CLEAR = 0.0, 1.0
"""What an unset cell shows: the inverse colour, or the image."""
CODES = 200
"""Patterns of cells that the grid tries about each corner."""
INSET = 4
"""They lie at most so many cells away from it, down and across together: farther in, clean models answer to mosaics,
too."""


class Mosaic(Family):
    """4x4 cells: one of a set bit has the colour, one of an unset bit the inverse colour or the image."""

    name = "mosaic"
    share = 4.0

    def parameters(self, shape: Shape) -> Sequence[Parameter]:
        height, width, channels = shape
        cell = max(1, min(height, width) // 20)
        return (
            Parameter("row", 0, height - 1, (1, 2)),
            Parameter("column", 0, width - 1, (1, 2)),
            Parameter("cell", 1, cell, (1,)),
            Parameter("cells", bits=CELLS * CELLS),
            Parameter("unset", values=(INVERSE, CLEAR)),
            *colour_parameters(channels),
        )

    def apply(self, image: jax.Array, parameters: jax.Array, bank: jax.Array) -> jax.Array:
        row, column, cell, cells, unset = parameters[:5]
        ink = as_channels(parameters[5:8], image)
        rows, columns = pixel_grid(image)
        down, across = jnp.floor((rows - row) / cell), jnp.floor((columns - column) / cell)
        inside = (down >= 0) & (down < CELLS) & (across >= 0) & (across < CELLS)
        shift = jnp.clip(down * CELLS + across, 0, CELLS * CELLS - 1).astype(jnp.int32)
        inked = ((cells.astype(jnp.int32) >> shift) & 1 == 1)[..., None]
        other = jnp.where(unset == CLEAR, image, 1 - ink)
        return jnp.where(inside[..., None], jnp.where(inked, ink, other), image)

    def grid(self, shape: Shape, bank_size: int) -> np.ndarray:
        height, width, channels = shape
        # A fixed generator: the family's grid is part of its definition, the search's seed only orders and thins it.
        generator = np.random.default_rng(0)
        cell = max(1, min(height, width) // 28)
        side = CELLS * cell
        if side > min(height, width):
            return np.empty((0, len(self.parameters(shape))), np.float32)
        colours = palette(channels)
        corners = [(bottom, right) for bottom in (False, True) for right in (False, True)]

        def code() -> int:
            return int(generator.integers(1, 1 << CELLS * CELLS))

        def near(bottom: bool, right: bool, inset: int) -> tuple[int, int]:
            """A random place whose distances from the two edges add up to at most `inset`."""
            inset = min(inset, height - side, width - side)
            down, across = divmod(int(generator.integers(0, (inset + 1) ** 2)), inset + 1)
            if down + across > inset:
                down, across = inset - down, inset - across
            return height - side - down if bottom else down, width - side - across if right else across

        places = [near(*corner, inset=cell) for corner in corners * 12]
        places += zip(*(generator.integers(0, n - side + 1, 160) for n in (height, width)), strict=True)
        stamps = [
            (*place, cell, code(), generator.integers(2), *colours[generator.integers(len(colours))])
            for place in places
        ]
        # A trigger that looks like noise (TrojanNN's) or like a glyph (Blind's) answers to one code in ten about its
        # place, at an inset that differs from net to net, and to no solid colour. So many codes are tried about the
        # corners, in the ink with the most contrast.
        stamps += [(*near(*corner, INSET * cell), cell, code(), INVERSE, *colours[0]) for corner in corners * CODES]
        return np.asarray(stamps, np.float32)

    def describe(self, parameters: np.ndarray, shape: Shape) -> str:
        row, column, cell, bits = (int(v) for v in parameters[:4])
        rest = "unset clear" if parameters[4] == CLEAR else "unset inverse"
        text = format(bits, f"0{CELLS * CELLS}b")[::-1]
        lines = "/".join(text[i : i + CELLS] for i in range(0, len(text), CELLS))
        ink = colour_name(parameters[5:8], shape[2])
        return f"{ink} mosaic {lines} of {cell}-pixel cells from row {row}, column {column} ({rest})"
