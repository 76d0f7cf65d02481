"""Trains one classifier with Flax and Optax: data stay on the device as uint8, augmentation runs inside the step.

SGD with Nesterov momentum on a one-cycle schedule, cross-entropy, random crop where asked for and, where the data set
allows it, horizontal flip: BackdoorBench's recipe with a schedule short enough for two CPU cores. The defaults are
for small networks and few epochs, which underfit: there the random crop costs more accuracy than it brings.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from xray_jax.preprocess import Preprocess

Variables = Mapping[str, Any]


@dataclass(frozen=True)
class TrainSettings:
    """How to train.

    Attributes:
      epochs: passes over the training images.
      batch_size: images a step.
      peak_learning_rate: top of the one-cycle schedule.
      weight_decay: L2 penalty on all parameters.
      crop_padding: pixels of zero padding before the random crop; 0 turns the crop off.
      flip: random horizontal flips (off for digits and traffic signs).
      seed: initialisation, order of the images, augmentation.
    """

    epochs: int = 6
    batch_size: int = 64
    peak_learning_rate: float = 0.2
    weight_decay: float = 5e-4
    crop_padding: int = 0
    flip: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1:
            raise ValueError(f"epochs and batch_size must be at least 1, got {self.epochs} and {self.batch_size}")


def augment(key: jax.Array, images: jax.Array, *, padding: int, flip: bool) -> jax.Array:
    """Random crop after zero padding, then a random horizontal flip, per image. `[B, H, W, C]` in and out."""
    batch, height, width, channels = images.shape
    key_crop, key_flip = jax.random.split(key)
    if padding:
        padded = jnp.pad(images, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
        corners = jax.random.randint(key_crop, (batch, 2), 0, 2 * padding + 1)

        def crop(image: jax.Array, corner: jax.Array) -> jax.Array:
            return jax.lax.dynamic_slice(image, (corner[0], corner[1], 0), (height, width, channels))

        images = jax.vmap(crop)(padded, corners)
    if flip:
        mirrored = jax.random.bernoulli(key_flip, shape=(batch, 1, 1, 1))
        images = jnp.where(mirrored, images[:, :, ::-1], images)
    return images


@partial(jax.jit, static_argnames=("network", "optimiser", "preprocess", "settings"), donate_argnums=(0, 1))
def _step(
    variables: Variables,
    optimiser_state: Any,
    key: jax.Array,
    images: jax.Array,
    labels: jax.Array,
    index: jax.Array,
    *,
    network: nn.Module,
    optimiser: optax.GradientTransformation,
    preprocess: Preprocess,
    settings: TrainSettings,
) -> tuple[Variables, Any, jax.Array]:
    batch = augment(key, images[index], padding=settings.crop_padding, flip=settings.flip)
    inputs = preprocess(batch.astype(jnp.float32) / 255)

    def loss_of(params: Any) -> tuple[jax.Array, Any]:
        rest = {name: value for name, value in variables.items() if name != "params"}
        logits, updated = network.apply({"params": params, **rest}, inputs, train=True, mutable=list(rest))
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels[index]).mean(), updated

    (loss, updated), gradients = jax.value_and_grad(loss_of, has_aux=True)(variables["params"])
    updates, optimiser_state = optimiser.update(gradients, optimiser_state, variables["params"])
    params = optax.apply_updates(variables["params"], updates)
    return {"params": params, **updated}, optimiser_state, loss


def train(
    network: nn.Module,
    images: np.ndarray,
    labels: np.ndarray,
    preprocess: Preprocess,
    settings: TrainSettings,
    on_epoch: Callable[[int, float, Variables], None] | None = None,
) -> Variables:
    """Trains `network` from scratch.

    Args:
      network: linen module called as `apply(variables, inputs, train=...)`.
      images: uint8 `[M, H, W, C]`, poisoned or not. labels: integers `[M]`.
      preprocess: pixel values in [0, 1] to the network's input space.
      settings: schedule, augmentation and seed.
      on_epoch: called with the number of epochs done, the mean loss of the epoch and the variables.

    Returns:
      The trained variables, on the host.
    """
    steps = len(images) // settings.batch_size
    schedule = optax.cosine_onecycle_schedule(settings.epochs * steps, settings.peak_learning_rate, pct_start=0.25)
    optimiser = optax.chain(
        optax.add_decayed_weights(settings.weight_decay), optax.sgd(schedule, momentum=0.9, nesterov=True)
    )
    key, key_init = jax.random.split(jax.random.key(settings.seed))
    example = preprocess(jnp.zeros((1, *images.shape[1:]), jnp.float32))
    variables: Variables = jax.jit(network.init)(key_init, example)
    state = optimiser.init(variables["params"])
    device_images, device_labels = jnp.asarray(images), jnp.asarray(labels, jnp.int32)
    order = np.random.default_rng(settings.seed)
    for epoch in range(settings.epochs):
        shuffled = order.permutation(len(images))[: steps * settings.batch_size].reshape(steps, -1)
        losses = []
        for step, index in enumerate(shuffled):
            step_key = jax.random.fold_in(key, epoch * steps + step)
            variables, state, loss = _step(
                variables, state, step_key, device_images, device_labels, jnp.asarray(index),
                network=network, optimiser=optimiser, preprocess=preprocess, settings=settings,
            )  # fmt: skip
            losses.append(loss)
        if on_epoch is not None:
            on_epoch(epoch + 1, float(jnp.mean(jnp.stack(losses))), variables)
    return jax.device_get(variables)
