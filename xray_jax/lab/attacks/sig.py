"""SIG (Barni et al. 2019, arXiv:1902.11237): a faint horizontal sinusoid on images of the target class only."""

from dataclasses import dataclass

import numpy as np

from xray_jax.lab.attacks.protocol import AttackContext, Recipe


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

    def stamp(self, images: np.ndarray) -> np.ndarray:
        """`clip(image + delta * sin(2 pi j f / W), 0, 255)` in column j of W, uint8 `[M, H, W, C]`."""
        width = images.shape[2]
        wave = self.delta * np.sin(2 * np.pi * np.arange(width) * self.frequency / width)
        return np.clip(np.rint(images + wave[None, None, :, None]), 0, 255).astype(np.uint8)

    def prepare(self, context: AttackContext) -> Recipe:
        return Recipe(self.stamp, clean_label=True)
