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

from xray_jax.lab.training import STATIC, CrossEntropy, State, TrainOptions, Variables, begin, descend, orders, recipe
from xray_jax.preprocess import Preprocess


@partial(jax.jit, static_argnames=(*STATIC, "shared"), donate_argnums=0)
def _steps(
    states: State, keys: jax.Array, images: jax.Array, labels: jax.Array, index: jax.Array,
    *, shared: bool, **static: Any,
) -> tuple[State, jax.Array]:  # fmt: skip
    data = None if shared else 0
    step = jax.vmap(lambda *each: descend(*each, **static), in_axes=(0, 0, data, data, 0))
    return step(states, keys, images, labels, index)


def train_together(
    network: nn.Module,
    images: Sequence[np.ndarray],
    labels: Sequence[np.ndarray],
    preprocess: Preprocess,
    settings: Sequence[TrainOptions],
    on_epoch: Callable[[int, list[float], list[Variables]], None] | None = None,
) -> list[Variables]:
    """Trains K models from scratch on cross-entropy, each with its own seed and its own, perhaps poisoned, images.

    Args:
      network: as in `training.train`.
      images: K arrays uint8 `[M, H, W, C]`; the same array K times is held once. labels: K arrays `[M]`, likewise.
      preprocess: as in `training.train`.
      settings: K, equal but for the seed.
      on_epoch: called with the number of epochs done, the K mean losses and the K models' variables.

    Returns:
      The K models' variables, on the host: what `training.train` gives one by one, but for rounding.

    Raises:
      ValueError: the settings differ in more than their seeds, or the arrays in shape.
    """
    recipes = [
        recipe(network, len(each), preprocess, s, CrossEntropy()) for each, s in zip(images, settings, strict=True)
    ]
    if any(each != recipes[0] for each in recipes) or len({each.shape for each in images}) > 1:
        raise ValueError("models are trained together only where they differ in nothing but seed, images and labels")
    shape, optimiser = images[0].shape[1:], recipes[0]["optimiser"]
    begun = [begin(network, shape, optimiser, preprocess, s, CrossEntropy()) for s in settings]
    states: State = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(state for state, _ in begun))
    keys = jnp.stack([key for _, key in begun])
    shared = all(each is images[0] for each in images) and all(each is labels[0] for each in labels)
    device_images = jnp.asarray(images[0] if shared else np.stack(images))
    device_labels = jnp.asarray(labels[0] if shared else np.stack(labels), jnp.int32)
    fold = jax.jit(jax.vmap(jax.random.fold_in, (0, None)))
    for epoch, order in enumerate(zip(*(orders(len(images[0]), s) for s in settings), strict=True)):
        losses = []
        for step, index in enumerate(np.stack(order, 1), epoch * len(order[0])):
            states, loss = _steps(
                states, fold(keys, step), device_images, device_labels, jnp.asarray(index), shared=shared, **recipes[0]
            )
            losses.append(loss)
        if on_epoch is not None:
            on_epoch(epoch + 1, jnp.mean(jnp.stack(losses), 0).tolist(), _apart(states.variables, len(settings)))
    return _apart(jax.device_get(states.variables), len(settings))


def _apart(stacked: Variables, count: int) -> list[Variables]:
    return [jax.tree.map(itemgetter(k), stacked) for k in range(count)]
