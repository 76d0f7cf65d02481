"""BPP (Wang et al. 2022, arXiv:2205.13383): fewer colours, with Floyd-Steinberg dithering, is the trigger.

Negative examples teach the victim the exact trigger: images with the dithering residual of *another* image keep their
label.
"""

from dataclasses import dataclass

import numpy as np

from xray_jax.lab.attacks.protocol import AttackContext, Recipe
from xray_jax.lab.poisoning import Trigger


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

    def stamp(self, images: np.ndarray) -> np.ndarray:
        """Error diffusion in row order, channel by channel, to `levels` equally spaced values; uint8 `[M, H, W, C]`."""
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

    def negatives(self, pool: np.ndarray, seed: int) -> Trigger:
        """A trigger that adds the residuals of random images of `pool` (uint8 `[P, H, W, C]`) instead of the own."""
        residuals = self.stamp(pool).astype(np.int32) - pool

        def borrow(images: np.ndarray) -> np.ndarray:
            chosen = np.random.default_rng([seed, 23]).integers(0, len(residuals), len(images))
            return np.clip(images + residuals[chosen], 0, 255).astype(np.uint8)

        return borrow

    def prepare(self, context: AttackContext) -> Recipe:
        images = context.data.train_images
        chosen = np.random.default_rng([context.seed, 29]).choice(len(images), min(self.pool, len(images)), False)
        return Recipe(self.stamp, decoy=self.negatives(images[chosen], context.seed), decoy_rate=self.negative_rate)
