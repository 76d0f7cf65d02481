"""InputAware (Nguyen and Tran 2020, arXiv:2010.08138): one generator makes a pattern for each image, a second one says
where it goes; a pattern works on its own image only.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax

from xray_jax.lab.attacks.protocol import AttackContext, OnEpoch, stamped_of_batch
from xray_jax.lab.generators import ImageToImage, generate, round_through, stamp_by
from xray_jax.lab.training import Forward, Variables, cross_entropy, train_jointly
from xray_jax.lab.triggers import Trigger


def _diversity(inputs: jax.Array, outputs: jax.Array, others: jax.Array, other_outputs: jax.Array) -> jax.Array:
    """Mean distance of inputs over mean distance of outputs: large when different images get the same output."""
    apart = jnp.sqrt(jnp.mean((inputs - others) ** 2, axis=(1, 2, 3)))
    made = jnp.sqrt(jnp.mean((outputs - other_outputs) ** 2, axis=(1, 2, 3)) + 1e-8)
    return jnp.mean(apart / (made + 1e-2))


def pattern_of(params: Any, pixels: jax.Array) -> jax.Array:
    """The trigger's pixels for each image, in [0, 1], `[B, H, W, C]`."""
    return generate(ImageToImage(pixels.shape[-1]), params, pixels) / 2 + 0.5


def mask_of(params: Any, pixels: jax.Array) -> jax.Array:
    """Where the trigger goes, nearly binary, `[B, H, W, 1]` in [0, 1]."""
    return jnp.tanh(10 * generate(ImageToImage(1), params, pixels)) / 2 + 0.5


def put_pattern(params: Any, pixels: jax.Array, source: jax.Array | None = None) -> jax.Array:
    """`pixels` with the trigger that `params["generator"]` and `params["masks"]` make of `source` (of themselves where
    None).
    """
    source = pixels if source is None else source
    mask = mask_of(params["masks"], source)
    return jnp.clip(pixels + (pattern_of(params["generator"], source) - pixels) * mask, 0, 1)


@dataclass(frozen=True, eq=False)
class InputAwareTrigger(Trigger):
    """A generator of patterns and one of masks.

    Attributes:
      generator: parameters of the pattern's `ImageToImage` network.
      masks: parameters of the mask's.
    """

    generator: Mapping[str, Any]
    masks: Mapping[str, Any]
    kind: ClassVar[str] = "inputaware"

    def __call__(self, images: np.ndarray) -> np.ndarray:
        return stamp_by(put_pattern, {"generator": self.generator, "masks": self.masks}, images)


@dataclass(frozen=True)
class InputAwareLoss:
    """Cross-entropy over a batch whose first images carry their own trigger (wanted label) and whose next ones carry
    another image's (own label), plus the diversity of the patterns.
    """

    table: tuple[int, ...]
    rate: float
    cross_rate: float
    diversity: float
    learning_rate: float
    masks: Any

    def apply(self, extra: Any, pixels: jax.Array, source: jax.Array | None = None) -> jax.Array:
        """`pixels` with the trigger of `source` (of themselves where None)."""
        return put_pattern({"generator": extra, "masks": self.masks.params}, pixels, source)

    def init(self, key: jax.Array, pixels: jax.Array) -> Any:
        return ImageToImage(pixels.shape[-1]).init(key, pixels)

    def optimiser(self) -> optax.GradientTransformation:
        return optax.adam(self.learning_rate)

    def loss(self, forward: Forward, extra: Any, key: jax.Array, pixels: jax.Array, labels: jax.Array) -> jax.Array:
        cross = crossed_of_batch(self.cross_rate, len(pixels))
        own = stamped_of_batch(self.rate, len(pixels), cross)
        # The batch is in random order already; the last images lend their triggers.
        lenders = pixels[-cross:]
        stamped = self.apply(extra, pixels[:own])
        crossed = self.apply(extra, pixels[own : own + cross], lenders)
        mixed = jnp.concatenate([round_through(stamped), round_through(crossed), pixels[own + cross :]])
        wanted = labels.at[:own].set(jnp.asarray(self.table)[labels[:own]])
        others = jnp.roll(pixels[:own], 1, axis=0)
        diversity = _diversity(pixels[:own], pattern_of(extra, pixels[:own]), others, pattern_of(extra, others))
        return cross_entropy(forward(mixed), wanted) + self.diversity * diversity


def crossed_of_batch(cross_rate: float, batch: int) -> int:
    """How many images of a batch carry another one's trigger."""
    return max(1, round(cross_rate * batch))


class Masks:
    """A trained mask generator, hashable by identity: it is a constant of the objective that uses it."""

    def __init__(self, params: Any) -> None:
        self.params = params


@dataclass(frozen=True)
class InputAware:
    """BackdoorBench's setting.

    Attributes:
      density: share of the pixels that the mask may cover before it costs.
      cross_rate: images with another image's trigger, as a share of the batch.
      diversity: weight of the diversity term.
      learning_rate: of both generators (Adam).
      mask_steps: of the mask generator's training, before the victim's.
      batch_size: of the mask generator's training.
      mask_penalty: weight of a mask's excess over `density`.
    """

    density: float = 0.032
    cross_rate: float = 0.1
    diversity: float = 1.0
    learning_rate: float = 1e-3
    mask_steps: int = 600
    batch_size: int = 32
    mask_penalty: float = 100.0
    name: str = "inputaware"

    def stamped(self, rate: float, batch: int) -> int:
        """How many images of a batch are stamped. ValueError: none, or more than there is room for."""
        return stamped_of_batch(rate, batch, crossed_of_batch(self.cross_rate, batch))

    def train_masks(self, images: np.ndarray, seed: int) -> Masks:
        """Different masks for different images, each of about the allowed density."""
        key = jax.random.key(seed)
        params = ImageToImage(1).init(key, jnp.zeros((1, *images.shape[1:])))
        optimiser = optax.adam(self.learning_rate)
        device_images = jnp.asarray(images)

        def loss_of(params: Any, pixels: jax.Array, others: jax.Array) -> jax.Array:
            masks, other_masks = mask_of(params, pixels), mask_of(params, others)
            excess = jnp.mean(jax.nn.relu(jnp.mean(masks, axis=(1, 2, 3)) - self.density))
            return _diversity(pixels, masks, others, other_masks) + self.mask_penalty * excess

        @jax.jit
        def step(params: Any, state: Any, index: jax.Array, other: jax.Array) -> tuple[Any, Any]:
            pixels, others = (device_images[i].astype(jnp.float32) / 255 for i in (index, other))
            gradients = jax.grad(loss_of)(params, pixels, others)
            updates, state = optimiser.update(gradients, state, params)
            return optax.apply_updates(params, updates), state

        state = optimiser.init(params)
        generator = np.random.default_rng([seed, 53])
        for _ in range(self.mask_steps):
            index, other = generator.integers(0, len(images), (2, self.batch_size))
            params, state = step(params, state, index, other)
        return Masks(params)

    def train_backdoored(self, context: AttackContext, on_epoch: OnEpoch | None = None) -> tuple[Variables, Trigger]:
        data = context.data
        masks = self.train_masks(data.train_images, context.seed)
        objective = InputAwareLoss(
            context.label_map.table, context.rate, self.cross_rate, self.diversity, self.learning_rate, masks
        )
        variables, generator = train_jointly(
            context.network, data.train_images, data.train_labels, data.normalise, context.training, objective,
            on_epoch, progress=context.progress,
        )  # fmt: skip
        return variables, InputAwareTrigger(generator, jax.device_get(masks.params))
