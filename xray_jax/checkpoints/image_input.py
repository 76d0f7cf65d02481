"""The image input of a model that came with its own computation, found from the input's shape."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from xray_jax.checkpoints.contents import CheckpointError

MAX_SIDE = 1 << 14
_CHANNELS = (1, 3, 4)


@dataclass(frozen=True)
class ImageInput:
    """A model's input.

    Attributes:
      form: "NHWC", "NCHW", "HW" (grey without a channel axis) or "flat" (rows of a vector).
      shape: (height, width, channels) of the images that the scanner gives.
      vector: sizes of a flat input without its batch, some of which may be 1.
    """

    form: str
    shape: tuple[int, int, int]
    vector: tuple[int, ...] = ()

    def enter(self, images: Any) -> Any:
        """`[B, H, W, C]`, numpy or jax, in the form that the model takes."""
        if self.form == "NCHW":
            return (np if isinstance(images, np.ndarray) else jnp).moveaxis(images, -1, 1)
        if self.form == "HW":
            return images[..., 0]
        return images.reshape(images.shape[0], *self.vector) if self.form == "flat" else images


def image_input(sizes: Sequence[Any], channels_first: bool) -> ImageInput:
    """From the sizes of an input without its batch.

    Args:
      sizes: three, two or one whole numbers; anything else in them is a size left open.
      channels_first: which layout it is when the sizes allow both.

    Raises:
      CheckpointError: when a size is left open or this is no image.
    """
    if not 1 <= len(sizes) <= 3 or not all(type(n) is int and 0 < n <= MAX_SIDE for n in sizes):
        raise CheckpointError(
            f"its input without the batch is {[n if type(n) is int else '?' for n in sizes]}, expected the fixed size "
            "of an image; save or export it again with fixed height, width and channels"
        )
    long = [size for size in sizes if size != 1]
    if len(sizes) == 1 or (len(long) == 1 and long[0] not in _CHANNELS):
        return _flat(long[0] if long else 1, tuple(sizes))
    if len(sizes) == 3:
        first, last = sizes[0] in _CHANNELS, sizes[2] in _CHANNELS
        if first and (channels_first or not last):
            return ImageInput("NCHW", (sizes[1], sizes[2], sizes[0]))
        return ImageInput("NHWC", (sizes[0], sizes[1], sizes[2]))
    return ImageInput("HW", (sizes[0], sizes[1], 1))


def _flat(length: int, sizes: tuple[int, ...]) -> ImageInput:
    for channels in (1, 3):
        side = round((length / channels) ** 0.5)
        if side * side * channels == length:
            return ImageInput("flat", (side, side, channels), sizes)
    raise CheckpointError(f"its input is a vector of {length} numbers, which is no square image of 1 or 3 channels")
