"""How many bytes a network's activations take, from its traced program alone: nothing is computed or allocated.

Convolutions and matrix products read arrays and write others that no fusion removes, so the largest of them is a lower
bound on the memory that a batch needs.
"""

import functools
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from xray_jax.classifier import Classifier, Network
from xray_jax.inference.unanswered import MarkedNetwork

_NEVER_FUSED = ("conv_general_dilated", "dot_general")


class Footprint(NamedTuple):
    """Bytes that one image takes, in float32.

    Attributes:
      largest: what the convolution or product that needs most reads (its weights left out) and writes.
      kept: what all of them write together; gradients keep it.
    """

    largest: int
    kept: int


def footprint(model: Classifier) -> Footprint:
    """Of one image of the model's shape; zeros for a network that cannot be traced or shows no such operation."""
    return _trace(model).footprint


def logits_shape(model: Classifier) -> tuple[int, ...] | None:
    """Of what the network puts out for its batch size, or one image; None where it cannot be traced."""
    return _trace(model).logits


class _Trace(NamedTuple):
    footprint: Footprint
    logits: tuple[int, ...] | None


def _trace(model: Classifier) -> _Trace:
    leaves, tree = jax.tree.flatten(model.variables)
    shapes = tuple((tuple(leaf.shape), str(jnp.dtype(leaf.dtype))) for leaf in leaves)
    # Marked or not, its Python runs once.
    network = model.network.network if isinstance(model.network, MarkedNetwork) else model.network
    return _traced(network, tree, shapes, model.input_shape, model.batch_size or 1)


def weight_bytes(model: Classifier) -> int:
    """Bytes of the model's variables."""
    return sum(math.prod(leaf.shape) * jnp.dtype(leaf.dtype).itemsize for leaf in jax.tree.leaves(model.variables))


@functools.lru_cache(maxsize=256)
def _traced(network: Network, tree: Any, shapes: tuple[Any, ...], shape: tuple[int, int, int], batch: int) -> _Trace:
    variables = jax.tree.unflatten(tree, [jax.ShapeDtypeStruct(*each) for each in shapes])
    images = jax.ShapeDtypeStruct((batch, *shape), jnp.float32)
    try:
        program = jax.make_jaxpr(network.apply)(variables, images)
    except Exception:
        # Whatever is wrong with it is said where it runs.
        return _Trace(Footprint(0, 0), None)
    sizes = [(_bytes(equation.invars[0]), _bytes(equation.outvars[0])) for equation in _equations(program.jaxpr)]
    largest = max((read + written for read, written in sizes), default=0)
    found = Footprint(-(-largest // batch), -(-sum(written for _, written in sizes) // batch))
    (logits,) = program.out_avals if len(program.out_avals) == 1 else (None,)
    return _Trace(found, None if logits is None else tuple(logits.shape))


def _equations(program: Any) -> Iterator[Any]:
    """The convolutions and products of a program and of all programs in it."""
    for equation in program.eqns:
        if equation.primitive.name in _NEVER_FUSED:
            yield equation
        for value in equation.params.values():
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from _equations(inner)


def _bytes(variable: Any) -> int:
    array = variable.aval
    return math.prod(array.shape) * array.dtype.itemsize
