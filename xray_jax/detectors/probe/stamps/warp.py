"""Smooth warps by a random 4x4 displacement field, enlarged to the image, as of the WaNet attack."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from xray_jax.detectors.probe.stamps.family import Family, Parameter, Shape, pixel_grid

CONTROL = 4
"""Control points of the field along each side."""


class Warp(Family):
    """Warps the image; `strength` is the mean displacement in half pixels of 32: WaNet's s = 0.5 is strength 0.5."""

    name = "warp"
    share = 0.6

    def parameters(self, shape: Shape) -> Sequence[Parameter]:
        return (Parameter("strength", 0.25, 3, (0.25, 0.5)), Parameter("seed", 0, 2**20))

    def apply(self, image: jax.Array, parameters: jax.Array, bank: jax.Array) -> jax.Array:
        height, width, _ = image.shape
        control = jax.random.uniform(jax.random.key(parameters[1].astype(jnp.int32)), (CONTROL, CONTROL, 2), minval=-1)
        control = control / jnp.mean(jnp.abs(control))
        field = jax.image.resize(control, (height, width, 2), method="cubic") * parameters[0] / 2
        rows, columns = pixel_grid(image)
        rows = jnp.clip(rows + field[..., 0] * height / 32, 0, height - 1)
        columns = jnp.clip(columns + field[..., 1] * width / 32, 0, width - 1)
        take = jax.vmap(lambda plane: jax.scipy.ndimage.map_coordinates(plane, [rows, columns], order=1), -1, -1)
        return take(image)

    def grid(self, shape: Shape, bank_size: int) -> np.ndarray:
        stamps = [(strength, seed) for seed in range(40) for strength in (0.5, 1.0, 2.0)]
        return np.asarray(stamps, np.float32)

    def describe(self, parameters: np.ndarray, shape: Shape) -> str:
        return f"smooth warp of strength {float(parameters[0]):g}, field {int(parameters[1])}"
