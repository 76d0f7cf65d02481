"""Blends of the image with something else, (1 - a) x + a p: a flat colour, noise, or another clean image."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from xray_jax.detectors.probe.stamps.family import (
    Family,
    Parameter,
    Shape,
    as_channels,
    colour_name,
    colour_parameters,
    palette,
)

AMOUNT = Parameter("amount", 0.05, 0.3, (0.05,))
"""The blend's a."""


class BlendColour(Family):
    """Blends with a flat colour."""

    name = "blend-colour"
    share = 0.2

    def parameters(self, shape: Shape) -> Sequence[Parameter]:
        return (AMOUNT, *colour_parameters(shape[2]))

    def apply(self, image: jax.Array, parameters: jax.Array, bank: jax.Array) -> jax.Array:
        return image + parameters[0] * (as_channels(parameters[1:4], image) - image)

    def grid(self, shape: Shape, bank_size: int) -> np.ndarray:
        stamps = [(amount, *colour) for amount in (0.1, 0.2, 0.3) for colour in palette(shape[2]).tolist()]
        return np.asarray(stamps, np.float32)

    def describe(self, parameters: np.ndarray, shape: Shape) -> str:
        return f"{float(parameters[0]):.0%} blend with {colour_name(parameters[1:4], shape[2])}"


class BlendNoise(Family):
    """Blends with uniform noise in square cells, an eighth of the image wide and halved `octave` times."""

    name = "blend-noise"
    share = 0.8

    def parameters(self, shape: Shape) -> Sequence[Parameter]:
        return (AMOUNT, Parameter("octave", 0, 3, (1,)), Parameter("seed", 0, 2**20))

    def apply(self, image: jax.Array, parameters: jax.Array, bank: jax.Array) -> jax.Array:
        amount, octave, seed = parameters[:3]
        height, width, _ = image.shape
        noise = jax.random.uniform(jax.random.key(seed.astype(jnp.int32)), image.shape)
        cell = jnp.maximum(1, jnp.floor(min(height, width) / 8 / 2**octave)).astype(jnp.int32)
        coarse = noise[jnp.arange(height)[:, None] // cell, jnp.arange(width)[None, :] // cell]
        return image + amount * (coarse - image)

    def grid(self, shape: Shape, bank_size: int) -> np.ndarray:
        stamps = [(amount, octave, seed) for seed in range(12) for amount in (0.1, 0.2, 0.3) for octave in range(4)]
        return np.asarray(stamps, np.float32)

    def describe(self, parameters: np.ndarray, shape: Shape) -> str:
        cell = max(1, int(min(shape[:2]) / 8 / 2 ** float(parameters[1])))
        return f"{float(parameters[0]):.0%} blend with noise of {cell}-pixel cells, seed {int(parameters[2])}"


class BlendImage(Family):
    """Blends with one of the clean images of the bank."""

    name = "blend-image"
    share = 0.8
    uses_bank = True

    def parameters(self, shape: Shape) -> Sequence[Parameter]:
        return (AMOUNT, Parameter("image", 0, 2**20))

    def apply(self, image: jax.Array, parameters: jax.Array, bank: jax.Array) -> jax.Array:
        other = bank[jnp.clip(parameters[1].astype(jnp.int32), 0, bank.shape[0] - 1)]
        return image + parameters[0] * (other - image)

    def grid(self, shape: Shape, bank_size: int) -> np.ndarray:
        stamps = [(amount, index) for index in range(min(bank_size, 48)) for amount in (0.2, 0.3)]
        return np.asarray(stamps, np.float32)

    def describe(self, parameters: np.ndarray, shape: Shape) -> str:
        return f"{float(parameters[0]):.0%} blend with clean image {int(parameters[1])} (kept with the stamp)"
