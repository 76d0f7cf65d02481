"""Queries of a `BlackBox`: images are made on the device, and a callable on the host labels them batch by batch."""

import functools
from typing import Any

import jax
import numpy as np

from xray_jax.classifier import BlackBox
from xray_jax.inference.dispatch import grouped
from xray_jax.inference.options import InferenceOptions
from xray_jax.inference.programs import Render, label_dtype

BATCH_SIZE = 256
"""Images a call, unless the black box says otherwise."""


class LabelError(ValueError):
    """A model gave something that is not one valid label an image."""


def to_device(model: BlackBox, options: InferenceOptions) -> BlackBox:
    """The model as it is: its weights, if it has any, are its own business."""
    return model


@functools.lru_cache(maxsize=64)
def _jitted(render: Render) -> Any:
    return jax.jit(render)


def label(
    model: BlackBox,
    render: Render,
    context: Any,
    rows: tuple[np.ndarray, ...],
    options: InferenceOptions,
    group: np.ndarray | None,
) -> np.ndarray:
    """Labels `[Q]`. Arguments as for `labels.label_queries`; the callable sees one batch size only.

    Raises:
      LabelError: the callable returned no valid labels.
    """
    count, batch = len(rows[0]), model.batch_size or BATCH_SIZE
    order = grouped(np.zeros(count, int) if group is None else group, batch, 1)
    labels = np.zeros(count, label_dtype(model.num_classes))
    for start in range(0, len(order), batch):
        numbers = order[start : start + batch]
        images = _jitted(render)(context, *(row[np.where(numbers < 0, numbers[0], numbers)] for row in rows))
        found = call_label_fn(model, np.asarray(images))
        labels[numbers[numbers >= 0]] = found[numbers >= 0]
    return labels


def call_label_fn(model: BlackBox, images: np.ndarray) -> np.ndarray:
    """Calls the black box on `[B, H, W, C]` and checks what it returned: labels `[B]`.

    Raises:
      LabelError: not one integer in 0 .. num_classes - 1 for each image.
    """
    labels = np.asarray(model.label_fn(images))
    if labels.shape != images.shape[:1] or not np.issubdtype(labels.dtype, np.integer):
        raise LabelError(
            f"{model.architecture}: expected {len(images)} integer labels, got {labels.dtype} of shape {labels.shape}"
        )
    if len(labels) and not 0 <= labels.min() <= labels.max() < model.num_classes:
        raise LabelError(
            f"{model.architecture}: labels span {labels.min()} .. {labels.max()}, "
            f"expected 0 .. {model.num_classes - 1} (num_classes)"
        )
    return labels.astype(label_dtype(model.num_classes))
