"""SSBA (Li et al. 2021, arXiv:2012.03816): a trained encoder hides a bit string in the image; its faint residual,
different for every image, is the trigger. The decoder is trained along and thrown away.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax

from xray_jax.lab.attacks.protocol import AttackContext, Recipe
from xray_jax.lab.generators import BitReader, ImageToImage, generate, round_through, stamp_by
from xray_jax.lab.triggers import Trigger


def encode(params: Any, pixels: jax.Array, bits: jax.Array, bound: float | jax.Array) -> jax.Array:
    """Pixels in [0, 1] `[B, H, W, C]` with `bits` `[B, n]` (0 or 1) hidden in them, changed by at most `bound`."""
    planes = jnp.broadcast_to(bits[:, None, None, :] * 2 - 1, (*pixels.shape[:3], bits.shape[1]))
    residual = generate(ImageToImage(pixels.shape[-1]), params, jnp.concatenate([pixels, planes], -1))
    return jnp.clip(pixels + bound * residual, 0, 1)


def _hide(params: Any, pixels: jax.Array) -> jax.Array:
    bits = jnp.broadcast_to(params["bits"], (len(pixels), len(params["bits"])))
    return encode(params["encoder"], pixels, bits, params["bound"])


@dataclass(frozen=True, eq=False)
class SsbaTrigger(Trigger):
    """An encoder that hides one bit string in every image.

    Attributes:
      encoder: parameters of the `ImageToImage` network.
      bits: float32 `[n]`, 0 or 1.
      bound: largest change of a pixel, on the [0, 1] scale.
    """

    encoder: Mapping[str, Any]
    bits: np.ndarray
    bound: float
    kind: ClassVar[str] = "ssba"

    def __call__(self, images: np.ndarray) -> np.ndarray:
        return stamp_by(_hide, {"encoder": self.encoder, "bits": self.bits, "bound": self.bound}, images)


@dataclass(frozen=True)
class Ssba:
    """A StegaStamp-like encoder of the size that small images need.

    Attributes:
      bits: length of the hidden string. The trigger hides one fixed string, drawn from the seed.
      bound: largest change of a pixel, on the [0, 1] scale.
      penalty: weight of the mean squared residual (in units of `bound`) against the bits' cross-entropy; it grows from
        0 in the second half of the training, because an encoder that is made faint at once never learns to hide.
      steps: of the encoder's training.
      batch_size: of the encoder's training.
      learning_rate: of the encoder's training, with Adam.
    """

    bits: int = 8
    bound: float = 0.1
    penalty: float = 5.0
    steps: int = 600
    batch_size: int = 32
    learning_rate: float = 2e-3
    name: str = "ssba"

    def train_encoder(self, images: np.ndarray, seed: int) -> tuple[Any, float]:
        """The encoder's and decoder's parameters, and the share of bits that the decoder reads right at the end."""
        keys = jax.random.split(jax.random.key(seed), 2)
        shape = images.shape[1:]
        decoder = BitReader(self.bits)
        params = {
            "encoder": ImageToImage(shape[-1]).init(keys[0], jnp.zeros((1, *shape[:2], shape[2] + self.bits))),
            "decoder": decoder.init(keys[1], jnp.zeros((1, *shape))),
        }
        optimiser = optax.adam(self.learning_rate)
        device_images = jnp.asarray(images)

        def loss_of(params: Any, pixels: jax.Array, bits: jax.Array, penalty: jax.Array) -> tuple[jax.Array, jax.Array]:
            hidden = encode(params["encoder"], pixels, bits, self.bound)
            read = generate(decoder, params["decoder"], round_through(hidden))
            residual = jnp.mean(((hidden - pixels) / self.bound) ** 2)
            loss = optax.sigmoid_binary_cross_entropy(read, bits).mean() + penalty * residual
            return loss, jnp.mean((read > 0) == (bits > 0.5))

        @jax.jit
        def step(
            params: Any, state: Any, index: jax.Array, bits: jax.Array, penalty: jax.Array
        ) -> tuple[Any, Any, jax.Array]:
            pixels = device_images[index].astype(jnp.float32) / 255
            (_, right), gradients = jax.value_and_grad(loss_of, has_aux=True)(params, pixels, bits, penalty)
            updates, state = optimiser.update(gradients, state, params)
            return optax.apply_updates(params, updates), state, right

        state = optimiser.init(params)
        generator = np.random.default_rng([seed, 41])
        shares = []
        for number in range(self.steps):
            penalty = self.penalty * max(0.0, 2 * number / self.steps - 1)
            index = generator.integers(0, len(images), self.batch_size)
            bits = generator.integers(0, 2, (self.batch_size, self.bits)).astype(np.float32)
            params, state, right = step(params, state, index, bits, penalty)
            shares.append(right)
        return params, float(jnp.mean(jnp.stack(shares[-50:])))

    def prepare(self, context: AttackContext) -> Recipe:
        params, _ = self.train_encoder(context.data.train_images, context.seed)
        secret = np.random.default_rng([context.seed, 43]).integers(0, 2, self.bits).astype(np.float32)
        return Recipe(SsbaTrigger(jax.device_get(params["encoder"]), secret, self.bound))
