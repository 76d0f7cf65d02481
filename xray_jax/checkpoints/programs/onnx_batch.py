"""The batch dimension of an ONNX graph that was exported for one image, made open where the graph allows it."""

from typing import Any

_NAME = "batch_opened"


def with_open_batch(model: Any, name: str) -> bytes:
    """The model with an open batch dimension, serialised; whether it computes the same is for the caller to find out.

    The first sizes of its input and outputs become open. Shapes that values computed of the images are brought to, if
    they are constants that begin with 1, begin with 0 instead: as many as there were.

    Args:
      model: a ModelProto with its weights inside; not changed.
      name: of the input that is a batch of one image.
    """
    opened = type(model)()
    opened.CopyFrom(model)
    graph = opened.graph
    del graph.value_info[:]
    for value in (*graph.input, *graph.output):
        if value in graph.output or value.name == name:
            sizes = value.type.tensor_type.shape.dim
            if len(sizes):
                sizes[0].dim_param = _NAME
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.output and len(node.attribute) == 1 and node.attribute[0].type == 4:
            constants[node.output[0]] = node.attribute[0].t
    moving = {name}
    for number, node in enumerate(graph.node):
        if not moving & set(node.input):
            continue
        moving |= set(node.output)
        if node.op_type == "Reshape" and len(node.input) > 1 and node.input[1] in constants:
            _open_reshape(graph, node, constants[node.input[1]], f"{_NAME}_{number}")
    data: bytes = opened.SerializeToString()
    return data


def _open_reshape(graph: Any, node: Any, shape: Any, name: str) -> None:
    """A constant of its own for a Reshape whose shape begins with 1."""
    from onnx import numpy_helper

    sizes = numpy_helper.to_array(shape).reshape(-1).copy()
    if not len(sizes) or sizes[0] != 1 or any(entry.name == "allowzero" and entry.i for entry in node.attribute):
        return
    sizes[0] = 0
    graph.initializer.append(numpy_helper.from_array(sizes, name))
    node.input[1] = name
