"""What the convolutions of a network are set to, beside their weights: strides, paddings, dilations."""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np

Pair = tuple[int, int]


class ConvolutionSettings(NamedTuple):
    """What the weights of a convolution do not show.

    Attributes:
      stride: down and right.
      padding: above and below, left and right; None where these differ, or are words.
      dilation: down and right.
    """

    stride: Pair
    padding: Pair | None
    dilation: Pair

    def agrees(self, other: "ConvolutionSettings") -> bool:
        """Whether both say the same, as far as both say something."""
        same_padding = None in (self.padding, other.padding) or self.padding == other.padding
        return same_padding and (self.stride, self.dilation) == (other.stride, other.dilation)

    def __str__(self) -> str:
        return f"stride {_shown(self.stride)}, padding {_shown(self.padding)}, dilation {_shown(self.dilation)}"


def _shown(pair: Pair | None) -> str:
    return "?" if pair is None else f"{pair[0]}x{pair[1]}"


@functools.lru_cache(maxsize=64)
def of_network(module: nn.Module, input_shape: tuple[int, int, int]) -> Mapping[str, ConvolutionSettings]:
    """Published name of a layer -> what it is set to, of all convolutions that run; nothing is computed."""
    found: dict[str, ConvolutionSettings] = {}

    def record(call: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        layer = context.module
        if isinstance(layer, nn.Conv) and context.method_name == "__call__":
            found[".".join(layer.path)] = ConvolutionSettings(
                _pair(layer.strides), _padding(layer), _pair(layer.kernel_dilation)
            )
        return call(*args, **kwargs)

    with nn.intercept_methods(record):
        jax.eval_shape(module.init, jax.random.key(0), jax.ShapeDtypeStruct((1, *input_shape), np.float32))
    return found


def _pair(value: Any) -> Pair:
    if value is None:
        return 1, 1
    down, right = (value, value) if isinstance(value, int) else value
    return int(down), int(right)


def _padding(layer: nn.Conv) -> Pair | None:
    value = layer.padding
    if isinstance(value, str):
        return (0, 0) if value == "VALID" else None
    if isinstance(value, int):
        return value, value
    sides = [(each, each) if isinstance(each, int) else tuple(each) for each in value]
    return (sides[0][0], sides[1][0]) if all(before == behind for before, behind in sides) else None
