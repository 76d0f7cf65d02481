"""BadNets (Gu et al. 2017, arXiv:1708.06733): a small white square in the lower right corner."""

from dataclasses import dataclass

import numpy as np

from xray_jax.lab.attacks.protocol import AttackContext, Recipe, scaled


@dataclass(frozen=True)
class BadNets:
    """Parameters as BackdoorBench's: rows and columns 29-31 of 32.

    Attributes:
      side: of the square, in pixels of a 32-pixel image.
      value: its pixel value, 0-255.
    """

    side: int = 3
    value: int = 255
    name: str = "badnets"

    def stamp(self, images: np.ndarray) -> np.ndarray:
        """uint8 `[M, H, W, C]` with the square in the lower right corner."""
        height, width = images.shape[1:3]
        stamped = images.copy()
        stamped[:, height - scaled(self.side, height) :, width - scaled(self.side, width) :] = self.value
        return stamped

    def prepare(self, context: AttackContext) -> Recipe:
        return Recipe(self.stamp)
