"""A Keras model's JSON config (Keras 1, 2 or 3; Sequential or Functional, nested) -> `KerasNetwork`.

Nested models are inlined. The configs name classes and functions; only those that this package knows are accepted,
and nothing is ever looked up or imported by name.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Any

from xray_jax.checkpoints.contents import CheckpointError
from xray_jax.checkpoints.keras.config import (
    ADVICE,
    Reference,
    arguments,
    class_of,
    image_entry,
    policy,
    references,
    trainable,
)
from xray_jax.checkpoints.keras.layer_config import Settings
from xray_jax.checkpoints.keras.layers import Layer
from xray_jax.checkpoints.keras.network import LAYERS, KerasNetwork
from xray_jax.checkpoints.keras.shape_layers import IDENTITIES

MODELS = ("Sequential", "Functional", "Model")
MAX_NODES = 20_000
MAX_DEPTH = 50
MAX_CALLS = 40_000
"""Of layers, in all: models that are called twice by models that are called twice, and so on."""
_OPS = {name: name for name in ("Add", "Subtract", "Multiply", "Divide", "Maximum", "Minimum", "Mean", "Softmax")} | {
    "TrueDivide": "Divide",
    "LeakyRelu": "LeakyReLU",
    "Relu": "relu",
    "Relu6": "relu6",
    "Sigmoid": "sigmoid",
    "HardSigmoid": "hard_sigmoid",
    "Silu": "silu",
    "Tanh": "tanh",
}
"""Functions of keras.ops that a Functional model may call: a layer's name, or an activation's."""
_OPTIONS = {"Mean": ("axis", "keepdims"), "Softmax": ("axis",), "LeakyRelu": ("negative_slope",)}
"""Those of their options that the layer reads."""


@dataclass
class Tree:
    """The layers with weights of one model as its file lists them, to look their weights up.

    Attributes:
      layers: (name, class, whether trainable, key of its weights or tree of the nested model).
    """

    layers: "list[tuple[str, str, bool, str | Tree]]" = field(default_factory=list)


@dataclass
class Graph:
    """A network and what its config says of it.

    Attributes:
      network: the forward pass.
      input_shape: (height, width, channels) of the images that the scanner gives.
      tree: where the file keeps the weights of each key.
      policies: dtype policies that the layers were trained with.
    """

    network: KerasNetwork
    input_shape: tuple[int, int, int]
    tree: Tree
    policies: frozenset[str]


def build(config: Any, keras: int) -> Graph:
    """From the top-level config of a file written by Keras of this major version.

    Raises:
      CheckpointError: naming the layer and what is wrong with it.
    """
    try:
        return _build(config, keras)
    except (AttributeError, LookupError, TypeError) as error:
        # Somewhere in it stands a value of another type than Keras writes there.
        raise CheckpointError(
            f"its config is not what Keras writes ({type(error).__name__}: {error}): damaged"
        ) from error


def _build(config: Any, keras: int) -> Graph:
    builder = _Builder(keras)
    top = _Model(config, builder, 0)
    if len(top.inputs) != 1:
        raise CheckpointError(f"the model has {len(top.inputs)} inputs; only one image can be scanned")
    outputs = top([0])
    if len(outputs) != 1 or not isinstance(outputs[0], int):
        raise CheckpointError(f"the model has {len(outputs)} outputs, expected one row of class scores")
    entry = image_entry(top.input_shape, builder.data_formats)
    nodes = _needed(builder.nodes, outputs[0])
    network = KerasNetwork.of({"form": entry.form, "shape": entry.shape, "vector": entry.vector, "nodes": nodes})
    return Graph(network, entry.shape, top.tree, frozenset(builder.policies))


def snake_case(name: str) -> str:
    """As Keras names layers and stores them: Conv2D -> conv2d, BatchNormalization -> batch_normalization."""
    spaced = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", spaced).lower()


@dataclass
class _Builder:
    """Collects nodes while models are called."""

    keras: int
    nodes: list[list[Any]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    data_formats: list[str] = field(default_factory=list)
    policies: set[str] = field(default_factory=set)
    calls: int = 0

    def spend(self, calls: int) -> None:
        self.calls += calls
        if self.calls > MAX_CALLS:
            raise CheckpointError(f"its layers are called more than {MAX_CALLS} times: refused")

    def emit(self, kind: str, key: str, settings: Mapping[str, Any], inputs: Sequence[Any]) -> int:
        if len(self.nodes) >= MAX_NODES:
            raise CheckpointError(f"more than {MAX_NODES} layers: refused")
        if not any(isinstance(i, int) for i in inputs):
            raise CheckpointError(f"layer {key or kind} has no input")
        if settings.get("data_format", "") is None:
            settings = {**settings, "data_format": (self.data_formats or ["channels_last"])[0]}
        self.nodes.append([kind, key, settings, list(inputs)])
        return len(self.nodes)

    def new_key(self, kind: str) -> str:
        """Names as a fresh Keras session gives them: equal architectures get equal names."""
        base = snake_case(kind)
        number = self.counts[base] = self.counts.get(base, -1) + 1
        return f"{base}_{number}" if number else base


class _Layer:
    """One entry of a model's layer list; may be called several times, always with the same weights."""

    def __init__(self, entry: Any, builder: _Builder, tree: Tree, depth: int) -> None:
        if not isinstance(entry, Mapping):
            raise CheckpointError("an entry of the layer list is not a mapping")
        self._builder = builder
        self.config = entry.get("config")
        self.kind, is_op = class_of(entry)
        own = self.config.get("name") if isinstance(self.config, Mapping) else None
        self.name = str(entry.get("name") or own or self.kind)
        self.calls = entry.get("inbound_nodes") or []
        if not isinstance(self.calls, list):
            raise CheckpointError(f"layer {self.name!r}: its inbound_nodes are no list")
        self.nested: _Model | None = None
        self._key = ""
        self._settings: Mapping[str, Any] = {}
        if self.kind in MODELS:
            self.nested = _Model(entry, builder, depth + 1)
            tree.layers.append((self.name, self.kind, trainable(self.config), self.nested.tree))
        elif is_op or (self.kind in _OPS and self.kind not in LAYERS):
            # Keras 3 leaves the module out of its .h5 files.
            self._operation()
        elif self.kind not in IDENTITIES and self.kind != "InputLayer":
            self._standard(tree)

    def _operation(self) -> None:
        """A function of keras.ops in place of a layer."""
        target = _OPS.get(self.kind)
        if target is None:
            raise CheckpointError(f"operation {self.name!r} ({self.kind}) is not supported{ADVICE}")
        read = ("name", *_OPTIONS.get(self.kind, ()))
        options = {key: value for key, value in (self.config or {}).items() if key not in read}
        if any(value not in (None, -1) for value in options.values()):
            raise CheckpointError(f"operation {self.name!r} ({self.kind}) has options {options}: not supported{ADVICE}")
        where = f"operation {self.name!r} ({self.kind})"
        self.kind, config = (target, self.config or {}) if target in LAYERS else ("Activation", {"activation": target})
        self._settings = LAYERS[self.kind].settings(Settings(config, where, self._builder.keras))

    def _standard(self, tree: Tree) -> None:
        if self.kind not in LAYERS:
            raise CheckpointError(
                f"layer {self.name!r} is a {self.kind}, which is custom or not supported{ADVICE}; supported are: "
                + ", ".join(sorted({*LAYERS, *IDENTITIES}))
            )
        layer = LAYERS[self.kind]
        settings = Settings(self.config, f"layer {self.name!r} ({self.kind})", self._builder.keras)
        self._settings = layer.settings(settings)
        if self._settings.get("data_format") and self.kind != "Flatten":
            self._builder.data_formats.append(self._settings["data_format"])
        self._builder.policies.add(policy(self.config))
        if layer.weights is not Layer.weights:
            self._key = self._builder.new_key(self.kind)
            tree.layers.append((self.name, self.kind, trainable(self.config), self._key))

    def __call__(self, inputs: Sequence[Any]) -> list[Any]:
        if self.nested is not None:
            return self.nested(inputs)
        if self.kind in IDENTITIES or self.kind == "InputLayer":
            return list(inputs[:1])
        return [self._builder.emit(self.kind, self._key, self._settings, inputs)]


