"""Hints: patterns that a white-box detector made for each class, and that the probe tests with hard labels alone."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Hint:
    """One candidate trigger for each class, all made alike, so that a model's classes can be compared.

    Attributes:
      family: name of the stamps' family, which has a null of its own.
      patterns: float32 `[num_classes, H, W, C]`, -1 to 1: what is added to images' pixel values.
      seen: integers `[n]`, numbers of the samples that the search for them looked at; no test counts these.
    """

    family: str
    patterns: np.ndarray
    seen: np.ndarray
