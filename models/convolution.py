"""Convolutions in the forms that run fastest on a CPU, where XLA's own are slow: few output channels, and groups.

XLA's convolution on CPU is a matrix product with as many columns as there are output channels. With fewer than about 24
it runs at a tenth to a half of the processor's speed, and convolutions in groups (depthwise ones above all) run in
plain loops, ten to a hundred times slower. Three forms with the same sums avoid both (docs/benchmarks_tried.md):

- few outputs: g neighbouring columns at once, by g shifted copies of the kernel side by side and g times the stride;
- depthwise: the sum of shifted images, each times its weight;
- other groups: one convolution each.

Columns that are computed together have zeros between their kernels, so beside an infinite activation more pixels of the
same image become NaN than in the direct form.

Nothing changes outside `faster()`, which is for CPUs: accelerators have better kernels of their own.
"""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

Pads = tuple[tuple[int, int], tuple[int, int]]

_wanted: ContextVar[bool] = ContextVar("faster convolutions", default=False)


@dataclass(frozen=True)
class Window:
    """Where a kernel is laid on an image.

    Attributes:
      strides: pixels between its places, of rows and of columns.
      pads: zeros (before, after) of both axes.
      groups: of channels; a group's outputs see its own inputs only.
    """

    strides: tuple[int, int] = (1, 1)
    pads: Pads = ((0, 0), (0, 0))
    groups: int = 1


@contextlib.contextmanager
def faster(wanted: bool = True) -> Iterator[None]:
    """Within it `convolve`, and every `linen.Conv` that is called, take the form that is fastest on a CPU.

    Args:
      wanted: False changes nothing.
    """
    if not wanted:
        yield
        return
    token = _wanted.set(True)
    try:
        with nn.intercept_methods(_intercept):
            yield
    finally:
        _wanted.reset(token)


def convolve(images: jax.Array, kernel: jax.Array, window: Window) -> jax.Array:
    """Cross-correlation.

    Args:
      images: `[B, H, W, C]`.
      kernel: `[h, w, C / groups, K]`.
      window: where it is laid.

    Returns:
      `[B, H', W', K]`.
    """
    fast = _wanted.get() and images.dtype == kernel.dtype == jnp.float32
    return _fastest(images, kernel, window) if fast else _direct(images, kernel, window)


