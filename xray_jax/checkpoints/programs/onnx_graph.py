"""The part of an ONNX graph that one output needs, as plain data: nodes of the table, weights, known values.

Floats of the file are weights, arguments of the compiled program, so that checkpoints of one architecture share it.
Whole numbers, floats that shapes are computed of, and those of double precision are part of the program. Names are left
out: two graphs that compute the same in the same order are equal.
"""

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from xray_jax.checkpoints.contents import SLACK, CheckpointError
from xray_jax.checkpoints.programs.onnx_operators import FIRST_OPSET, LATEST_OPSET, TABLE
from xray_jax.checkpoints.programs.onnx_operators.node import MAX_KNOWN, Node, UnsupportedError
from xray_jax.checkpoints.programs.onnx_operators.types import type_of

MAX_NODES = 5000
"""Each is traced and compiled; a ViT-L has some two thousand."""
MAX_EDGES = 32
"""Inputs and outputs of one node, where it is not a Concat, Sum, Mean, Max, Min or Split."""
MAX_MANY_EDGES = 1024
_MANY = frozenset({"Concat", "Sum", "Mean", "Max", "Min", "Split"})
_STANDARD = ("", "ai.onnx")
_HAND_ON = frozenset({"Identity", "Flatten", "Reshape", "Squeeze"})
"""What a graph may do to its probabilities."""
_ATTRIBUTES = {1: "f", 2: "i", 3: "s", 6: "floats", 7: "ints"}
"""Types of attributes that are plain data -> the field that holds them."""
_MAX_ATTRIBUTE = 1024

ReadTensor = Callable[[Any], np.ndarray]
"""A TensorProto to its array, wherever its bytes lie."""


@dataclass(frozen=True)
class Graph:
    """What one output of a graph is computed of.

    Attributes:
      nodes: in an order in which they can run.
      images: number of the value that is the batch of images.
      output: number of the value that is wanted.
      known: numbers of the values that are known -> their arrays.
      weights: numbers of the values that are weights, in the order of the program's arguments.
      softmax: place of the last Softmax among the nodes, where there is one (`last_softmax`).
    """

    nodes: tuple[Node, ...]
    images: int
    output: int
    known: Mapping[int, np.ndarray]
    weights: tuple[int, ...]
    softmax: int | None = None

    def digest(self) -> str:
        """SHA-256 over everything but the weights' values."""
        total = hashlib.sha256(repr((self.nodes, self.images, self.output, self.weights)).encode())
        for number, array in sorted(self.known.items()):
            total.update(f"{number}\0{array.dtype.str}\0{array.shape}\0".encode())
            total.update(np.ascontiguousarray(array).tobytes())
        return total.hexdigest()


def graph_of(model: Any, images: str, output: str, read: ReadTensor, size: int) -> tuple[Graph, list[np.ndarray]]:
    """The graph behind an output, and its weights.

    Args:
      model: a checked ModelProto.
      images: name of the input.
      output: name of the output.
      read: gives the array of a TensorProto.
      size: bytes on disk; weights may not exceed them by more than `SLACK`.

    Returns:
      The graph, and float32 arrays in the order of `Graph.weights`.

    Raises:
      UnsupportedError: an operator, attribute, type or version is not in the table.
      CheckpointError: its tensors do not fit their bytes.
    """
    opset, output = _opset(model), _behind_identities(model.graph, output)
    needed, last, softmax = _needed(model.graph, output), last_softmax(model.graph, output), None
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    numbers: dict[str, int] = {images: 0}
    constants: dict[int, Any] = {}
    made: list[Node] = []

    def number_of(name: str) -> int | None:
        if not name:
            return None
        if name not in numbers:
            if name not in tensors:
                raise UnsupportedError(f"the value {name[:80]!r} comes from nowhere")
            constants[len(numbers)] = tensors[name]
            numbers[name] = len(numbers)
        return numbers[name]

    for position in needed:
        node = model.graph.node[position]
        if position == last:
            softmax = len(made)
        if node.op_type == "Constant" and node.domain in _STANDARD:
            number = len(numbers)
            numbers[node.output[0]] = number
            constants[number] = _constant(node)
            continue
        attributes = _checked(node)
        inputs = tuple(number_of(name) for name in node.input)
        outputs = tuple(numbers.setdefault(name, len(numbers)) if name else None for name in node.output)
        if len({*outputs} - {None}) < sum(number is not None for number in outputs) or {*outputs} & {*inputs} - {None}:
            raise UnsupportedError(f"{node.op_type}: it writes over a value")
        made.append(Node(node.op_type, opset, attributes, inputs, outputs))
    if output not in numbers or numbers[output] == 0:
        raise UnsupportedError("its output is not computed")
    known, weights = _arrays(constants, _known_by_need(made), read, size)
    graph = Graph(tuple(made), 0, numbers[output], known, tuple(weights), softmax)
    return graph, list(weights.values())


def last_softmax(graph: Any, output: str) -> int | None:
    """Place of the Softmax that makes an output, among a graph's nodes; behind it the numbers are handed on only."""
    maker = {name: number for number, node in enumerate(graph.node) for name in node.output[:1]}
    for _ in graph.node:
        number = maker.get(output)
        if number is None or graph.node[number].domain not in _STANDARD:
            return None
        if graph.node[number].op_type == "Softmax":
            return number
        if graph.node[number].op_type not in _HAND_ON or not graph.node[number].input:
            return None
        output = graph.node[number].input[0]
    return None


def _behind_identities(graph: Any, name: str) -> str:
    """The value of another node that `Identity` nodes hand on under this name, where they do."""
    made = {each for node in graph.node for each in node.output}
    handed = {
        node.output[0]: node.input[0]
        for node in graph.node
        if node.op_type == "Identity" and len(node.input) == len(node.output) == 1 and node.input[0] in made
    }
    for _ in range(len(handed)):
        name = handed.get(name, name)
    return name


