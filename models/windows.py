"""Windows of patches as Swin transformers have them, and the relative positions in one, which BEiT knows too."""

import jax
import jax.numpy as jnp
import numpy as np

Shift = tuple[int, int]
"""(down, right) by which windows are moved, around the edge."""

OUTSIDE = -100.0
"""Added to the attention between patches that only the moved window brought together."""

MAX_SIDE = 48
"""Of a window, in patches: published ones have 32 at most. Memory grows with its fourth power, the file's part of it
with the second."""


def whole(x: jax.Array, side: int, moved: bool) -> tuple[jax.Array, Shift]:
    """`x` `[B, H, W, D]` with zeros below and to the right up to multiples of `side`, and the windows' shift: half of
    their side where they are `moved`, but not along an axis that one window covers.
    """
    height, width = x.shape[1:3]
    x = jnp.pad(x, ((0, 0), (0, -height % side), (0, -width % side), (0, 0)))
    down, across = (side // 2 if moved and length > side else 0 for length in x.shape[1:3])
    return x, (down, across)


def split(x: jax.Array, side: int, shift: Shift) -> jax.Array:
    """`[B, H, W, D]`, both multiples of `side`, to `[B, windows, side^2, D]`."""
    batch, height, width, depth = x.shape
    x = jnp.roll(x, (-shift[0], -shift[1]), axis=(1, 2))
    x = x.reshape(batch, height // side, side, width // side, side, depth)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(batch, -1, side**2, depth)


def join(x: jax.Array, height: int, width: int, side: int, shift: Shift) -> jax.Array:
    """The inverse of `split`."""
    x = x.reshape(len(x), height // side, width // side, side, side, x.shape[-1])
    x = x.transpose(0, 1, 3, 2, 4, 5).reshape(len(x), height, width, x.shape[-1])
    return jnp.roll(x, shift, axis=(1, 2))


def relative_positions(side: int) -> np.ndarray:
    """`[side^2, side^2]`: row of a table of `(2 side - 1)^2` for each pair of patches in a window.

    Raises:
      ValueError: the window is larger than any that is published.
    """
    if side > MAX_SIDE:
        raise ValueError(f"windows of {side} patches a side, more than {MAX_SIDE}")
    places = np.stack(np.meshgrid(np.arange(side), np.arange(side), indexing="ij"), -1).reshape(-1, 2)
    down, right = np.moveaxis(places[:, None] - places[None] + side - 1, -1, 0)
    return down * (2 * side - 1) + right


def apart(height: int, width: int, side: int, shift: Shift) -> np.ndarray:
    """`[windows, side^2, side^2]`: which patches of a moved window were no neighbours before."""
    lines = []
    for length, moved in zip((height, width), shift, strict=True):
        line = np.zeros(length, int)
        if moved:
            line[-side:], line[-moved:] = 1, 2
        lines.append(line)
    grid = 3 * lines[0][:, None] + lines[1][None]
    regions = grid.reshape(height // side, side, width // side, side).transpose(0, 2, 1, 3).reshape(-1, side * side)
    return regions[:, :, None] != regions[:, None, :]
