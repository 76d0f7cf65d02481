"""The hot path: hard labels of points on planes, and of images.

One jitted program per (network, shapes, batch size, precision): variables are arguments. It takes a buffer of fixed
capacity and the number of batches to walk in it, so a full grid, one level of a refinement and a sketch of a few
hundred points are the same program and nothing recompiles. Queries are split over the local devices with pmap; points
are made on the device from the planes. Nothing but planes and coordinates goes in, nothing but labels comes out.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from xray_jax import planes as planes_lib
from xray_jax.classifier import BlackBox, Classifier, Model, Network, Variables

PRECISIONS = ("float32", "tf32", "bfloat16")
_MATMUL_PRECISION = {"float32": "highest", "tf32": "default", "bfloat16": "default"}


@dataclass(frozen=True)
class Engine:
    """How queries run; changes speed, not meaning.

    Attributes:
      batch_size: images a device evaluates at once; None picks one for the backend.
      capacity: queries a device holds in one call; the buffer's size, rounded up to whole batches.
      precision: "float32", "tf32" (GPU tensor cores on float32 data) or "bfloat16".
      devices: local devices to use; None means all of them.
    """

    batch_size: int | None = None
    capacity: int = 32768
    precision: str = "float32"
    devices: tuple[jax.Device, ...] | None = None

    def __post_init__(self) -> None:
        if self.batch_size is not None and self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {self.batch_size}")
        if self.capacity < 1:
            raise ValueError(f"capacity must be at least 1, got {self.capacity}")
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {PRECISIONS}, got {self.precision!r}")

    def resolve(self, fixed: int | None = None) -> "Engine":
        """The same engine with batch size, capacity and devices spelled out; `fixed` overrides the batch size."""
        devices = self.devices or tuple(jax.local_devices())
        # CPU caches like small batches (measured: docs/benchmarks.md); accelerators like large ones.
        batch = fixed or self.batch_size or (32 if devices[0].platform == "cpu" else 1024)
        return Engine(batch, -(-self.capacity // batch) * batch, self.precision, devices)


def label_dtype(num_classes: int) -> np.dtype:
    """The smallest of uint8, uint16 and int32 that holds labels 0 .. num_classes - 1."""
    return np.dtype(np.uint8 if num_classes <= 256 else np.uint16 if num_classes <= 65536 else np.int32)


@functools.lru_cache(maxsize=256)
def _program(network: Network, engine: Engine, dtype: np.dtype) -> Any:
    """The pmapped primitive. Cached here, so that one network is traced once however many checkpoints use it."""
    batch = engine.batch_size
    assert batch is not None

    def label_points(
        variables: Variables, planes: planes_lib.Planes, batches: jax.Array, index: jax.Array, coordinates: jax.Array
    ) -> jax.Array:
        def body(step: jax.Array, labels: jax.Array) -> jax.Array:
            start = step * batch
            images = planes_lib.points(
                planes,
                jax.lax.dynamic_slice_in_dim(index, start, batch),
                jax.lax.dynamic_slice_in_dim(coordinates, start, batch),
            )
            with jax.default_matmul_precision(_MATMUL_PRECISION[engine.precision]):
                if engine.precision == "bfloat16":
                    images = images.astype(jnp.bfloat16)
                logits = network.apply(variables, images)
            return jax.lax.dynamic_update_slice_in_dim(labels, hard_labels(logits, dtype), start, 0)

        return jax.lax.fori_loop(0, batches, body, jnp.zeros(index.shape, dtype))

    return jax.pmap(label_points, in_axes=(None, None, None, 0, 0), devices=engine.devices)


def hard_labels(logits: jax.Array, dtype: np.dtype) -> jax.Array:
    """Argmax over the last axis. A row with a NaN gives label 0 on every backend, as an all-equal row does."""
    return jnp.argmax(jnp.where(jnp.isnan(logits), -jnp.inf, logits), axis=-1).astype(dtype)
