"""SIG (Barni et al. 2019, arXiv:1902.11237): a faint horizontal sinusoid on images of the target class only."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from xray_jax.lab.attacks.protocol import AttackContext, Recipe
from xray_jax.lab.triggers import Additive


@dataclass(frozen=True)
class Sig:
    """A clean-label attack: no label changes. The rate counts on the whole set, capped at 80 % of the target class.

    Attributes:
      delta: amplitude, in pixel values of 0-255.
      frequency: periods across the image's width.
    """

    delta: float = 40.0
    frequency: float = 6.0
    name: str = "sig"
    clean_label: ClassVar[bool] = True

    def trigger(self, width: int) -> Additive:
        """`delta * sin(2 pi j f / W)` in column j of images of that `width` W."""
        wave = self.delta * np.sin(2 * np.pi * np.arange(width) * self.frequency / width)
        return Additive(wave[None, :, None])

    def prepare(self, context: AttackContext) -> Recipe:
        return Recipe(self.trigger(context.data.image_shape[1]), clean_label=self.clean_label)
