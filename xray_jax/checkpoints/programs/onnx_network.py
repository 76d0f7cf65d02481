"""An ONNX graph as a pure forward pass in JAX, and what is checked of it before it runs."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from xray_jax.checkpoints.contents import CheckpointError
from xray_jax.checkpoints.image_input import ImageInput
from xray_jax.checkpoints.programs.onnx_graph import Graph
from xray_jax.checkpoints.programs.onnx_operators import TABLE
from xray_jax.checkpoints.programs.onnx_operators.activations import is_over_classes
from xray_jax.checkpoints.programs.onnx_operators.node import (
    MAX_ALL_KNOWN,
    MAX_ELEMENTS,
    TooLargeError,
    UnsupportedError,
    Value,
    traced,
)
from xray_jax.checkpoints.programs.onnx_operators.types import WHOLE_NUMBERS
from xray_jax.checkpoints.programs.onnx_session import as_rows
from xray_jax.classifier import Variables


@dataclass(frozen=True)
class OnnxNetwork:
    """A graph of standard operators. Equal when the graphs are, whatever the weights.

    Attributes:
      digest: SHA-256 of the graph, in hexadecimal.
      entry: how images enter it.
      one_by_one: whether the graph is written for one image; it is then mapped over the batch, which is right for any
        graph and, in one program, no slower than a graph of open batch size.
      graph: nodes and known values.
    """

    digest: str
    entry: ImageInput
    one_by_one: bool
    graph: Graph = field(compare=False, repr=False)

    def apply(self, variables: Variables, images: jax.Array) -> jax.Array:
        """Images `[B, H, W, C]` of the graph's own size -> what it puts out, before a last Softmax, `[B, num_classes]`.

        Args:
          variables: "weights": arrays in the order of the graph's.
          images: in the network's input space.

        Raises:
          ValueError: images of another size, for which nothing was checked.
        """
        if images.shape[1:] != self.entry.shape:
            raise ValueError(f"the graph is for images of {self.entry.shape}, not {images.shape[1:]}")

        def scores(images: jax.Array) -> jax.Array:
            found: jax.Array = as_rows(run(self.graph, variables["weights"], self.entry.enter(images), logits=True))
            return found

        return jax.vmap(lambda image: scores(image[None])[0])(images) if self.one_by_one else scores(images)


def run(graph: Graph, weights: Sequence[Value], images: jax.Array, logits: bool = False) -> jax.Array:
    """What a graph puts out for a batch in its own layout.

    Args:
      graph: nodes and known values.
      weights: the others, in the order of the graph's.
      images: a batch.
      logits: whether a last Softmax is left out: over the classes it changes no label, and what looks inside a network
        needs the scores that it hides.

    Raises:
      UnsupportedError: naming the node that the table cannot compute.
      TooLargeError: naming the node that makes too much.
    """
    values: dict[int, Value] = {**graph.known, graph.images: images}
    values.update(zip(graph.weights, weights, strict=True))
    most, made_known = MAX_ELEMENTS * images.shape[0], 0
    last_use = {number: place for place, node in enumerate(graph.nodes) for number in node.inputs}
    last_use[graph.output] = len(graph.nodes)
    for place, node in enumerate(graph.nodes):
        where = f"{node.operator} (node {place + 1} of {len(graph.nodes)})"
        inputs = [None if number is None else values[number] for number in node.inputs]
        if node.operator not in WHOLE_NUMBERS and any(map(_is_traced_integer, inputs)):
            raise UnsupportedError(f"{where}: it computes with whole numbers that depend on the images")
        try:
            with np.errstate(all="ignore"):
                found = TABLE[node.operator].compute(node, inputs)
        except TooLargeError as error:
            raise TooLargeError(f"{where}: {error}") from error
        except Exception as error:
            # What numpy and JAX raise for operands that do not fit each other is of all kinds.
            raise UnsupportedError(f"{where}: {' '.join(str(error).split())[:200]}") from error
        if logits and place == graph.softmax:
            if not is_over_classes(node, inputs[0], images.shape[0]):
                raise UnsupportedError(f"{where}: the last one is not over the classes")
            found = inputs[0]
        made = found if isinstance(found, list) else [found]
        if any(number is not None for number in node.outputs[len(made) :]):
            raise UnsupportedError(
                f"{where}: it has {len(node.outputs)} outputs, and not more than {len(made)} are known"
            )
        for number, value in zip(node.outputs, made, strict=False):
            # numpy's functions turn arrays without axes into scalars.
            value = np.asarray(value) if isinstance(value, np.generic) else value
            if not isinstance(value, np.ndarray | jax.Array) or value.dtype == object:
                # What numpy makes of an input that is not there.
                raise UnsupportedError(f"{where}: it makes no numbers of what it is given")
            if value.size > most:
                raise TooLargeError(f"{where}: it makes {list(value.shape)}, more than {most} numbers")
            made_known += value.size if isinstance(value, np.ndarray) else 0
            if made_known > MAX_ALL_KNOWN:
                raise TooLargeError(f"{where}: what is known without images has more than {MAX_ALL_KNOWN} numbers")
            if number is not None:
                values[number] = value
        for number in (*node.inputs, *node.outputs):
            if number is not None and last_use.get(number, place) <= place:
                values.pop(number, None)
    return traced(values[graph.output])


def _is_traced_integer(value: Value) -> bool:
    return value is not None and not isinstance(value, np.ndarray) and bool(jnp.issubdtype(value.dtype, jnp.integer))


def check(network: OnnxNetwork, variables: Variables, batch: int | None) -> int:
    """Traces a network, without computing anything, and finds its number of classes.

    Args:
      network: to be traced.
      variables: its weights.
      batch: the only batch size that it takes, for one that has.

    Raises:
      UnsupportedError: a node cannot be computed, or the output is not one row an image.
      CheckpointError: a node makes more than any classifier needs.
    """
    # Two images, so that a node which mixes up the batch with another axis shows.
    images = jax.ShapeDtypeStruct((batch or 2, *network.entry.shape), jnp.float32)
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), variables)
    try:
        scores = jax.eval_shape(network.apply, shapes, images)
    except TooLargeError as error:
        raise CheckpointError(f"{error}: refused") from error
    if scores.ndim != 2 or scores.shape[0] != images.shape[0] or not jnp.issubdtype(scores.dtype, jnp.floating):
        raise UnsupportedError(f"its output is {list(scores.shape)} of {scores.dtype} for {images.shape[0]} images")
    return int(scores.shape[1])


@functools.lru_cache(maxsize=64)
def compiled(network: OnnxNetwork) -> Any:
    """The jitted `apply`, one a network."""

    def apply(variables: Variables, images: jax.Array) -> jax.Array:
        with jax.default_matmul_precision("highest"):
            return network.apply(variables, images)

    return jax.jit(apply)
