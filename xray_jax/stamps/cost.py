"""How much a stamp changes images: measured on images, so that one scale fits every family."""

from typing import NamedTuple

import numpy as np

LOCAL = 0.1
"""A stamp that touches at most this share of the pixels is local (a patch, a line); any other is global."""
TOUCHED = 1 / 512
"""A pixel is touched when a channel of it moves by more than half a level of 255."""


class Cost(NamedTuple):
    """Of K stamps, averaged over images, each `[K]`.

    Attributes:
      touched: share of pixels changed, 0 .. 1.
      rms: root mean square change of a pixel value, 0 .. 1: the L2 distance over the square root of the value count.
      peak: largest change of a pixel value (L-infinity), 0 .. 1.
    """

    touched: np.ndarray
    rms: np.ndarray
    peak: np.ndarray

    @property
    def local(self) -> np.ndarray:
        return self.touched <= LOCAL

    def take(self, index: np.ndarray) -> "Cost":
        return Cost(self.touched[index], self.rms[index], self.peak[index])


def join(*parts: Cost) -> Cost:
    return Cost(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
