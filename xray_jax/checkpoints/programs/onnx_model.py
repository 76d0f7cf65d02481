"""What an ONNX file asks for, found from its protobuf alone, without onnxruntime and without its schema library.

Protobuf's wire format is a list of (field number, value); the numbers are those of `onnx.proto`. Only what decides
whether a model may be opened is looked at.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath

from xray_jax.checkpoints.contents import CheckpointError
from xray_jax.checkpoints.image_input import ImageInput

_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})
_REFUSED = frozenset({"EPContext", "ATen", "PythonOp", "PythonOpGrad"})
"""Operators that carry compiled code, or call into another runtime."""

MAX_DEPTH = 40
_MODEL_GRAPH, _MODEL_FUNCTIONS = 7, 25
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_SPARSE = 1, 5, 15
_FUNCTION_NODE, _FUNCTION_DOMAIN = 7, 10
_NODE_OP, _NODE_ATTRIBUTE, _NODE_DOMAIN = 4, 5, 7
_ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS, _ATTRIBUTE_SPARSE = (5, 10), (6, 11), (22, 23)
_SPARSE_TENSORS = (1, 2)
_TENSOR_EXTERNAL, _TENSOR_LOCATION = 13, 14


@dataclass
class Wanted:
    """Attributes:
    operators: (domain, operator) that the graph and its functions use.
    files: locations of weights outside of the file.
    own_domains: those of functions that the file defines itself.
    """

    operators: set[tuple[str, str]] = field(default_factory=set)
    files: set[str] = field(default_factory=set)
    own_domains: set[str] = field(default_factory=set)


def inspect(data: bytes) -> Wanted:
    """Walks a serialised ModelProto.

    Raises:
      CheckpointError: when it is damaged, or uses operators that are not onnxruntime's own.
    """
    wanted = Wanted()
    graphs = 0
    for number, value in _fields(memoryview(data)):
        if number == _MODEL_GRAPH:
            graphs += 1
            _graph(_message(value), wanted, 0)
        elif number == _MODEL_FUNCTIONS:
            _function(_message(value), wanted)
    if graphs != 1:
        raise CheckpointError(f"damaged ONNX: {graphs} graphs in it, expected one")
    custom = sorted(
        f"{domain}.{operator}".strip(".")
        for domain, operator in wanted.operators
        if domain not in _DOMAINS | wanted.own_domains or operator in _REFUSED
    )
    if custom:
        raise CheckpointError(f"it uses custom operators ({', '.join(custom[:10])}), which are never loaded: refused")
    return wanted


def check_external(wanted: Wanted, path: Path) -> bool:
    """Whether weights lie in other files, all of them inside the model's folder.

    Raises:
      CheckpointError: naming a location that leaves the folder or is missing.
    """
    folder = Path(os.path.realpath(path.parent))
    for location in sorted(wanted.files):
        parts = PurePosixPath(location).parts + PureWindowsPath(location).parts
        outside = PurePosixPath(location).is_absolute() or PureWindowsPath(location).drive or ".." in parts
        target = Path(os.path.realpath(folder / location))
        if outside or not location or not target.is_relative_to(folder):
            raise CheckpointError(f"its weights are to be read from {location!r}, outside of its own folder: refused")
        if not target.is_file():
            raise CheckpointError(f"its weights are in {location!r}, which is missing; put it beside the model")
    return bool(wanted.files)


def layout_is_certain(entry: ImageInput) -> bool:
    """Whether only one of height-width-channels and channels-height-width fits the input's sizes."""
    height, _, channels = entry.shape
    return len({height, channels} & {1, 3, 4}) == 1 and height != channels


def _graph(data: memoryview, wanted: Wanted, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise CheckpointError(f"graphs nested more than {MAX_DEPTH} deep: refused")
    for number, value in _fields(data):
        if number == _GRAPH_NODE:
            _node(_message(value), wanted, depth)
        elif number == _GRAPH_INITIALIZER:
            _tensor(_message(value), wanted)
        elif number == _GRAPH_SPARSE:
            _sparse(_message(value), wanted)


def _function(data: memoryview, wanted: Wanted) -> None:
    for number, value in _fields(data):
        if number == _FUNCTION_NODE:
            _node(_message(value), wanted, 0)
        elif number == _FUNCTION_DOMAIN:
            wanted.own_domains.add(_text(value))


def _node(data: memoryview, wanted: Wanted, depth: int) -> None:
    domain = operator = ""
    for number, value in _fields(data):
        if number == _NODE_OP:
            operator = _text(value)
        elif number == _NODE_DOMAIN:
            domain = _text(value)
        elif number == _NODE_ATTRIBUTE:
            for kind, inner in _fields(_message(value)):
                if kind in _ATTRIBUTE_TENSORS:
                    _tensor(_message(inner), wanted)
                elif kind in _ATTRIBUTE_GRAPHS:
                    _graph(_message(inner), wanted, depth + 1)
                elif kind in _ATTRIBUTE_SPARSE:
                    _sparse(_message(inner), wanted)
    wanted.operators.add((domain, operator))


def _sparse(data: memoryview, wanted: Wanted) -> None:
    for number, value in _fields(data):
        if number in _SPARSE_TENSORS:
            _tensor(_message(value), wanted)


def _tensor(data: memoryview, wanted: Wanted) -> None:
    outside, location = False, ""
    for number, value in _fields(data):
        if number == _TENSOR_LOCATION:
            outside = outside or value == 1
        elif number == _TENSOR_EXTERNAL:
            entry = {kind: _text(inner) for kind, inner in _fields(_message(value)) if kind in (1, 2)}
            outside = True
            if entry.get(1) == "location":
                location = entry.get(2, "")
    if outside:
        wanted.files.add(location)


def _message(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise CheckpointError("damaged ONNX: a number where a message should be")
    return value


def _text(value: int | memoryview) -> str:
    return bytes(_message(value)).decode("utf-8", "replace")


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """(field number, number or bytes) of one message."""
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        wire = key & 7
        if wire == 0:
            value, position = _varint(data, position)
            yield key >> 3, value
            continue
        if wire == 2:
            size, position = _varint(data, position)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise CheckpointError(f"damaged ONNX: an unknown kind of field at {position}")
        if size > len(data) - position:
            raise CheckpointError("damaged or truncated ONNX: a field runs over its end; copy it again")
        yield key >> 3, data[position : position + size]
        position += size


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            break
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise CheckpointError("damaged or truncated ONNX: a number without an end; copy it again")
