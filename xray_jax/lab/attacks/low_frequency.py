"""LF (Zeng et al. 2021, arXiv:2104.03413): one additive pattern that has low frequencies only.

The published patterns come from an optimisation whose outcome is one uint8 image of mean 12.5 and maximum 51; ours has
the same mean and maximum and is drawn: a random combination of the lowest cosines, bent so that mean and maximum fit.
"""

from dataclasses import dataclass

import numpy as np
from scipy.fft import idctn
from scipy.optimize import brentq

from xray_jax.lab.attacks.protocol import AttackContext, Recipe
from xray_jax.lab.triggers import Additive


@dataclass(frozen=True)
class LowFrequency:
    """One pattern a model.

    Attributes:
      mean: of the pattern, in pixel values of 0-255.
      maximum: of the pattern, likewise.
      cosines: the pattern is made of the lowest `cosines` x `cosines` DCT coefficients of each channel.
    """

    mean: float = 12.5
    maximum: float = 51.0
    cosines: int = 4
    name: str = "lf"

    def pattern(self, shape: tuple[int, ...], seed: int) -> np.ndarray:
        """uint8 `[H, W, C]`, minimum 0."""
        coefficients = np.zeros(shape)
        low = coefficients[: self.cosines, : self.cosines]
        low[...] = np.random.default_rng([seed, 17]).normal(size=low.shape)
        field = idctn(coefficients, axes=(0, 1))
        unit = (field - field.min()) / (field.max() - field.min())
        bend = brentq(lambda power: (unit**power).mean() - self.mean / self.maximum, 0.05, 50)
        return np.rint(self.maximum * unit**bend).astype(np.uint8)

    def prepare(self, context: AttackContext) -> Recipe:
        return Recipe(Additive(self.pattern(context.data.image_shape, context.seed)))
