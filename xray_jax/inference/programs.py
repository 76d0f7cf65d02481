"""The device programs: rows of queries in, labels or logits out.

One jitted program per (network, render, shapes, batch size, precision): variables are arguments. It takes a buffer of
fixed capacity and the number of batches to walk in it, so a full grid, one level of a refinement and a sketch of a few
hundred points are the same program and nothing recompiles.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from xray_jax.classifier import Network, Variables
from xray_jax.inference import split, winograd
from xray_jax.inference.options import ResolvedOptions
from xray_jax.inference.unanswered import MarkedNetwork, marked
from xray_jax.models import convolution

_MATMUL_PRECISION = {"float32": "highest", "tf32": "default", "bfloat16": "default"}


Render = Callable[..., jax.Array]
"""`render(context, *rows)` makes the images `[B, H, W, C]` of B queries in the network's input space. Pure JAX.

`context` is a pytree that all queries share (planes, clean images), whole on every device; `rows` are `[B, ...]` each,
what is the queries' own (coordinates, stamps, image numbers). A module-level function or a frozen dataclass: equal
renders share one compiled program, so it must be hashable.
"""


def label_dtype(num_classes: int) -> np.dtype:
    """The smallest of uint8, uint16 and int32 that holds labels 0 .. num_classes - 1."""
    return np.dtype(np.uint8 if num_classes <= 256 else np.uint16 if num_classes <= 65536 else np.int32)


def hard_labels(logits: jax.Array, dtype: np.dtype) -> jax.Array:
    """Argmax over the last axis. NaN logits never win, on any backend; all NaN gives label 0."""
    return jnp.argmax(jnp.where(jnp.isnan(logits), -jnp.inf, logits), axis=-1).astype(dtype)


def forward(network: Network, variables: Variables, images: jax.Array, options: ResolvedOptions) -> jax.Array:
    """Logits `[B, num_classes]`; to be called inside jit."""
    if isinstance(network, MarkedNetwork):
        # Around the network's own program: marked or not, its Python runs once.
        own = network_program(network.network, options.precision, options.fast_convolutions)
        return marked(own(variables, images))
    return network_program(network, options.precision, options.fast_convolutions)(variables, images)


@functools.lru_cache(maxsize=256)
def network_program(network: Network, precision: str, fast_convolutions: bool) -> Callable[..., jax.Array]:
    """Jitted, so that JAX keeps its trace: the Python of a network runs once for all programs that it is in."""

    def logits(variables: Variables, images: jax.Array) -> jax.Array:
        given = images.astype(jnp.bfloat16) if precision == "bfloat16" else images
        with (
            jax.default_matmul_precision(_MATMUL_PRECISION[precision]),
            winograd.convolutions(),
            convolution.faster(fast_convolutions),
        ):
            return network.apply(variables, given)

    return jax.jit(logits)


def in_batches(
    batches: jax.Array,
    batch_size: int,
    rows: tuple[jax.Array, ...],
    output: Callable[..., jax.Array],
    one: jax.ShapeDtypeStruct,
) -> jax.Array:
    """Walks the first `batches` batches of `rows`: the loop inside every program.

    The trip count is an argument of the program, so one trace serves any number of queries up to Q.

    Args:
      batches: int32 scalar, how many are walked.
      batch_size: rows of a batch.
      rows: `[Q, ...]` each.
      output: rows of a batch to `[batch_size, *one.shape]`; the only place where the network is traced.
      one: shape and type of what `output` makes of one row.

    Returns:
      `[Q, *one.shape]`, zeros after the last batch.
    """

    def batch_of(start: jax.Array) -> list[jax.Array]:
        return [jax.lax.dynamic_slice_in_dim(row, start, batch_size) for row in rows]

    def body(step: jax.Array, found: jax.Array) -> jax.Array:
        start = step * batch_size
        return jax.lax.dynamic_update_slice_in_dim(found, output(*batch_of(start)), start, 0)

    return jax.lax.fori_loop(0, batches, body, jnp.zeros((len(rows[0]), *one.shape), one.dtype))


@functools.lru_cache(maxsize=256)
def label_program(network: Network, render: Render, options: ResolvedOptions, dtype: np.dtype, rows: int) -> Any:
    """(variables, context, batches, *rows) -> labels `[devices, capacity]`.

    Cached, so that a network is traced once however many checkpoints use it.
    """

    def label(variables: Variables, context: Any, batches: jax.Array, *buffers: jax.Array) -> jax.Array:
        def output(*batch: jax.Array) -> jax.Array:
            logits = forward(network, variables, render(context, *batch), options)
            return hard_labels(logits, dtype)

        return in_batches(batches, options.batch_size, buffers, output, jax.ShapeDtypeStruct((), dtype))

    return split.over_devices(label, (None, None, None) + (0,) * rows, options.devices)


@functools.lru_cache(maxsize=64)
def logit_program(network: Network, render: Render, options: ResolvedOptions, num_classes: int, rows: int) -> Any:
    """(variables, context, batches, *rows) -> float32 logits `[devices, capacity, num_classes]`."""

    def logits(variables: Variables, context: Any, batches: jax.Array, *buffers: jax.Array) -> jax.Array:
        def output(*batch: jax.Array) -> jax.Array:
            return forward(network, variables, render(context, *batch), options).astype(jnp.float32)

        one = jax.ShapeDtypeStruct((num_classes,), jnp.float32)
        return in_batches(batches, options.batch_size, buffers, output, one)

    return split.over_devices(logits, (None, None, None) + (0,) * rows, options.devices)
