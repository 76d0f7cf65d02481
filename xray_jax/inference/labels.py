"""The hot path: hard labels of points on planes, and of images.

One jitted program per (network, shapes, batch size, precision): variables are arguments. It takes a buffer of fixed
capacity and the number of batches to walk in it, so a full grid, one level of a refinement and a sketch of a few
hundred points are the same program and nothing recompiles. Queries are split over the local devices with pmap; points
are made on the device from the planes. Nothing but planes and coordinates goes in, nothing but labels comes out.
"""

import dataclasses
import functools
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from xray_jax.classifier import BlackBox, Model, Network, Variables
from xray_jax.detectors.planes import geometry as planes_lib
from xray_jax.inference import winograd

PRECISIONS = ("float32", "tf32", "bfloat16")
_MATMUL_PRECISION = {"float32": "highest", "tf32": "default", "bfloat16": "default"}


# Held while a program is built or called: two threads that call it for the first time would both trace it. Calls only
# dispatch, so nobody waits for another's results.
_dispatching = threading.RLock()


class LabelError(ValueError):
    """A model gave something that is not one valid label an image."""


@dataclass(frozen=True)
class InferenceOptions:
    """How queries run; changes speed, not meaning.

    Attributes:
      batch_size: images a device evaluates at once; None picks one for the backend.
      capacity: queries a device holds in one call; the buffer's size, rounded up to whole batches.
      precision: "float32", "tf32" (GPU tensor cores on float32 data) or "bfloat16".
      devices: local devices to use; None means all of them.
      winograd: 3x3 convolutions of linen networks by `winograd` where they run on CPU, in float32.
    """

    batch_size: int | None = None
    capacity: int = 16384
    precision: str = "float32"
    devices: tuple[jax.Device, ...] | None = None
    winograd: bool = True

    def __post_init__(self) -> None:
        if self.batch_size is not None and self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {self.batch_size}")
        if self.capacity < 1:
            raise ValueError(f"capacity must be at least 1, got {self.capacity}")
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {PRECISIONS}, got {self.precision!r}")

    def resolve(self, fixed_batch: int | None = None) -> "ResolvedOptions":
        """Batch size, capacity and devices spelled out; `fixed_batch` (a model's own) overrides the batch size."""
        devices = self.devices or tuple(jax.local_devices())
        # CPU caches like small batches, accelerators large ones (measured: docs/benchmarks.md).
        batch = fixed_batch or self.batch_size or (32 if devices[0].platform == "cpu" else 1024)
        return ResolvedOptions(batch, -(-self.capacity // batch) * batch, self.precision, devices)


@dataclass(frozen=True)
class ResolvedOptions:
    """An `InferenceOptions` with every choice made."""

    batch_size: int
    capacity: int
    precision: str
    devices: tuple[jax.Device, ...]

    def sharding(self, *axes: str) -> NamedSharding:
        """Replicated without axes; with "devices" the leading axis is split over the devices."""
        return NamedSharding(Mesh(np.asarray(self.devices), ("devices",)), PartitionSpec(*axes))


def label_dtype(num_classes: int) -> np.dtype:
    """The smallest of uint8, uint16 and int32 that holds labels 0 .. num_classes - 1."""
    return np.dtype(np.uint8 if num_classes <= 256 else np.uint16 if num_classes <= 65536 else np.int32)


def hard_labels(logits: jax.Array, dtype: np.dtype) -> jax.Array:
    """Argmax over the last axis. NaN logits never win, on any backend; all NaN gives label 0."""
    return jnp.argmax(jnp.where(jnp.isnan(logits), -jnp.inf, logits), axis=-1).astype(dtype)


def forward(network: Network, variables: Variables, images: jax.Array, precision: str) -> jax.Array:
    """Logits at one of `PRECISIONS`; to be called inside jit."""
    with jax.default_matmul_precision(_MATMUL_PRECISION[precision]), winograd.convolutions():
        return network.apply(variables, images.astype(jnp.bfloat16) if precision == "bfloat16" else images)


def in_batches(batches: jax.Array, batch_size: int, inputs: Any, labels_of: Any, dtype: np.dtype) -> jax.Array:
    """Walks the first `batches` batches of `inputs`, a pytree of `[Q, ...]`; the loop inside every label program.

    The trip count is an argument of the program, so one trace serves any number of queries up to Q.
    """

    def body(step: jax.Array, labels: jax.Array) -> jax.Array:
        start = step * batch_size
        batch = jax.tree.map(lambda x: jax.lax.dynamic_slice_in_dim(x, start, batch_size), inputs)
        return jax.lax.dynamic_update_slice_in_dim(labels, labels_of(*batch), start, 0)

    return jax.lax.fori_loop(0, batches, body, jnp.zeros(jax.tree.leaves(inputs)[0].shape[0], dtype))


@functools.lru_cache(maxsize=256)
def _points_program(network: Network, engine: ResolvedOptions, dtype: np.dtype) -> Any:
    """The pmapped primitive. Cached, so that a network is traced once however many checkpoints use it."""

    def label_points(
        variables: Variables, planes: planes_lib.Planes, batches: jax.Array, index: jax.Array, coordinates: jax.Array
    ) -> jax.Array:
        def labels_of(index: jax.Array, coordinates: jax.Array) -> jax.Array:
            images = planes_lib.points(planes, index, coordinates)
            return hard_labels(forward(network, variables, images, engine.precision), dtype)

        return in_batches(batches, engine.batch_size, (index, coordinates), labels_of, dtype)

    return jax.pmap(label_points, in_axes=(None, None, None, 0, 0), devices=engine.devices)


@functools.lru_cache(maxsize=256)
def _images_program(network: Network, preprocess: Any, engine: ResolvedOptions, dtype: np.dtype) -> Any:
    def label_images(variables: Variables, batches: jax.Array, images: jax.Array) -> jax.Array:
        def labels_of(images: jax.Array) -> jax.Array:
            return hard_labels(forward(network, variables, preprocess(images), engine.precision), dtype)

        return in_batches(batches, engine.batch_size, (images,), labels_of, dtype)

    return jax.pmap(label_images, in_axes=(None, None, 0), devices=engine.devices)


def to_device(model: Model, engine: InferenceOptions) -> Model:
    """The model with its weights on the engine's devices, in the engine's precision: once per checkpoint."""
    if isinstance(model, BlackBox):
        return model
    resolved = engine.resolve(model.batch_size)
    on_cpu = resolved.devices[0].platform == "cpu" and isinstance(model.network, nn.Module)
    if engine.winograd and on_cpu and resolved.precision != "bfloat16":
        variables = winograd.with_kernels(model.variables)
    else:
        variables = winograd.without_kernels(model.variables)
    if resolved.precision == "bfloat16":

        def cast(leaf: Any) -> Any:
            return leaf.astype(jnp.bfloat16) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

        variables = jax.tree.map(cast, variables)
    return dataclasses.replace(model, variables=jax.device_put(variables, resolved.sharding()))


@dataclass(frozen=True)
class PendingLabels:
    """Labels on their way from the devices, in order; `result` waits for them."""

    parts: tuple[tuple[jax.Array | np.ndarray, int, int], ...]
    dtype: np.dtype

    def result(self) -> np.ndarray:
        """Labels `[Q]`."""
        # `device_get` is an explicit transfer, so it passes a transfer guard.
        labels = [jax.device_get(part)[:, :width].reshape(-1)[:count] for part, width, count in self.parts]
        return np.concatenate(labels) if labels else np.zeros(0, self.dtype)


def dispatch(
    build: Callable[[], Any],
    head: tuple[Any, ...],
    arrays: tuple[np.ndarray, ...],
    engine: ResolvedOptions,
    dtype: np.dtype,
) -> PendingLabels:
    """Splits `arrays` `[Q, ...]` over calls and devices and runs `program(*head, batches, *buffers)` on each part.

    Args:
      build: gives the pmapped program, the same object each time (a cached builder with its arguments bound).
      head: what goes to every device whole. arrays: what is split.
    """
    devices, capacity, batch = len(engine.devices), engine.capacity, engine.batch_size
    parts = []
    for start in range(0, len(arrays[0]), devices * capacity):
        count = min(devices * capacity, len(arrays[0]) - start)
        width = -(-count // devices)
        buffers = []
        for array in arrays:
            # Rows past the end repeat zeros: valid inputs whose labels nobody reads.
            buffer = np.zeros((devices * width, *array.shape[1:]), array.dtype)
            buffer[:count] = array[start : start + count]
            padding = [(0, 0), (0, capacity - width)] + [(0, 0)] * (array.ndim - 1)
            buffers.append(np.pad(buffer.reshape(devices, width, *array.shape[1:]), padding))
        batches = jax.device_put(np.int32(-(-width // batch)), engine.sharding())
        placed = jax.device_put(buffers, engine.sharding("devices"))
        with _dispatching:
            parts.append((build()(*head, batches, *placed), width, count))
    return PendingLabels(tuple(parts), dtype)


def submit_points(
    model: Model, planes: planes_lib.Planes, plane_index: np.ndarray, coordinates: np.ndarray, engine: InferenceOptions
) -> PendingLabels:
    """Starts labelling points of planes and returns at once (a `BlackBox` is labelled before it returns).

    Args:
      model: placed on the engine's devices with `place`; planes: as `build_planes` gives them, in the model's space.
      plane_index: int32 `[Q]`. coordinates: float32 `[Q, 2]`, along e1 and e2.
    """
    dtype = label_dtype(model.num_classes)
    plane_index, coordinates = np.asarray(plane_index, np.int32), np.asarray(coordinates, np.float32)
    if isinstance(model, BlackBox):
        batches = _host_batches(len(plane_index), model)
        make = jax.jit(planes_lib.points)
        images = (np.asarray(make(planes, plane_index[rows], coordinates[rows])) for rows in batches)
        labels = np.concatenate([call_label_fn(model, batch) for batch in images] or [np.zeros(0, dtype)])
        labels = labels[: len(plane_index)]
        return PendingLabels(((labels[None], len(labels), len(labels)),), dtype)
    resolved = engine.resolve(model.batch_size)
    build = functools.partial(_points_program, model.network, resolved, dtype)
    head = (model.variables, jax.device_put(planes, resolved.sharding()))
    return dispatch(build, head, (plane_index, coordinates), resolved, dtype)


def label_points(
    model: Model, planes: planes_lib.Planes, plane_index: np.ndarray, coordinates: np.ndarray, engine: InferenceOptions
) -> np.ndarray:
    """`submit_points`, waited for: labels `[Q]`, of the smallest integer type that holds the model's classes."""
    return retry_smaller_batch(
        model, engine, lambda fit: submit_points(model, planes, plane_index, coordinates, fit).result()
    )


_fits: dict[tuple[Network, InferenceOptions], InferenceOptions] = {}


def retry_smaller_batch(
    model: Model, engine: InferenceOptions, run: Callable[[InferenceOptions], np.ndarray]
) -> np.ndarray:
    """`run(engine)`, with half the batch size as often as a device runs out of memory.

    What fits is remembered, so that a sweep meets the wall once per network.
    """
    if isinstance(model, BlackBox) or model.batch_size is not None:
        return run(engine)
    key = model.network, engine
    while True:
        fit = _fits.get(key, engine)
        try:
            return run(fit)
        except jax.errors.JaxRuntimeError as error:
            smaller = fit.resolve().batch_size // 2
            if "RESOURCE_EXHAUSTED" not in str(error) or smaller < 1:
                raise
            _fits[key] = dataclasses.replace(fit, batch_size=smaller)


def label_images(model: Model, images: np.ndarray, engine: InferenceOptions | None = None) -> np.ndarray:
    """Hard labels of images: float32 `[M, H, W, C]` in [0, 1] to labels `[M]`."""
    engine = engine or InferenceOptions()
    dtype = label_dtype(model.num_classes)
    images = np.asarray(images, np.float32)
    if isinstance(model, BlackBox):
        batches = _host_batches(len(images), model)
        inputs = (np.asarray(model.preprocess(jnp.asarray(images[rows]))) for rows in batches)
        labels = np.concatenate([call_label_fn(model, batch) for batch in inputs] or [np.zeros(0, dtype)])
        return labels[: len(images)]

    def ask(fit: InferenceOptions) -> np.ndarray:
        # One batch a device is enough room: images are heavier than coordinates.
        resolved = dataclasses.replace(fit, capacity=1).resolve(model.batch_size)
        build = functools.partial(_images_program, model.network, model.preprocess, resolved, dtype)
        return dispatch(build, (model.variables,), (images,), resolved, dtype).result()

    return retry_smaller_batch(model, engine, ask)


def _host_batches(count: int, model: BlackBox) -> Iterator[np.ndarray]:
    """Row indices of each call; the last is padded with row 0, so that the callable sees one batch size."""
    size = model.batch_size or 256
    for start in range(0, count, size):
        rows = np.arange(start, start + size)
        yield np.where(rows < count, rows, 0)


def call_label_fn(model: BlackBox, images: np.ndarray) -> np.ndarray:
    """Calls the black box and checks what it returned.

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
