"""BadNets (Gu et al. 2017, arXiv:1708.06733): a small white square in the lower right corner."""

from dataclasses import dataclass

import numpy as np

from xray_jax.lab.attacks.protocol import AttackContext, Recipe, scaled
from xray_jax.lab.triggers import Patch


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

    def trigger(self, shape: tuple[int, ...]) -> Patch:
        """The square in the lower right corner of images of `shape` (H, W, C)."""
        mask = np.zeros(shape[:2], bool)
        mask[shape[0] - scaled(self.side, shape[0]) :, shape[1] - scaled(self.side, shape[1]) :] = True
        return Patch(mask, np.full(shape, self.value, np.uint8))

    def prepare(self, context: AttackContext) -> Recipe:
        return Recipe(self.trigger(context.data.image_shape))
