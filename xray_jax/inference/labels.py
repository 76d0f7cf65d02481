"""Hard labels of queries: the one question that every model answers, on the device or on the host."""

import dataclasses
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import jax
import numpy as np

from xray_jax.classifier import BlackBox, Model
from xray_jax.inference import on_devices, on_host
from xray_jax.inference.options import InferenceOptions
from xray_jax.inference.programs import Render
from xray_jax.preprocess import Preprocess


def _kind(model: Model) -> ModuleType:
    """The one switch between the two kinds of model."""
    return on_host if isinstance(model, BlackBox) else on_devices


def to_device(model: Model, options: InferenceOptions) -> Model:
    """The model ready to be asked: a network's weights on the devices, in the options' precision."""
    placed: Model = _kind(model).to_device(model, options)
    return placed


def label_queries(
    model: Model,
    render: Render,
    context: Any,
    rows: tuple[np.ndarray, ...],
    options: InferenceOptions,
    group: np.ndarray | None = None,
) -> np.ndarray:
    """Hard labels of Q queries.

    Args:
      model: made ready with `to_device`.
      render: makes a batch's images, in the model's input space.
      context: what all queries share, a pytree of arrays.
      rows: what is each query's own, `[Q, ...]` each.
      options: how queries run.
      group: integers `[Q]`; a batch holds queries of one group only. None: all are of one.

    Returns:
      Labels `[Q]`, of the smallest integer type that holds the model's classes.

    Raises:
      LabelError: a black box returned no valid labels.
    """
    found: np.ndarray = _kind(model).label(model, render, context, rows, options, group)
    return found


@dataclass(frozen=True)
class PreprocessedImages:
    """The render of plain images: queries are images in [0, 1].

    Attributes:
      preprocess: pixel values to the network's input space.
    """

    preprocess: Preprocess

    def __call__(self, context: Any, /, *rows: jax.Array) -> jax.Array:
        (images,) = rows
        return self.preprocess(images)


def label_images(model: Model, images: np.ndarray, options: InferenceOptions | None = None) -> np.ndarray:
    """Hard labels of images: float32 `[M, H, W, C]` in [0, 1] to labels `[M]`.

    Raises:
      LabelError: a black box returned no valid labels.
    """
    # One batch a device is enough room: images are heavier than coordinates.
    options = dataclasses.replace(options or InferenceOptions(), capacity=1)
    render = PreprocessedImages(model.preprocess)
    return label_queries(model, render, (), (np.asarray(images, np.float32),), options)


def bare(model: Model) -> Model:
    """The model without its preprocessing: images are given in its own input space."""
    return dataclasses.replace(model, preprocess=Preprocess())