class _Model:
    """A Sequential or Functional model: its layers, made once, and the order in which they are called."""

    def __init__(self, entry: Any, builder: _Builder, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise CheckpointError(f"models nested more than {MAX_DEPTH} deep: refused")
        kind, _ = class_of(entry)
        config = entry["config"]
        # Keras 1 and early 2 have the bare list.
        listed = config if isinstance(config, list) else config.get("layers") if isinstance(config, Mapping) else None
        if kind not in MODELS or not isinstance(listed, list) or not listed:
            raise CheckpointError(f"the model is a {kind} without a list of layers (a subclassed model?){ADVICE}")
        self.tree, self._builder = Tree(), builder
        self._sequential = kind == "Sequential"
        self._layers = [_Layer(layer, builder, self.tree, depth) for layer in listed]
        self._by_name = {layer.name: layer for layer in self._layers}
        if len(self._by_name) != len(self._layers) and not self._sequential:
            raise CheckpointError("two layers of the model have one name")
        if self._sequential:
            self.inputs = [("", 0, 0)]
            self.input_shape = _shape_of(self._layers[0], config)
            return
        self._offsets = self._find_offsets()
        self.inputs = references(config.get("input_layers"))
        self._outputs = references(config.get("output_layers"))
        first = self._by_name.get(self.inputs[0][0]) if self.inputs else None
        self.input_shape = None if first is None else _shape_of(first, config)

    def __call__(self, inputs: Sequence[Any]) -> list[Any]:
        """Node numbers of the model's outputs, given those of its inputs."""
        self._builder.spend(sum(max(len(layer.calls), 1) for layer in self._layers))
        if len(inputs) != len(self.inputs):
            raise CheckpointError(f"a nested model with {len(self.inputs)} inputs is called on {len(inputs)}")
        if self._sequential:
            values = list(inputs)
            for layer in self._layers:
                values = layer(values)
            return values
        done: dict[tuple[str, int], list[Any]] = {
            (name, 0): [value] for (name, _, _), value in zip(self.inputs, inputs, strict=True)
        }
        waiting = TopologicalSorter[tuple[str, int]]()
        given: dict[tuple[str, int], list[Any]] = {}
        for layer in self._layers:
            for number, call in enumerate(layer.calls):
                if (layer.name, number) not in done:
                    given[layer.name, number] = found = arguments(call, layer.name)
                    waiting.add((layer.name, number), *(self._call_of(r) for r in found if isinstance(r, tuple)))
        try:
            order = list(waiting.static_order())
        except CycleError as error:
            raise CheckpointError(f"its layers are connected in a circle: {error.args[1]}") from error
        for step in order:
            if step not in done:
                if step not in given:
                    raise CheckpointError(f"a layer takes the output of {step[0]!r}, call {step[1]}, which is missing")
                values = [self._value(r, done) if isinstance(r, tuple) else r for r in given[step]]
                done[step] = self._by_name[step[0]](values)
        return [self._value(reference, done) for reference in self._outputs]

    def _find_offsets(self) -> dict[str, int]:
        """Keras 2 counts the calls of a nested model from 1, because building it was call 0."""
        highest: dict[str, int] = {}
        for layer in self._layers:
            for call in layer.calls:
                for name, number, _ in (r for r in arguments(call, layer.name) if isinstance(r, tuple)):
                    highest[name] = max(number, highest.get(name, 0))
        return {
            layer.name: int(layer.nested is not None and highest.get(layer.name, 0) == len(layer.calls))
            for layer in self._layers
        }

    def _call_of(self, reference: Reference) -> tuple[str, int]:
        name, number, _ = reference
        return name, number - self._offsets.get(name, 0)

    def _value(self, reference: Reference, done: Mapping[tuple[str, int], list[Any]]) -> Any:
        outputs = done.get(self._call_of(reference))
        # An output that is a nested model may be counted from 1 although nothing else refers to it.
        if outputs is None and reference[1] == len(getattr(self._by_name.get(reference[0]), "calls", [])):
            outputs = done.get((reference[0], reference[1] - 1))
        if outputs is None or not 0 <= reference[2] < len(outputs):
            raise CheckpointError(f"a layer takes output {reference[1:]} of {reference[0]!r}, which does not exist")
        return outputs[reference[2]]


def _shape_of(layer: _Layer, config: Any) -> Any:
    """A model's input shape without the batch: of its first layer, or what the model was built for."""
    if layer.nested is not None and layer.nested.input_shape is not None:
        return layer.nested.input_shape
    own = layer.config if isinstance(layer.config, Mapping) else {}
    built = config.get("build_input_shape") if isinstance(config, Mapping) else None
    return own.get("batch_shape") or own.get("batch_input_shape") or built


def _needed(nodes: list[list[Any]], output: int) -> list[list[Any]]:
    """Only what the output depends on, numbered anew, the output last."""
    needed, stack = set(), [output]
    while stack:
        number = stack.pop()
        if number and number not in needed:
            needed.add(number)
            stack.extend(i for i in nodes[number - 1][3] if isinstance(i, int))
    renumbered = {0: 0} | {old: new for new, old in enumerate(sorted(needed), 1)}
    if not needed or max(needed) != output:
        raise CheckpointError("the model's output does not depend on its layers")
    return [
        [kind, key, settings, [renumbered[i] if isinstance(i, int) else i for i in inputs]]
        for kind, key, settings, inputs in (nodes[number - 1] for number in sorted(needed))
    ]
