"""`Resize` and `Upsample`: nearest and linear, an axis at a time, at the coordinates that the standard names."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from xray_jax.checkpoints.programs.onnx_operators.node import (
    MAX_ELEMENTS,
    Node,
    Table,
    UnsupportedError,
    Value,
    axis_of,
    check_size,
    integers,
    known,
    operator,
    optional,
    traced,
)


def _places(node: Node, kind: str, size: int, made: int, scale: float) -> np.ndarray:
    """Float32 `[made]`: where on an axis of `size` entries each new entry lies."""
    number = np.arange(made, dtype=np.float32)
    if kind == "asymmetric":
        return number / np.float32(scale)
    if kind == "align_corners":
        return number * np.float32(size - 1) / np.float32(made - 1) if made > 1 else number
    if kind == "half_pixel" or (kind == "pytorch_half_pixel" and made > 1):
        return (number + np.float32(0.5)) / np.float32(scale) - np.float32(0.5)
    if kind == "pytorch_half_pixel":
        return number
    raise UnsupportedError(f"coordinates by {kind!r}")


def _rounded(kind: str, places: np.ndarray, shorter: bool) -> np.ndarray:
    if kind == "simple":
        # Of opset 10, in onnxruntime: up where the axis gets shorter.
        return np.ceil(places) if shorter else np.floor(places)
    if kind == "floor":
        return np.floor(places)
    if kind == "ceil":
        return np.ceil(places)
    if kind == "round_prefer_floor":
        return np.ceil(places - np.float32(0.5))
    if kind == "round_prefer_ceil":
        return np.floor(places + np.float32(0.5))
    raise UnsupportedError(f"rounding by {kind!r}")


def _nearest(images: jax.Array, axis: int, places: np.ndarray, kind: str, shorter: bool) -> jax.Array:
    index = np.clip(_rounded(kind, places, shorter), 0, images.shape[axis] - 1).astype(np.int32)
    return jnp.take(images, index, axis, mode="clip")


def _linear(images: jax.Array, axis: int, places: np.ndarray) -> jax.Array:
    inside = np.clip(places, 0, images.shape[axis] - 1)
    low = np.floor(inside).astype(np.int32)
    high = np.minimum(low + 1, images.shape[axis] - 1)
    share = jnp.asarray(inside - low, images.dtype).reshape([-1 if n == axis else 1 for n in range(images.ndim)])
    below, above = (jnp.take(images, index, axis, mode="clip") for index in (low, high))
    return below * (1 - share) + above * share


def _resized(
    node: Node, images: jax.Array, axes: Sequence[int], made: Sequence[int], scales: Sequence[float], kind: str, to: str
) -> jax.Array:
    """The images with `made` entries on each of `axes`."""
    sizes = list(images.shape)
    for axis, size in zip(axes, made, strict=True):
        sizes[axis] = size
    check_size(sizes, MAX_ELEMENTS * max(images.shape[0], 1))
    mode = node.get("mode", "nearest")
    for axis, size, scale in zip(axes, made, scales, strict=True):
        if size == images.shape[axis] and scale == 1:
            continue
        if size < 1:
            raise UnsupportedError("an axis without entries")
        places = _places(node, kind, images.shape[axis], size, scale)
        if mode == "nearest":
            images = _nearest(images, axis, places, to, scale < 1)
        elif mode == "linear":
            images = _linear(images, axis, places)
        else:
            raise UnsupportedError(f"the mode {mode!r}")
    return images


def _by_scales(node: Node, images: jax.Array, axes: Sequence[int], scales: np.ndarray, kind: str, to: str) -> Value:
    scales = scales.astype(np.float32).reshape(-1)
    if len(scales) != len(axes) or not (np.isfinite(scales).all() and (scales > 0).all()):
        raise UnsupportedError("its scales")
    made = [int(np.floor(np.float32(images.shape[axis]) * scale)) for axis, scale in zip(axes, scales, strict=True)]
    return _resized(node, images, axes, made, [float(scale) for scale in scales], kind, to)


def _resize(node: Node, inputs: Sequence[Value]) -> Value:
    images = traced(inputs[0])
    if node.opset < 11:
        scales = known(inputs[1], "its scales")
        return _by_scales(node, images, range(images.ndim), scales, "asymmetric", "simple")
    if node.get("antialias", 0) or node.get("exclude_outside", 0):
        raise UnsupportedError("antialias or exclude_outside")
    if node.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise UnsupportedError("it keeps the aspect ratio")
    axes = [axis_of(axis, images.ndim) for axis in node.get("axes") or range(images.ndim)]
    kind = node.get("coordinate_transformation_mode", "half_pixel")
    to = node.get("nearest_mode", "round_prefer_floor")
    scales, sizes = optional(inputs, 2), optional(inputs, 3)
    if scales is not None and known(scales, "its scales").size:
        return _by_scales(node, images, axes, known(scales), kind, to)
    if sizes is None:
        raise UnsupportedError("it has neither scales nor sizes")
    made = integers(sizes, "its sizes")
    if len(made) != len(axes):
        raise UnsupportedError("sizes of another number of axes")
    found = [size / images.shape[axis] for axis, size in zip(axes, made, strict=True)]
    return _resized(node, images, axes, made, found, kind, to)


def _upsample(node: Node, inputs: Sequence[Value]) -> Value:
    images = traced(inputs[0])
    given = np.array(node.get("scales")) if node.opset < 9 else known(inputs[1], "its scales")
    return _by_scales(node, images, range(images.ndim), given, "asymmetric", "floor")


OPERATORS: Table = {
    "Resize": operator(
        _resize,
        "antialias axes coordinate_transformation_mode cubic_coeff_a exclude_outside extrapolation_value "
        "keep_aspect_ratio_policy mode nearest_mode",
        known=(1, 2, 3),
    ),
    "Upsample": operator(_upsample, "mode scales", known=(1,)),
}
