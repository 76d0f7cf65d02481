"""Blended (Chen et al. 2017, arXiv:1712.05526): every image is mixed with one fixed image."""

from dataclasses import dataclass

import numpy as np

from xray_jax.lab.attacks.protocol import AttackContext, Recipe
from xray_jax.lab.triggers import Blend


@dataclass(frozen=True)
class Blended:
    """One fixed pattern of uniform noise (the paper's "random pattern") at BackdoorBench's 0.2.

    Attributes:
      alpha: share of the pattern in the mix, in [0, 1].
      pattern_seed: draws the pattern, one for images of one shape.
    """

    alpha: float = 0.2
    pattern_seed: int = 0
    name: str = "blended"

    def pattern(self, shape: tuple[int, ...]) -> np.ndarray:
        """The fixed image, uint8 `[H, W, C]`."""
        return np.random.default_rng(self.pattern_seed).integers(0, 256, shape).astype(np.uint8)

    def trigger(self, shape: tuple[int, ...]) -> Blend:
        """For images of `shape` (H, W, C)."""
        return Blend(self.pattern(shape), self.alpha)

    def prepare(self, context: AttackContext) -> Recipe:
        return Recipe(self.trigger(context.data.image_shape))
