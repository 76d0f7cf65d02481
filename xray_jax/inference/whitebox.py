"""Logits and input gradients, for detectors that may look inside: the same road as labels, batched and placed alike."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from xray_jax.classifier import Access, Classifier, Model, Network, Variables
from xray_jax.inference import on_devices, split
from xray_jax.inference.memory import retry_smaller_batch
from xray_jax.inference.options import InferenceOptions, ResolvedOptions
from xray_jax.inference.programs import Render, forward
from xray_jax.preprocess import Preprocess


class AccessError(ValueError):
    """A model was asked for more than it can give; the message names the model and what it gives."""


class GradientError(ValueError):
    """A model's input gradients are no finite numbers, so that nothing can be sought along them."""


Objective = Callable[..., jax.Array]
"""`objective(logits, *rows)` is what is to grow, `[B]`, from logits `[B, num_classes]` and what is each image's own; or
`[B, V]`, of which the first column is to grow and the others are only reported. Pure JAX; hashable, because equal
objectives share one program."""


def label_logits(
    model: Model, render: Render, context: Any, rows: tuple[np.ndarray, ...], options: InferenceOptions
) -> np.ndarray:
    """Float32 logits `[Q, num_classes]` of Q queries; arguments as for `labels.label_queries`.

    Raises:
      AccessError: the model gives labels only.
    """
    return on_devices.logits(_opened(model, Access.LOGITS), render, context, rows, options)


def input_gradients(
    model: Model,
    images: np.ndarray,
    objective: Objective,
    rows: tuple[np.ndarray, ...],
    options: InferenceOptions,
) -> tuple[np.ndarray, np.ndarray]:
    """Values of the objective and their gradients with respect to the pixels.

    A Python loop over one jitted step: inside `lax.scan` or `fori_loop` a gradient step of a convolutional network ran
    three to four times slower on CPU (measured).

    Args:
      model: made ready with `labels.to_device`.
      images: float32 `[Q, H, W, C]` in [0, 1]; the preprocessing is part of what is differentiated.
      objective: what is differentiated.
      rows: what the objective needs of each image, `[Q, ...]` each.
      options: how queries run.

    Returns:
      Float32 values `[Q]`, or `[Q, V]` as the objective has them, and gradients `[Q, H, W, C]`.

    Raises:
      AccessError: the model gives labels only.
      GradientError: a gradient is NaN or infinite, as that of a square root or a norm at 0; labels may be sound.
    """
    opened = _opened(model, Access.WEIGHTS)
    gradients = np.empty(images.shape, np.float32)

    def run(fitting: InferenceOptions) -> np.ndarray:
        resolved = _no_larger(fitting.resolve(opened.batch_size), len(images), opened.batch_size)
        step = _gradient_step(opened.network, opened.preprocess, objective, resolved, len(rows))
        devices, batch = len(resolved.devices), resolved.batch_size
        values = [np.empty(0, np.float32)] if not len(images) else []
        for start in range(0, len(images), devices * batch):
            part = slice(start, start + devices * batch)
            count = len(images[part])
            buffers = [_filled(array[part], devices, batch) for array in (np.asarray(images, np.float32), *rows)]
            placed = jax.device_put(buffers, resolved.sharding("devices"))
            found, slopes = jax.device_get(step(opened.variables, *placed))
            values.append(found.reshape(-1, *found.shape[2:])[:count])
            gradients[part] = slopes.reshape(-1, *images.shape[1:])[:count]
        return np.concatenate(values)

    values = retry_smaller_batch(opened, options, run, gradients=True)
    if not np.isfinite(gradients).all():
        raise GradientError(
            f"{opened.architecture}: input gradients are NaN or infinite, nothing can be sought along them; detectors "
            "that need labels only can judge it"
        )
    return values, gradients


def _no_larger(options: ResolvedOptions, images: int, fixed: int | None) -> ResolvedOptions:
    """Batches not much larger than `images` fill, because padding costs as much as images: a power of two, so that few
    programs are compiled. A fixed batch size stays.
    """
    needed = -(-images // len(options.devices))
    wanted = min(options.batch_size, 1 << max(0, needed - 1).bit_length())
    return options if fixed else dataclasses.replace(options, batch_size=wanted)


def _filled(array: np.ndarray, devices: int, batch: int) -> np.ndarray:
    whole = np.zeros((devices * batch, *array.shape[1:]), array.dtype)
    whole[: len(array)] = array
    return whole.reshape(devices, batch, *array.shape[1:])


@functools.lru_cache(maxsize=64)
def _gradient_step(
    network: Network, preprocess: Preprocess, objective: Objective, options: ResolvedOptions, rows: int
) -> Any:
    """(variables, images, *rows) -> values `[devices, batch, ...]` and gradients `[devices, batch, H, W, C]`."""

    def step(variables: Variables, images: jax.Array, *own: jax.Array) -> tuple[jax.Array, jax.Array]:
        def total(images: jax.Array) -> tuple[jax.Array, jax.Array]:
            logits = forward(network, variables, preprocess(images), options).astype(jnp.float32)
            values = objective(logits, *own)
            return jnp.sum(values if values.ndim == 1 else values[:, 0]), values

        slopes, values = jax.grad(total, has_aux=True)(images)
        return values, slopes

    return split.over_devices(step, (None, 0) + (0,) * rows, options.devices)


def _opened(model: Model, needed: Access) -> Classifier:
    if model.access < needed:
        have, what = model.access.name.lower(), "gradients need" if needed is Access.WEIGHTS else "this detector needs"
        raise AccessError(f"{model.architecture}: gives {have} only, {what} {needed.name.lower()}")
    assert isinstance(model, Classifier)
    return model