def window_of(conv: nn.Conv, images: jax.Array) -> Window | None:
    """Of a plain two-dimensional float32 convolution; None for one that `convolve` cannot stand for.

    Args:
      conv: the module.
      images: what it is called with.
    """
    dilated = any(each is not None and set(_pair(each)) != {1} for each in (conv.input_dilation, conv.kernel_dilation))
    if images.ndim != 4 or images.dtype != jnp.float32 or conv.dtype not in (None, jnp.float32):
        return None
    size = conv.kernel_size
    if (
        dilated
        or conv.mask is not None
        or conv.conv_general_dilated is not None
        or isinstance(size, int)
        or len(size) != 2
    ):
        return None
    strides = _pair(conv.strides or 1)
    padding: Any = nn.linear.canonicalize_padding(conv.padding, 2)
    if isinstance(padding, str):
        if padding not in ("SAME", "VALID"):
            return None
        padding = lax.padtype_to_pads(images.shape[1:3], size, strides, padding)
    (top, bottom), (left, right) = padding
    return Window(strides, ((top, bottom), (left, right)), conv.feature_group_count)


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def _intercept(call: Callable[..., Any], args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
    module = context.module
    if type(module) is not nn.Conv or context.method_name != "__call__" or len(args) != 1 or kwargs:
        return call(*args, **kwargs)
    (images,) = args
    window = window_of(module, images)
    if window is None or not module.has_variable("params", "kernel"):
        return call(images)
    kernel: Any = module.get_variable("params", "kernel")
    if kernel.dtype != jnp.float32 or (window.groups == 1 and _columns(images, kernel, window) == 1):
        return call(images)
    found = _fastest(images, kernel, window)
    return found + module.get_variable("params", "bias").reshape(1, 1, 1, -1) if module.use_bias else found


def _direct(images: jax.Array, kernel: jax.Array, window: Window) -> jax.Array:
    layout = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(
        images, kernel, window.strides, window.pads, dimension_numbers=layout, feature_group_count=window.groups
    )


Form = Callable[[jax.Array, jax.Array, Window], jax.Array]

MOST_GROUPS = 64
"""Beyond these, convolutions of one group each make the program too long."""
MOST_TAPS = 64
"""Weights of a depthwise kernel: beyond these the sum of shifted images makes the program too long."""


def _fastest(images: jax.Array, kernel: jax.Array, window: Window) -> jax.Array:
    groups = window.groups
    if groups == 1:
        return (
            _in_form(images, kernel, window, _by_columns)
            if _columns(images, kernel, window) > 1
            else _direct(images, kernel, window)
        )
    if groups == images.shape[-1] == kernel.shape[-1]:
        small = kernel.shape[0] * kernel.shape[1] <= MOST_TAPS
        return _in_form(images, kernel, window, _by_taps) if small else _direct(images, kernel, window)
    if groups > MOST_GROUPS:
        return _direct(images, kernel, window)
    alone = dataclasses.replace(window, groups=1)
    parts = zip(jnp.split(images, groups, -1), jnp.split(kernel, groups, -1), strict=True)
    return jnp.concatenate([_fastest(own, weights, alone) for own, weights in parts], -1)


def _columns(images: jax.Array, kernel: jax.Array, window: Window) -> int:
    """How many neighbouring columns are computed at once: as few as fill the product, 1 where that gains nothing.

    Measured for 1 to 32 inputs and 4 to 48 outputs. Odd numbers of inputs leave XLA's fast road more easily.
    """
    width, inputs, outputs = kernel.shape[1:]
    needed = 48 if inputs % 2 and inputs > 1 else 24
    if inputs >= 20 or outputs >= needed or width <= window.strides[1]:
        return 1
    (places,) = _places(images.shape[2:3], (width,), window.strides[1:], window.pads[1:])
    fitting = (count for count in range(2, places + 1) if places % count == 0 and count * outputs >= needed)
    count = next(fitting, 1)
    return count if count * outputs <= 3 * needed else 1


def _places(sizes: Any, kernel: Any, strides: Any, pads: Any) -> tuple[int, ...]:
    """Of the kernel along each axis."""
    axes = zip(sizes, kernel, strides, pads, strict=True)
    return tuple((size + sum(pad) - width) // stride + 1 for size, width, stride, pad in axes)


def _by_columns(images: jax.Array, kernel: jax.Array, window: Window) -> jax.Array:
    count, (down, step) = _columns(images, kernel, window), window.strides
    zero, same = jnp.zeros((), kernel.dtype), (0, 0, 0)
    shifted = [lax.pad(kernel, zero, (same, (n * step, (count - 1 - n) * step, 0), same, same)) for n in range(count)]
    wide = dataclasses.replace(window, strides=(down, count * step))
    found = _direct(images, jnp.concatenate(shifted, -1), wide)
    return found.reshape(*found.shape[:2], -1, kernel.shape[-1])


def _by_taps(images: jax.Array, kernel: jax.Array, window: Window) -> jax.Array:
    height, width = kernel.shape[:2]
    rows, columns = _places(images.shape[1:3], (height, width), window.strides, window.pads)
    edges = [(0, 0, 0), *((before, after, 0) for before, after in window.pads), (0, 0, 0)]
    padded = lax.pad(images, jnp.zeros((), images.dtype), edges)
    (down, step), (batch, *_, channels) = window.strides, images.shape
    total = jnp.zeros((batch, rows, columns, channels), images.dtype)
    for y in range(height):
        for x in range(width):
            end = (batch, y + (rows - 1) * down + 1, x + (columns - 1) * step + 1, channels)
            total += lax.slice(padded, (0, y, x, 0), end, (1, down, step, 1)) * kernel[y, x].reshape(1, 1, 1, -1)
    return total


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _in_form(images: jax.Array, kernel: jax.Array, window: Window, form: Form) -> jax.Array:
    return form(images, kernel, window)


def _forward(images: jax.Array, kernel: jax.Array, window: Window, form: Form) -> tuple[jax.Array, Any]:
    return form(images, kernel, window), (images, kernel)


def _backward(window: Window, form: Form, kept: Any, slope: jax.Array) -> tuple[jax.Array, jax.Array]:
    """XLA's own derivative of a form is slow: the images' is a convolution again, which has its own fastest form."""
    images, kernel = kept
    alike = _direct if form is _by_columns else form

    def of_kernel(kernel: jax.Array) -> jax.Array:
        return alike(images, kernel, window)

    def of_images(images: jax.Array) -> jax.Array:
        return alike(images, kernel, window)

    (to_kernel,) = jax.vjp(of_kernel, kernel)[1](slope)
    if window.strides != (1, 1):
        (to_images,) = jax.vjp(of_images, images)[1](slope)
        return to_images, to_kernel
    turned = jnp.flip(kernel, (0, 1))
    turned = turned.swapaxes(2, 3) if window.groups == 1 else turned
    sizes = zip(kernel.shape[:2], window.pads, strict=True)
    (top, bottom), (left, right) = ((size - 1 - before, size - 1 - after) for size, (before, after) in sizes)
    return _fastest(slope, turned, dataclasses.replace(window, pads=((top, bottom), (left, right)))), to_kernel


_in_form.defvjp(_forward, _backward)