def _opset(model: Any) -> int:
    versions = [entry.version for entry in model.opset_import if entry.domain in _STANDARD]
    opset: int = versions[0] if versions else 1
    if not FIRST_OPSET <= opset <= LATEST_OPSET:
        raise UnsupportedError(f"opset {opset} is not one of {FIRST_OPSET} to {LATEST_OPSET}")
    return opset


def _needed(graph: Any, output: str) -> list[int]:
    """Places of the nodes that an output depends on, in the order of the file."""
    maker = {name: number for number, node in enumerate(graph.node) for name in node.output if name}
    wanted: set[int] = set()
    names = [output]
    while names:
        number = maker.get(names.pop())
        if number is not None and number not in wanted:
            wanted.add(number)
            names += graph.node[number].input
    if len(wanted) > MAX_NODES:
        raise UnsupportedError(f"{len(wanted)} nodes, more than {MAX_NODES}")
    if graph.sparse_initializer:
        raise UnsupportedError("sparse weights")
    return sorted(wanted)


def _checked(node: Any) -> tuple[tuple[str, Any], ...]:
    """The attributes of a node that the table has."""
    name = f"{node.domain}.{node.op_type}" if node.domain not in _STANDARD else node.op_type
    if node.domain not in _STANDARD or node.op_type not in TABLE:
        raise UnsupportedError(f"the operator {name[:80]} is not in the table")
    if max(len(node.input), len(node.output)) > (MAX_MANY_EDGES if node.op_type in _MANY else MAX_EDGES):
        raise UnsupportedError(f"{name} with {len(node.input)} inputs and {len(node.output)} outputs")
    attributes = {}
    for attribute in node.attribute:
        if attribute.name not in TABLE[node.op_type].attributes:
            raise UnsupportedError(f"{name} with the attribute {attribute.name[:80]!r}")
        attributes[attribute.name] = _plain(node.op_type, attribute)
    return tuple(sorted(attributes.items()))


def _plain(operator: str, attribute: Any) -> Any:
    """An attribute as numbers, a string or a tuple."""
    if operator == "ConstantOfShape" and attribute.type == 4:
        return _scalar(attribute.t)
    if attribute.type not in _ATTRIBUTES or attribute.ref_attr_name:
        raise UnsupportedError(f"{operator} with {attribute.name[:80]!r} of another kind than numbers or a string")
    value = getattr(attribute, _ATTRIBUTES[attribute.type])
    if attribute.type == 3:
        return value[:_MAX_ATTRIBUTE].decode(errors="replace")
    if attribute.type in (6, 7):
        if len(value) > _MAX_ATTRIBUTE:
            raise UnsupportedError(f"{operator} with {len(value)} numbers in {attribute.name[:80]!r}")
        return tuple(value)
    return value


def _scalar(tensor: Any) -> tuple[float | int | bool, str]:
    from onnx import numpy_helper

    dtype = type_of(tensor.data_type)
    if list(tensor.dims) not in ([], [1]) or tensor.external_data:
        raise UnsupportedError("ConstantOfShape with more than one value")
    number = numpy_helper.to_array(tensor).reshape(()).item()
    return number, "float32" if dtype.kind not in "fiub" else dtype.name


def _constant(node: Any) -> Any:
    """What a Constant holds: a TensorProto, or an array."""
    if len(node.attribute) != 1 or len(node.output) != 1 or not node.output[0]:
        raise UnsupportedError("Constant without one value")
    (attribute,) = node.attribute
    if attribute.name == "value" and attribute.type == 4:
        return attribute.t
    kinds = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64}
    if attribute.name not in kinds or attribute.type not in _ATTRIBUTES:
        raise UnsupportedError(f"Constant with {attribute.name[:80]!r}")
    return np.array(getattr(attribute, _ATTRIBUTES[attribute.type]), kinds[attribute.name])


def _known_by_need(nodes: list[Node]) -> set[int]:
    """Values that must be known: those that the table says, and what they are computed of, up to shapes."""
    maker = {number: node for node in nodes for number in node.outputs if number is not None}
    todo = [
        number
        for node in nodes
        for position, number in enumerate(node.inputs)
        if number is not None and position in TABLE[node.operator].known
    ]
    found: set[int] = set()
    while todo:
        number = todo.pop()
        if number in found:
            continue
        found.add(number)
        node = maker.get(number)
        if node is not None and node.operator not in ("Shape", "Size"):
            todo += [each for each in node.inputs if each is not None]
    return found


def _arrays(
    constants: Mapping[int, Any], needed: set[int], read: ReadTensor, size: int
) -> tuple[dict[int, np.ndarray], dict[int, np.ndarray]]:
    """The arrays of the file: known ones, and weights in float32."""
    known: dict[int, np.ndarray] = {}
    weights: dict[int, np.ndarray] = {}
    left = size + SLACK
    for number, constant in constants.items():
        if isinstance(constant, np.ndarray):
            array = constant
        else:
            dtype = type_of(constant.data_type)
            left -= math.prod(constant.dims) * dtype.itemsize
            if any(length < 0 for length in constant.dims) or left < 0:
                raise CheckpointError(f"its tensors unpack to far more than its {size} bytes: refused")
            array = read(constant)
        is_weight = array.dtype.kind not in "iub" and array.dtype.itemsize <= 4 and number not in needed
        if not is_weight and array.size > MAX_KNOWN:
            raise UnsupportedError(f"{array.size} numbers of {array.dtype.name} in one constant")
        if is_weight:
            with np.errstate(over="ignore"):
                weights[number] = np.ascontiguousarray(array, np.float32)
        else:
            known[number] = array
    return known, weights
