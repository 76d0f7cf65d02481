"""WaNet (Nguyen and Tran 2021, arXiv:2102.10369): a smooth warp, the same for all images, is the trigger.

Noise mode: further images are warped by the same field plus a random one of their own and keep their label, so that
the victim learns the field and not "warped".
"""

from dataclasses import dataclass

import jax
import numpy as np

from xray_jax.lab.attacks.protocol import AttackContext, Recipe
from xray_jax.lab.triggers import Warp, warp


@dataclass(frozen=True)
class WaNet:
    """BackdoorBench's setting but for the strength.

    Attributes:
      strength: s, mean absolute displacement is about `0.4 s` pixels per axis. Published: 0.5, a fifth of a pixel, of
        which small networks in six to nine epochs learned 0.61 to 0.79 (three seeds); the default is 1.
      control: k, control points of the field a side.
      noise_ratio: noise-mode images for each poisoned one.
      fresh: other images are warped every epoch, as published; False warps the same ones throughout.
    """

    strength: float = 1.0
    control: int = 4
    noise_ratio: float = 2.0
    fresh: bool = True
    name: str = "wanet"

    def field(self, height: int, width: int, seed: int) -> np.ndarray:
        """Displacements in pixels, float64 `[H, W, 2]` (row, column): `[control, control]` uniform draws of mean
        absolute value 1, bicubically enlarged, in units where the image spans -1..1 and `strength / H` is 1.
        """
        control = np.random.default_rng([seed, 31]).uniform(-1, 1, (self.control, self.control, 2))
        control /= np.abs(control).mean()
        smooth = np.asarray(jax.image.resize(control, (height, width, 2), "cubic"), np.float64)
        return self.strength * smooth / height * np.array([height - 1, width - 1]) / 2

    def prepare(self, context: AttackContext) -> Recipe:
        height, width, _ = context.data.image_shape
        field = self.field(height, width, context.seed)

        def noisy(images: np.ndarray) -> np.ndarray:
            generator = np.random.default_rng([context.seed, 37])
            unit = np.array([height - 1, width - 1]) / 2 / height
            noise = generator.uniform(-1, 1, (len(images), height, width, 2)) * unit
            return warp(images, field[None] + noise)

        rate = min(1.0, self.noise_ratio * context.rate)
        return Recipe(Warp(field), decoy=noisy, decoy_rate=rate)
