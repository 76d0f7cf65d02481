"""3x3 convolutions by Winograd's minimal filtering, for CPUs: a quarter of the multiplications.

XLA's convolution on CPU runs at the speed of its matrix product, so only fewer operations make it faster. F(4x4, 3x3)
of Lavin and Gray (CVPR 2016, arXiv:1509.09308) computes a 4x4 tile of the output from a 6x6 tile of the input with 36
products where the direct sum takes 144; the products of all tiles are 36 matrix products. Results differ from the
direct sum's by about 1e-6 of the largest output.

Networks know nothing of it: transformed kernels are one more collection of variables, made once per checkpoint, and
inside `convolutions()` a `linen.Conv` that finds its own there uses it.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from xray_jax.models.convolution import Pads, window_of

COLLECTION = "winograd"
MIN_CHANNELS = 64
"""Below this, on both sides, the transforms cost what the products save (measured: docs/benchmarks.md)."""

TILE, WINDOW = 4, 6
_INPUT = np.array(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ]
)
_KERNEL = np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24
_OUTPUT = np.array([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]])

Variables = Mapping[str, Any]


def with_kernels(variables: Variables) -> Variables:
    """The variables and, in `COLLECTION`, the transform of every float32 3x3 kernel that has channels enough.

    Args:
      variables: of a linen module, on the host or a device.
    """
    if COLLECTION in variables:
        return variables
    kernels = {
        path: transform_kernel(jax.device_get(leaf))
        for path, leaf in flatten_dict(variables.get("params", {})).items()
        if path[-1] == "kernel" and leaf.shape[:-2] == (3, 3)
        if min(leaf.shape[2:]) >= MIN_CHANNELS and leaf.dtype == np.float32
    }
    return {**variables, COLLECTION: unflatten_dict(kernels)} if kernels else variables


def without_kernels(variables: Variables) -> Variables:
    """The variables as they were before `with_kernels`."""
    if COLLECTION not in variables:
        return variables
    return {name: tree for name, tree in variables.items() if name != COLLECTION}


@contextlib.contextmanager
def convolutions() -> Iterator[None]:
    """Within it, convolutions of stride 1 use the kernels of `with_kernels` where the variables have them."""
    with nn.intercept_methods(_intercept):
        yield


def _intercept(call: Callable[..., Any], args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
    module = context.module
    if type(module) is not nn.Conv or context.method_name != "__call__" or len(args) != 1 or kwargs:
        return call(*args, **kwargs)
    (images,) = args
    window = window_of(module, images) if module.has_variable(COLLECTION, "kernel") else None
    if window is None or window.strides != (1, 1) or window.groups != 1:
        return call(*args)
    if min(size + sum(pad) - 2 for size, pad in zip(images.shape[1:3], window.pads, strict=True)) < TILE:
        return call(*args)
    found = convolve(images, module.get_variable(COLLECTION, "kernel"), window.pads)
    return found + module.get_variable("params", "bias").reshape(1, 1, 1, -1) if module.use_bias else found


def transform_kernel(kernel: np.ndarray) -> np.ndarray:
    """`[3, 3, C, K]` to `[36, C, K]`, float32; the window's column counts before its row."""
    both = np.kron(_KERNEL, _KERNEL).astype(np.float32)
    return (both @ kernel.swapaxes(0, 1).reshape(9, -1)).reshape(WINDOW**2, *kernel.shape[2:])


def convolve(images: jax.Array, kernel: jax.Array, pads: Pads) -> jax.Array:
    """Stride-1 cross-correlation.

    Args:
      images: `[B, H, W, C]`. kernel: `[36, C, K]`, as `transform_kernel` gives it. pads: zeros (before, after) of
        both axes.

    Returns:
      `[B, H', W', K]`, H' = H + both pads - 2.
    """
    batch, *_, channels = images.shape
    sizes = [size + sum(pad) - 2 for size, pad in zip(images.shape[1:3], pads, strict=True)]
    tiles = [-(-size // TILE) for size in sizes]
    more = [TILE * count - size for count, size in zip(tiles, sizes, strict=True)]
    (top, bottom), (left, right) = pads
    padded = jnp.pad(images, ((0, 0), (top, bottom + more[0]), (left, right + more[1]), (0, 0)))
    # One axis after the other, each stacked at once: XLA compiles and runs 12 sums much faster than 36 nested ones.
    rows = _combine(_INPUT, _windows(padded, 1, tiles[0]), 0)
    nodes = _combine(_INPUT, _windows(rows, 3, tiles[1]), 0).reshape(WINDOW**2, -1, channels)
    products = jax.lax.dot_general(nodes, kernel, (((2,), (1,)), ((0,), (0,))))
    grid = products.reshape(WINDOW, WINDOW, batch, *tiles, -1)
    whole = _combine(_OUTPUT, list(_combine(_OUTPUT, list(grid), 4)), 2)
    return whole.reshape(batch, TILE * tiles[0], TILE * tiles[1], -1)[:, : sizes[0], : sizes[1]]


def _windows(array: jax.Array, axis: int, count: int) -> list[jax.Array]:
    """For each place in the window, the entries of `axis` that have it in one of `count` tiles."""
    ends = [start + TILE * (count - 1) + 1 for start in range(WINDOW)]
    return [jax.lax.slice_in_dim(array, start, end, TILE, axis) for start, end in enumerate(ends)]


def _combine(matrix: np.ndarray, arrays: Sequence[jax.Array], axis: int) -> jax.Array:
    """Each row's linear combination, stacked along `axis`; written out, most factors are 0 or 1."""
    sums = []
    for row in matrix.tolist():
        terms = [array if factor == 1 else factor * array for factor, array in zip(row, arrays, strict=True) if factor]
        sums.append(sum(terms[1:], terms[0]))
    return jnp.stack(sums, axis)
