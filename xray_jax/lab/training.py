"""Trains one classifier with Flax and Optax: data stay on the device as uint8, augmentation runs inside the step.

SGD with Nesterov momentum on a one-cycle schedule, cross-entropy, random crop where asked for and, where the data set
allows it, horizontal flip: BackdoorBench's recipe with a schedule short enough for two CPU cores. The defaults are
for small networks and few epochs, which underfit: there the random crop costs more accuracy than it brings.
"""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from xray_jax.preprocess import Preprocess

Variables = Mapping[str, Any]
Forward = Callable[[jax.Array], jax.Array]
PRECISIONS = ("float32", "bfloat16")


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
      precision: of the forward and backward pass; weights, optimiser and batch statistics stay float32. bfloat16 is
        for accelerators: on CPU it brings nothing.
    """

    epochs: int = 6
    batch_size: int = 64
    peak_learning_rate: float = 0.2
    weight_decay: float = 5e-4
    crop_padding: int = 0
    flip: bool = True
    seed: int = 0
    precision: str = "float32"

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1:
            raise ValueError(f"epochs and batch_size must be at least 1, got {self.epochs} and {self.batch_size}")
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {PRECISIONS}, got {self.precision!r}")


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


class Objective(Hashable, Protocol):
    """What one step minimises, where that is more than cross-entropy; hashable, its methods pure.

    `extra` are further parameters that are trained along (a trigger generator, say), or an empty tree.
    """

    def init(self, key: jax.Array, pixels: jax.Array) -> Any:
        """The first `extra` for images like `pixels` `[1, H, W, C]`."""
        ...

    def optimiser(self) -> optax.GradientTransformation:
        """For `extra`; the network's own optimiser is the usual one."""
        ...

    def loss(self, forward: Forward, extra: Any, key: jax.Array, pixels: jax.Array, labels: jax.Array) -> jax.Array:
        """Scalar. `pixels` float32 `[B, H, W, C]` in [0, 1]; `forward(pixels)` are the network's logits in training
        mode and may be called several times, each updating the batch statistics.
        """
        ...


@dataclass(frozen=True)
class CrossEntropy:
    """Plain training."""

    def init(self, key: jax.Array, pixels: jax.Array) -> Any:
        return {}

    def optimiser(self) -> optax.GradientTransformation:
        return optax.set_to_zero()

    def loss(self, forward: Forward, extra: Any, key: jax.Array, pixels: jax.Array, labels: jax.Array) -> jax.Array:
        return cross_entropy(forward(pixels), labels)


