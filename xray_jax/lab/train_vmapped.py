"""Several models of one recipe at once: the step of `training`, vmapped over models.

For accelerators that one small network leaves idle. On two CPU cores four small PreActResNets at once took 3.9 times as
long per model as one after the other: with weights of their own they become grouped convolutions.
"""

from collections.abc import Callable, Sequence
from functools import partial
from operator import itemgetter
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from xray_jax.lab.training import (
    STATIC,
    CrossEntropy,
    State,
    TrainOptions,
    Variables,
    epoch_batches,
    init_state,
    static_arguments,
    train_step,
)
from xray_jax.preprocess import Preprocess


@partial(jax.jit, static_argnames=(*STATIC, "shared"), donate_argnums=0)
def _steps(
    states: State, keys: jax.Array, images: jax.Array, labels: jax.Array, index: jax.Array,
    *, shared: bool, **static: Any,
) -> tuple[State, jax.Array]:  # fmt: skip
    data = None if shared else 0
    step = jax.vmap(lambda *each: train_step(*each, **static), in_axes=(0, 0, data, data, 0))
    return step(states, keys, images, labels, index)


def train_vmapped(
    network: nn.Module,
    images: Sequence[np.ndarray],
    labels: Sequence[np.ndarray],
    preprocess: Preprocess,
    options: Sequence[TrainOptions],
    on_epoch: Callable[[int, list[float], list[Variables]], None] | None = None,
) -> list[Variables]:
    """Trains K models from scratch on cross-entropy, each with its own seed and its own, perhaps poisoned, images.

    Args:
      network: as in `training.train`.
      images: K arrays uint8 `[M, H, W, C]`; the same array K times is held once.
      labels: K arrays `[M]`, likewise.
      preprocess: as in `training.train`.
      options: K, equal but for the seed.
      on_epoch: called with the number of epochs done, the K mean losses and the K models' variables.

    Returns:
      The K models' variables, on the host: what `training.train` gives one by one, but for rounding.

    Raises:
      ValueError: the options differ in more than their seeds, or the arrays in shape.
    """
    recipes = [
        static_arguments(network, len(each), preprocess, each_options, CrossEntropy())
        for each, each_options in zip(images, options, strict=True)
    ]
    if any(each != recipes[0] for each in recipes) or len({each.shape for each in images}) > 1:
        raise ValueError("models are trained together only where they differ in nothing but seed, images and labels")
    shape, optimiser = images[0].shape[1:], recipes[0]["optimiser"]
    first = [init_state(network, shape, optimiser, preprocess, each, CrossEntropy()) for each in options]
    states: State = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(state for state, _ in first))
    keys = jnp.stack([key for _, key in first])
    shared = all(each is images[0] for each in images) and all(each is labels[0] for each in labels)
    device_images = jnp.asarray(images[0] if shared else np.stack(images))
    device_labels = jnp.asarray(labels[0] if shared else np.stack(labels), jnp.int32)
    fold = jax.jit(jax.vmap(jax.random.fold_in, (0, None)))
    for epoch, order in enumerate(zip(*(epoch_batches(len(images[0]), each) for each in options), strict=True)):
        losses = []
        for step, index in enumerate(np.stack(order, 1), epoch * len(order[0])):
            states, loss = _steps(
                states, fold(keys, step), device_images, device_labels, jnp.asarray(index), shared=shared, **recipes[0]
            )
            losses.append(loss)
        if on_epoch is not None:
            on_epoch(epoch + 1, jnp.mean(jnp.stack(losses), 0).tolist(), _apart(states.variables, len(options)))
    return _apart(jax.device_get(states.variables), len(options))


def _apart(stacked: Variables, count: int) -> list[Variables]:
    return [jax.tree.map(itemgetter(k), stacked) for k in range(count)]
