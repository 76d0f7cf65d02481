"""A graph of standard Keras layers as a pure forward pass.

The graph is data: a canonical JSON string without names, initialisers and regularisers. Two checkpoints of one
architecture have equal graphs, hash alike and share one compiled program.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import jax
import jax.numpy as jnp

from xray_jax.checkpoints.contents import CheckpointError
from xray_jax.checkpoints.image_input import ImageInput
from xray_jax.checkpoints.keras.last_softmax import without_last_softmax
from xray_jax.checkpoints.keras.layers import LAYERS as WEIGHT_LAYERS
from xray_jax.checkpoints.keras.layers import Layer
from xray_jax.checkpoints.keras.norms import NORMS
from xray_jax.checkpoints.keras.shape_layers import SHAPE_LAYERS
from xray_jax.classifier import Variables

LAYERS: Mapping[str, Layer] = {**WEIGHT_LAYERS, **NORMS, **SHAPE_LAYERS}
MAX_ACTIVATION = 1 << 24
"""Numbers per image that one layer may put out: a config of a few bytes can ask for any size."""


@dataclass(frozen=True)
class KerasNetwork:
    """A graph of standard Keras layers.

    Attributes:
      graph: canonical JSON: "form", "shape" and "vector" of an `ImageInput`, and "nodes": [[kind, weights' key,
        settings, inputs], ...]. An input is a node's number (0 is the images), or a constant in a list of one. The
        last node is the output.
    """

    graph: str

    @cached_property
    def _parsed(self) -> tuple[ImageInput, list[list[Any]]]:
        parsed = json.loads(self.graph)
        entry = ImageInput(parsed["form"], tuple(parsed["shape"]), tuple(parsed["vector"]))
        return entry, parsed["nodes"]

    def apply(self, variables: Variables, images: jax.Array) -> jax.Array:
        """Images `[B, H, W, C]` -> what the last node puts out, `[B, num_classes]`."""
        entry, nodes = self._parsed
        values = [entry.enter(images)]
        for kind, key, settings, inputs in nodes:
            arguments = [values[i] if isinstance(i, int) else i[0] for i in inputs]
            values.append(LAYERS[kind].compute(settings, variables.get(key, {}), arguments))
        return values[-1]

    def expected(self) -> tuple[dict[str, dict[str, tuple[int, ...]]], int]:
        """Weights' key -> name -> shape in the order of Keras, and the number of classes.

        Raises:
          CheckpointError: naming the layer that does not fit its input, or an output that is not `[B, classes]`.
        """
        weights, shapes = _traced(self)
        return weights, shapes[-1][1]

    def logits(self) -> "KerasNetwork":
        """The network without its last softmax.

        Raises:
          CheckpointError: as `expected` does.
        """
        parsed = json.loads(self.graph)
        return KerasNetwork.of({**parsed, "nodes": without_last_softmax(parsed["nodes"], _traced(self)[1])})

    @staticmethod
    def of(parts: Mapping[str, Any]) -> "KerasNetwork":
        """From what its JSON is to hold."""
        return KerasNetwork(json.dumps(parts, sort_keys=True, separators=(",", ":")))


@lru_cache(maxsize=256)
def _traced(network: KerasNetwork) -> tuple[dict[str, dict[str, tuple[int, ...]]], list[tuple[int, ...]]]:
    """Weights, and the shapes of two images and of what each node makes of them."""
    entry, nodes = network._parsed
    # Two images, so that a layer which mixes up the batch with another dimension shows.
    values = [jax.eval_shape(entry.enter, jax.ShapeDtypeStruct((2, *entry.shape), jnp.float32))]
    weights: dict[str, dict[str, tuple[int, ...]]] = {}
    for number, (kind, key, settings, inputs) in enumerate(nodes, 1):
        where = f"layer {number} of {len(nodes)} ({key or kind})"
        layer = LAYERS[kind]
        tensors = [values[i] for i in inputs if isinstance(i, int)]
        try:
            shapes = layer.weights(settings, tensors[0].shape)
            if weights.setdefault(key, shapes) != shapes:
                raise CheckpointError(f"its weights are shared between inputs of different sizes: {tensors[0].shape}")
            owned = {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in shapes.items()}

            def compute(
                owned: Any, tensors: Any, layer: Layer = layer, settings: Any = settings, inputs: Any = inputs
            ) -> jax.Array:
                given = iter(tensors)
                return layer.compute(settings, owned, [next(given) if isinstance(i, int) else i[0] for i in inputs])

            value = jax.eval_shape(compute, owned, tensors)
        except Exception as error:
            shapes_in = [list(t.shape[1:]) for t in tensors]
            raise CheckpointError(f"{where} does not fit its input {shapes_in}: {str(error)[:300]}") from error
        if value.shape[:1] != (2,) or value.size == 0 or value.size > 2 * MAX_ACTIVATION:
            raise CheckpointError(
                f"{where} puts out {list(value.shape)}, more than {MAX_ACTIVATION} numbers an image, "
                "none, or not one row an image: refused"
            )
        values.append(value)
    weights.pop("", None)
    out = values[-1].shape
    if len(out) != 2 or out[1] < 2:
        raise CheckpointError(f"its output is {['batch', *out[1:]]}, expected [batch, classes], two or more")
    return weights, [value.shape for value in values]