def forward_both(forward: Forward, clean: jax.Array, stamped: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Logits of clean and of stamped pixels from one pass. Two passes would each be normalised by their own batch
    statistics: the network could tell the two apart by these alone, and fail with the running ones.
    """
    logits = forward(jnp.concatenate([clean, stamped]))
    return logits[: len(clean)], logits[len(clean) :]


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Mean over the batch, in nats."""
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


@lru_cache(maxsize=16)
def _optimiser(settings: TrainSettings, steps: int, objective: Objective) -> optax.GradientTransformation:
    """For the network and what the objective trains along, over `steps` steps. Cached: one schedule, one program."""
    schedule = optax.cosine_onecycle_schedule(steps, settings.peak_learning_rate, pct_start=0.25)
    victim = optax.chain(
        optax.add_decayed_weights(settings.weight_decay), optax.sgd(schedule, momentum=0.9, nesterov=True)
    )
    transforms = {"network": victim, "extra": objective.optimiser()}
    return optax.multi_transform(transforms, {"network": "network", "extra": "extra"})


@partial(
    jax.jit,
    static_argnames=("network", "optimiser", "preprocess", "settings", "objective"),
    donate_argnums=(0, 1, 2),
)
def _step(
    params: dict[str, Any],
    collections: Variables,
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
    objective: Objective,
) -> tuple[dict[str, Any], Variables, Any, jax.Array]:
    key_augment, key_loss = jax.random.split(key)
    batch = augment(key_augment, images[index], padding=settings.crop_padding, flip=settings.flip)

    def loss_of(params: dict[str, Any]) -> tuple[jax.Array, Variables]:
        latest = [collections]

        def forward(pixels: jax.Array) -> jax.Array:
            weights, inputs = jax.tree.map(
                lambda x: x.astype(settings.precision), (params["network"], preprocess(pixels))
            )
            variables = {"params": weights, **latest[0]}
            logits, latest[0] = network.apply(variables, inputs, train=True, mutable=list(collections))
            return logits.astype(jnp.float32)

        loss = objective.loss(forward, params["extra"], key_loss, batch.astype(jnp.float32) / 255, labels[index])
        return loss, latest[0]

    (loss, collections), gradients = jax.value_and_grad(loss_of, has_aux=True)(params)
    updates, optimiser_state = optimiser.update(gradients, optimiser_state, params)
    return optax.apply_updates(params, updates), collections, optimiser_state, loss


@partial(jax.jit, static_argnames="network")
def _first(key: jax.Array, inputs: jax.Array, *, network: nn.Module) -> Variables:
    """Fresh variables. Compiling this takes longer than compiling the step, so it is done once a network."""
    return network.init(key, inputs)


def train(
    network: nn.Module,
    images: np.ndarray,
    labels: np.ndarray,
    preprocess: Preprocess,
    settings: TrainSettings,
    on_epoch: Callable[[int, float, Variables], None] | None = None,
) -> Variables:
    """Trains `network` from scratch on cross-entropy: `train_jointly` without anything else to train."""
    return train_jointly(network, images, labels, preprocess, settings, CrossEntropy(), on_epoch)[0]


def train_jointly(
    network: nn.Module,
    images: np.ndarray,
    labels: np.ndarray,
    preprocess: Preprocess,
    settings: TrainSettings,
    objective: Objective,
    on_epoch: Callable[[int, float, Variables], None] | None = None,
    start: tuple[Variables, Any] | None = None,
) -> tuple[Variables, Any]:
    """Trains `network`, and what `objective` adds to it.

    Args:
      network: linen module called as `apply(variables, inputs, train=...)`.
      images: uint8 `[M, H, W, C]`, poisoned or not. labels: integers `[M]`.
      preprocess: pixel values in [0, 1] to the network's input space.
      settings: schedule, augmentation and seed.
      objective: the loss and its own parameters.
      on_epoch: called with the number of epochs done, the mean loss of the epoch and the variables.
      start: (variables, extra) to go on from; None draws them.

    Returns:
      The trained variables and `extra`, on the host.
    """
    steps = len(images) // settings.batch_size
    if not steps:
        raise ValueError(f"{len(images)} training images do not fill one batch of {settings.batch_size}")
    # Without the seed: models that differ in nothing else share one compiled step.
    recipe = replace(settings, seed=0)
    optimiser = _optimiser(recipe, settings.epochs * steps, objective)
    key, key_init, key_extra = jax.random.split(jax.random.key(settings.seed), 3)
    example = jnp.zeros((1, *images.shape[1:]), jnp.float32)
    if start is None:
        start = _first(key_init, preprocess(example), network=network), objective.init(key_extra, example)
    variables, extra = jax.tree.map(jnp.array, start)
    params = {"network": variables["params"], "extra": extra}
    collections: Variables = {name: value for name, value in variables.items() if name != "params"}
    state = optimiser.init(params)
    device_images, device_labels = jnp.asarray(images), jnp.asarray(labels, jnp.int32)
    order = np.random.default_rng(settings.seed)
    for epoch in range(settings.epochs):
        shuffled = order.permutation(len(images))[: steps * settings.batch_size].reshape(steps, -1)
        losses = []
        for step, index in enumerate(shuffled):
            params, collections, state, loss = _step(
                params, collections, state, jax.random.fold_in(key, epoch * steps + step), device_images,
                device_labels, jnp.asarray(index), network=network, optimiser=optimiser, preprocess=preprocess,
                settings=recipe, objective=objective,
            )  # fmt: skip
            losses.append(loss)
        if on_epoch is not None:
            mean = float(jnp.mean(jnp.stack(losses)))
            on_epoch(epoch + 1, mean, {"params": params["network"], **collections})
    trained = {"params": params["network"], **collections}, params["extra"]
    return jax.device_get(trained)
