"""Queries of a `Classifier`: its network runs on the local devices, split over them."""

import dataclasses
import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from xray_jax.classifier import Classifier
from xray_jax.inference import programs, winograd
from xray_jax.inference.dispatch import Pending, dispatch, grouped
from xray_jax.inference.memory import retry_smaller_batch
from xray_jax.inference.options import InferenceOptions
from xray_jax.inference.programs import Render


def to_device(model: Classifier, options: InferenceOptions) -> Classifier:
    """The model with its weights on the devices, in the options' precision: once per checkpoint."""
    resolved = options.resolve(model.batch_size)
    if resolved.fast_convolutions and isinstance(model.network, nn.Module):
        variables = winograd.with_kernels(model.variables)
    else:
        variables = winograd.without_kernels(model.variables)
    if resolved.precision == "bfloat16":

        def cast(leaf: Any) -> Any:
            return leaf.astype(jnp.bfloat16) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

        variables = jax.tree.map(cast, variables)
    return dataclasses.replace(model, variables=jax.device_put(variables, resolved.sharding()))


def submit(
    model: Classifier, render: Render, context: Any, rows: tuple[np.ndarray, ...], options: InferenceOptions
) -> Pending:
    """Starts labelling and returns at once. Arguments as for `labels.label_queries`."""
    dtype = programs.label_dtype(model.num_classes)
    resolved = options.resolve(model.batch_size)
    build = functools.partial(programs.label_program, model.network, render, resolved, dtype, len(rows))
    head = (model.variables, jax.device_put(context, resolved.sharding()))
    return dispatch(build, head, rows, resolved, np.zeros(0, dtype))


def label(
    model: Classifier,
    render: Render,
    context: Any,
    rows: tuple[np.ndarray, ...],
    options: InferenceOptions,
    group: np.ndarray | None,
) -> np.ndarray:
    """Labels `[Q]`. Arguments as for `labels.label_queries`."""

    def run(fitting: InferenceOptions) -> np.ndarray:
        if group is None:
            return submit(model, render, context, rows, fitting).result()
        resolved = fitting.resolve(model.batch_size)
        order = grouped(group, resolved.batch_size, len(resolved.devices))
        # Filling repeats query 0: a batch reads its group from its first row, and filling is never first among real
        # rows.
        filled = tuple(row[np.maximum(order, 0)] for row in rows)
        found = submit(model, render, context, filled, fitting).result()
        labels = np.empty(len(group), found.dtype)
        labels[order[order >= 0]] = found[order >= 0]
        return labels

    return retry_smaller_batch(model, options, run)


def logits(
    model: Classifier, render: Render, context: Any, rows: tuple[np.ndarray, ...], options: InferenceOptions
) -> np.ndarray:
    """Float32 logits `[Q, num_classes]`. Arguments as for `labels.label_queries`."""

    def run(fitting: InferenceOptions) -> np.ndarray:
        resolved = fitting.resolve(model.batch_size)
        classes = model.num_classes
        build = functools.partial(programs.logit_program, model.network, render, resolved, classes, len(rows))
        head = (model.variables, jax.device_put(context, resolved.sharding()))
        return dispatch(build, head, rows, resolved, np.zeros((0, model.num_classes), np.float32)).result()

    return retry_smaller_batch(model, options, run)
