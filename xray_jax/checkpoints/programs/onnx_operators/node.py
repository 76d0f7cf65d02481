"""What every operator of the table is made of: its node, its values, and the bounds on what it may make.

A value is a numpy array where it does not depend on images or weights (shapes and what is computed of them: it is
known while the network is traced) and a JAX array otherwise. Known values keep ONNX's types. Traced floats all have the
network's precision: what a file computes in double, or casts to half, is not run as a JAX program. Traced integers have
32 bits, and nothing is computed with them. ONNX aligns shapes from the right, as numpy does; the ranks are made equal
here, so that nothing depends on how JAX is configured.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

Value = Any
"""`np.ndarray` of a known value, `jax.Array` of a traced one, None for an optional input that is left out."""

MAX_ELEMENTS = 1 << 24
"""Numbers per image that one node may put out: a few bytes of graph can ask for any size."""
MAX_KNOWN = 1 << 20
"""Numbers of a known value, which is computed when the file is read."""
MAX_ALL_KNOWN = 1 << 24
"""Numbers of all known values that a graph's nodes make."""


class UnsupportedError(ValueError):
    """A graph is not run as a JAX program; the message names the operator and says why."""


class TooLargeError(ValueError):
    """A node asks for more than any classifier needs."""


@dataclass(frozen=True)
class Node:
    """One node of a graph.

    Attributes:
      operator: its name.
      opset: version of the standard operators that the graph is written in.
      attributes: names and values, sorted: numbers, strings and tuples of them.
      inputs: numbers of the values that it takes; None where an optional one is left out.
      outputs: numbers of the values that it makes; None where nobody needs one.
    """

    operator: str
    opset: int
    attributes: tuple[tuple[str, Any], ...]
    inputs: tuple[int | None, ...]
    outputs: tuple[int | None, ...]

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute, or `default` where the node does not have it."""
        return dict(self.attributes).get(name, default)


class Operator(NamedTuple):
    """One line of the table.

    Attributes:
      compute: (node, inputs) to the first output, or a list of outputs.
      attributes: those that `compute` honours; a node with others is not run by it.
      known: positions of inputs that must be known while the network is traced.
    """

    compute: Callable[[Node, Sequence[Value]], Value | list[Value]]
    attributes: frozenset[str] = frozenset()
    known: frozenset[int] = frozenset()


Table = Mapping[str, Operator]


def operator(
    compute: Callable[[Node, Sequence[Value]], Value | list[Value]], attributes: str = "", known: Sequence[int] = ()
) -> Operator:
    """A line of the table; `attributes` are names with spaces between them."""
    return Operator(compute, frozenset(attributes.split()), frozenset(known))


def known(value: Value, what: str = "an input") -> np.ndarray:
    """A value that must be known.

    Raises:
      UnsupportedError: it depends on images or weights.
    """
    if not isinstance(value, np.ndarray):
        raise UnsupportedError(f"{what} depends on the images or weights")
    return value


def integers(value: Value, what: str) -> list[int]:
    """A known list of whole numbers."""
    return [int(number) for number in known(value, what).reshape(-1)]


def optional(inputs: Sequence[Value], position: int) -> Value:
    """An input that may be left out."""
    return inputs[position] if position < len(inputs) else None


def check_size(shape: Sequence[int], most: int = MAX_KNOWN) -> tuple[int, ...]:
    """The shape, where it is no larger than `most` numbers; asked before anything of known size is made.

    Raises:
      TooLargeError: it is.
    """
    sizes = tuple(int(size) for size in shape)
    if any(size < 0 for size in sizes):
        raise UnsupportedError(f"a negative size in {list(sizes)}")
    if math.prod(sizes) > most:
        raise TooLargeError(f"it makes {list(sizes)}, more than {most} numbers")
    return sizes


def namespace(*values: Value) -> ModuleType:
    """numpy where all of the values are known, else jax.numpy."""
    return np if all(value is None or isinstance(value, np.ndarray) for value in values) else jnp


def is_float(value: Value) -> bool:
    """Whether it holds floating-point numbers."""
    return bool(jnp.issubdtype(value.dtype, jnp.floating))


def traced(value: Value, dtype: Any = None) -> jax.Array:
    """The value as a JAX array.

    Args:
      value: known or traced.
      dtype: of a known float, which has no precision of its own; None is float32.

    Raises:
      UnsupportedError: a known integer needs more than 32 bits, or a known float is of double precision.
    """
    if not isinstance(value, np.ndarray):
        return jnp.asarray(value)
    if is_float(value):
        if value.dtype.itemsize > 4:
            raise UnsupportedError(f"it computes in {value.dtype.name}, a JAX program in float32")
        return jnp.asarray(value.astype(np.float32), dtype or jnp.float32)
    if value.dtype.itemsize > 4:
        limits = np.iinfo(np.int32)
        if value.size and not limits.min <= value.min() <= value.max() <= limits.max:
            raise UnsupportedError("it computes with integers of more than 32 bits")
        return jnp.asarray(value.astype(np.int32))
    return jnp.asarray(value)


def root(xp: ModuleType, value: Value) -> Value:
    """The square root of a sum of squares: of zero its derivative is zero, as torch has it for norms."""
    return xp.where(value == 0, xp.zeros_like(value), xp.sqrt(xp.where(value == 0, xp.ones_like(value), value)))


def same_type(*values: Value) -> list[Value]:
    """Values of one type: all known as they are, or all traced, floats in the precision of the traced ones."""
    if namespace(*values) is np:
        return list(values)
    floats = [value.dtype for value in values if not isinstance(value, np.ndarray) and is_float(value)]
    dtype = (jnp.float32 if jnp.float32 in floats else floats[0]) if floats else None
    arrays = [traced(value, dtype) for value in values]
    return [array.astype(dtype) if dtype and is_float(array) else array for array in arrays]


def aligned(*values: Value) -> list[Value]:
    """Values of one type and one rank that broadcast with each other.

    Raises:
      TooLargeError: what they broadcast to is too large.
    """
    arrays = same_type(*values)
    shape = np.broadcast_shapes(*(array.shape for array in arrays))
    if namespace(*arrays) is np:
        check_size(shape)
    return [array.reshape((1,) * (len(shape) - array.ndim) + array.shape) for array in arrays]


def per_channel(vector: Value, rank: int, like: Value) -> jax.Array:
    """`[C]` to `[C, 1, ...]`, to be aligned with `[B, C, ...]` of `rank` axes, in the precision of `like`."""
    return traced(vector, like.dtype).astype(like.dtype).reshape(1, -1, *(1,) * (rank - 2))


def axis_of(axis: int, rank: int) -> int:
    """An axis that may count from the end, from the start.

    Raises:
      UnsupportedError: there is no such axis.
    """
    if not -rank <= axis < max(rank, 1):
        raise UnsupportedError(f"axis {axis} of {rank}")
    return axis % max(rank, 1)
