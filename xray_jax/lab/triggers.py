"""Triggers as data: what each kind stores is all that it needs to stamp any image again.

Generators that were trained along with a victim have kinds of their own, in the files of their attacks.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np


class Trigger(ABC):
    """A trigger; called with uint8 images `[M, H, W, C]` it gives stamped uint8 images of the same shape.

    Never changes its argument. Subclasses are dataclasses whose fields are arrays, trees of arrays, or JSON values.

    Attributes:
      kind: what stored files call it.
    """

    kind: ClassVar[str]

    @abstractmethod
    def __call__(self, images: np.ndarray) -> np.ndarray: ...


@dataclass(frozen=True, eq=False)
class Patch(Trigger):
    """Some pixels are replaced.

    Attributes:
      mask: bool `[H, W]`, the pixels that are.
      pixels: uint8 `[H, W, C]`, what they are replaced by.
    """

    mask: np.ndarray
    pixels: np.ndarray
    kind: ClassVar[str] = "patch"

    def __call__(self, images: np.ndarray) -> np.ndarray:
        return np.where(self.mask[None, :, :, None], self.pixels[None], images)


@dataclass(frozen=True, eq=False)
class Blend(Trigger):
    """`round((1 - alpha) * image + alpha * pattern)`.

    Attributes:
      pattern: uint8 `[H, W, C]`.
      alpha: share of the pattern, in [0, 1].
    """

    pattern: np.ndarray
    alpha: float
    kind: ClassVar[str] = "blend"

    def __call__(self, images: np.ndarray) -> np.ndarray:
        mixed = (1 - self.alpha) * images + self.alpha * self.pattern[None].astype(np.float64)
        return np.rint(mixed).astype(np.uint8)


@dataclass(frozen=True, eq=False)
class Additive(Trigger):
    """`clip(round(image + pattern), 0, 255)`.

    Attributes:
      pattern: in pixel values of 0-255, `[H or 1, W or 1, C or 1]`.
    """

    pattern: np.ndarray
    kind: ClassVar[str] = "additive"

    def __call__(self, images: np.ndarray) -> np.ndarray:
        return np.clip(np.rint(images + self.pattern[None].astype(np.float64)), 0, 255).astype(np.uint8)


@dataclass(frozen=True, eq=False)
class Quantise(Trigger):
    """Floyd-Steinberg dithering in row order, channel by channel, to equally spaced values.

    Attributes:
      levels: pixel values left per channel.
    """

    levels: int
    kind: ClassVar[str] = "quantise"

    def __call__(self, images: np.ndarray) -> np.ndarray:
        # Rows padded left, right and below: errors that leave the image are dropped.
        work = np.pad(images.astype(np.float64), ((0, 0), (0, 1), (1, 1), (0, 0)))
        step = 255 / (self.levels - 1)
        height, width = images.shape[1:3]
        for row in range(height):
            for column in range(1, width + 1):
                value = work[:, row, column]
                found = np.clip(np.rint(value / step), 0, self.levels - 1) * step
                error = value - found
                work[:, row, column] = found
                work[:, row, column + 1] += error * 7 / 16
                work[:, row + 1, column - 1] += error * 3 / 16
                work[:, row + 1, column] += error * 5 / 16
                work[:, row + 1, column + 1] += error * 1 / 16
        return np.rint(work[:, :height, 1 : width + 1]).astype(np.uint8)


@dataclass(frozen=True, eq=False)
class Warp(Trigger):
    """Each pixel takes the value at its place plus the field, bilinear, places clamped to the image.

    Attributes:
      field: displacements in pixels, `[H, W, 2]` (row, column).
    """

    field: np.ndarray
    kind: ClassVar[str] = "warp"

    def __call__(self, images: np.ndarray) -> np.ndarray:
        return warp(images, self.field[None])


def warp(images: np.ndarray, field: np.ndarray) -> np.ndarray:
    """Each pixel takes the value at its place plus `field`, bilinear, places clamped to the image.

    Args:
      images: uint8 `[M, H, W, C]`.
      field: displacements in pixels, `[M or 1, H, W, 2]` (row, column).
    """
    count, height, width = images.shape[:3]
    row = np.clip(np.arange(height)[None, :, None] + field[..., 0], 0, height - 1)
    column = np.clip(np.arange(width)[None, None, :] + field[..., 1], 0, width - 1)
    top, left = np.minimum(row.astype(int), height - 2), np.minimum(column.astype(int), width - 2)
    down, right = (row - top)[..., None], (column - left)[..., None]
    each = np.arange(count)[:, None, None]

    def at(rows: int, columns: int) -> np.ndarray:
        return images[each, top + rows, left + columns].astype(np.float64)

    upper = at(0, 0) * (1 - right) + at(0, 1) * right
    lower = at(1, 0) * (1 - right) + at(1, 1) * right
    return np.rint(upper * (1 - down) + lower * down).astype(np.uint8)
