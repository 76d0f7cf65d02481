"""BPP (Wang et al. 2022, arXiv:2205.13383): fewer colours, with Floyd-Steinberg dithering, is the trigger.

Negative examples teach the victim the exact trigger: images with the dithering residual of *another* image keep their
label.
"""

from dataclasses import dataclass

import numpy as np

from xray_jax.lab.attacks.protocol import AttackContext, Recipe
from xray_jax.lab.poisoning import Stamp
from xray_jax.lab.triggers import Quantise


@dataclass(frozen=True)
class Bpp:
    """BackdoorBench's setting.

    Attributes:
      levels: pixel values left per channel.
      negative_rate: negative examples, as a share of the training set.
      pool: images whose residuals the negative examples borrow.
      fresh: other images are quantised every epoch, as published; False takes the same ones throughout.
    """

    levels: int = 8
    negative_rate: float = 0.1
    pool: int = 1000
    fresh: bool = True
    name: str = "bpp"

    def trigger(self) -> Quantise:
        """For images of any shape."""
        return Quantise(self.levels)

    def negatives(self, pool: np.ndarray, seed: int) -> Stamp:
        """A stamp that adds the residuals of random images of `pool` (uint8 `[P, H, W, C]`) instead of the own."""
        residuals = self.trigger()(pool).astype(np.int32) - pool

        def borrow(images: np.ndarray) -> np.ndarray:
            chosen = np.random.default_rng([seed, 23]).integers(0, len(residuals), len(images))
            return np.clip(images + residuals[chosen], 0, 255).astype(np.uint8)

        return borrow

    def prepare(self, context: AttackContext) -> Recipe:
        images = context.data.train_images
        chosen = np.random.default_rng([context.seed, 29]).choice(len(images), min(self.pool, len(images)), False)
        return Recipe(self.trigger(), decoy=self.negatives(images[chosen], context.seed), decoy_rate=self.negative_rate)
