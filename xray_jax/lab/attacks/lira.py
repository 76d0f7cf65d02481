"""LIRA (Doan et al. 2021, ICCV): a generator of tiny per-image noise is learned together with the victim; then the
victim is fine-tuned on images poisoned by the finished generator.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax

from xray_jax.lab.attacks.protocol import AttackContext, OnEpoch
from xray_jax.lab.generators import ImageToImage, generate, round_through, stamp_by
from xray_jax.lab.poisoning import poison
from xray_jax.lab.training import CrossEntropy, Forward, Variables, cross_entropy, forward_both, train_jointly
from xray_jax.lab.triggers import Trigger


def add_noise(params: Any, pixels: jax.Array) -> jax.Array:
    """Pixels in [0, 1] with the noise of `params["generator"]`, at most `params["bound"]` `[C]` of it."""
    noise = generate(ImageToImage(pixels.shape[-1]), params["generator"], pixels)
    return jnp.clip(pixels + params["bound"].reshape(1, 1, 1, -1) * noise, 0, 1)


@dataclass(frozen=True, eq=False)
class LiraTrigger(Trigger):
    """A generator of tiny noise for each image.

    Attributes:
      generator: parameters of the `ImageToImage` network.
      bound: float32 `[C]`, largest change per channel, on the [0, 1] scale.
    """

    generator: Mapping[str, Any]
    bound: np.ndarray
    kind: ClassVar[str] = "lira"

    def __call__(self, images: np.ndarray) -> np.ndarray:
        return stamp_by(add_noise, {"generator": self.generator, "bound": self.bound}, images)


@dataclass(frozen=True)
class LiraLoss:
    """`alpha` * CE(clean) + (1 - `alpha`) * CE(stamped, wanted); both networks descend on it.

    Attributes:
      table: of the label map.
      alpha: weight of the clean term.
      bound: largest change per channel, on the [0, 1] scale.
      learning_rate: of the generator.
    """

    table: tuple[int, ...]
    alpha: float
    bound: tuple[float, ...]
    learning_rate: float

    def apply(self, extra: Any, pixels: jax.Array) -> jax.Array:
        """Pixels in [0, 1] with the generator's noise."""
        return add_noise({"generator": extra, "bound": jnp.asarray(self.bound)}, pixels)

    def init(self, key: jax.Array, pixels: jax.Array) -> Any:
        return ImageToImage(pixels.shape[-1]).init(key, pixels)

    def optimiser(self) -> optax.GradientTransformation:
        return optax.adam(self.learning_rate)

    def loss(self, forward: Forward, extra: Any, key: jax.Array, pixels: jax.Array, labels: jax.Array) -> jax.Array:
        wanted = jnp.asarray(self.table)[labels]
        # Rounded, because images are stored as uint8: a finer noise would not survive.
        stamped = round_through(self.apply(extra, pixels))
        clean, triggered = forward_both(forward, pixels, stamped)
        return self.alpha * cross_entropy(clean, labels) + (1 - self.alpha) * cross_entropy(triggered, wanted)


@dataclass(frozen=True)
class Lira:
    """Two stages that share the training's epochs.

    In so few epochs the generator saturates: its noise is nearly the same on every image, a shift of colour by all of
    the bound. Where it also drew lines the victim learned it; a shift alone it confuses with colours.

    Attributes:
      epsilon: bound of the noise in the normalised input space. Published: 0.01, less than one grey level of 255,
        which uint8 images cannot hold; the default is 0.1, about six grey levels. With 0.05 a small network paid for
        six epochs of it with a quarter of its clean accuracy.
      alpha: weight of the clean term.
      learning_rate: of the generator (Adam).
      joint: share of the epochs spent on the first stage. The victim learns little else while the noise keeps
        changing and half of what it sees is stamped: with 0.7 of six epochs, and all images stamped in the second
        stage, it lost 13 points of clean accuracy. With 0.2 of twelve the joint loss was still over 0.7 nats in five of
        eight trials, and a victim left alone with that noise never learned it well. The second stage stamps the
        context's `rate`.
    """

    epsilon: float = 0.1
    alpha: float = 0.5
    learning_rate: float = 1e-3
    joint: float = 0.35
    name: str = "lira"

    def train_backdoored(self, context: AttackContext, on_epoch: OnEpoch | None = None) -> tuple[Variables, Trigger]:
        data, training = context.data, context.training
        std = data.normalise.std
        bound = tuple(self.epsilon * s for s in (std if len(std) > 1 else std * data.train_images.shape[-1]))
        first = max(1, round(self.joint * training.epochs))
        objective = LiraLoss(context.label_map.table, self.alpha, bound, self.learning_rate)
        variables, generator = train_jointly(
            context.network, data.train_images, data.train_labels, data.normalise,
            dataclasses.replace(training, epochs=first), objective, on_epoch, progress=context.progress.of("joint"),
        )  # fmt: skip
        trigger = LiraTrigger(generator, np.asarray(bound, np.float32))
        if training.epochs > first:
            poisoned = poison(
                data.train_images, data.train_labels, trigger, context.label_map, context.rate, context.seed
            )
            options = dataclasses.replace(training, epochs=training.epochs - first)
            variables, _ = train_jointly(
                context.network, poisoned.images, poisoned.labels, data.normalise, options, CrossEntropy(),
                _shifted(on_epoch, first), (variables, {}), context.progress.of("alone"),
            )  # fmt: skip
        return variables, trigger


def _shifted(on_epoch: OnEpoch | None, by: int) -> OnEpoch | None:
    if on_epoch is None:
        return None
    return lambda epoch, loss, variables: on_epoch(epoch + by, loss, variables)
