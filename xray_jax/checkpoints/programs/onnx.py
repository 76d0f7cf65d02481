"""ONNX models: as a JAX program where the table of operators has all that they need, else through onnxruntime.

Before anything runs, `onnx_model` checks the protobuf: only operators of onnxruntime itself are allowed, custom
operator libraries are never registered, and weights in other files must lie in the model's own folder. The format has
no checksum: a damaged weight can go unnoticed.

A graph of the table (`onnx_operators`) is a network like any other: several devices, any batch, gradients. onnxruntime
opens it nevertheless and has to agree on a few images (`onnx_agreement`), or else runs it, as a black box; the notes
say why. What asks for more memory than any classifier needs is refused before that.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from xray_jax.checkpoints.bounded_file import Source
from xray_jax.checkpoints.contents import CheckpointError
from xray_jax.checkpoints.image_input import ImageInput, image_input
from xray_jax.checkpoints.programs import onnx_agreement, onnx_batch, onnx_graph, onnx_model, onnx_network
from xray_jax.checkpoints.programs.onnx_agreement import scores_apart, trial_images
from xray_jax.checkpoints.programs.onnx_model import Inspected
from xray_jax.checkpoints.programs.onnx_network import OnnxNetwork
from xray_jax.checkpoints.programs.onnx_operators.node import UnsupportedError
from xray_jax.checkpoints.programs.onnx_session import Output, Session, class_output, open_session
from xray_jax.classifier import BlackBox, Classifier

NAME = "ONNX"
SUFFIXES = (".onnx",)
ARCHITECTURE = "onnx graph"
MAX_OUTPUTS = 8
_DOUBLE = 11
"""Number of its `TensorProto.DataType`."""


def matches(path: Path, head: bytes) -> bool:
    """By suffix, or by the version and the field that follows it: protobuf has no signature."""
    return (head != b"" and path.suffix.lower() in SUFFIXES) or (
        head[:1] == b"\x08"
        and b"\x01" <= head[1:2] <= b"\x14"
        and head[2:3] in (b"\x12", b"\x1a", b"\x22", b"\x3a", b"\x42")
    )


def read(path: Path) -> Classifier | BlackBox:
    """A model that takes one batch of images, and gives class scores, or labels and probabilities.

    Raises:
      CheckpointError: saying what is refused or does not fit, or that the extra `onnx` is not installed.
    """
    inspected = onnx_model.inspect(Source.of(path))
    external = onnx_model.check_external(inspected.locations, path)
    programs = _programs(inspected, path)
    session = open_session(str(path) if external else inspected.data)
    output = class_output(session)
    certain = onnx_model.layout_is_certain(session.entry)
    notes: tuple[str, ...] = () if certain else (f"its image layout is taken to be {session.entry.form}",)
    try:
        return _network(programs, session, output, notes, inspected.model, path)
    except UnsupportedError as error:
        notes += (f"run by onnxruntime: {error}",)
    if session.batch == 1 and not external:
        session, more = _opened(inspected, session, output)
        notes += more
    label_fn = output.label_fn(session)
    return BlackBox(
        label_fn,
        output.classes,
        session.entry.shape,
        ARCHITECTURE,
        batch_size=session.batch,
        notes=notes,
        runtime="onnxruntime",
        score_fn=output.score_fn(session),
    )


def parts(path: Path) -> list[Path]:
    """The files beside it that hold weights.

    Raises:
      CheckpointError: as `read` does.
    """
    source = Source.of(path)
    with source.open() as file:
        # Most models name no other file, and need not be parsed to know.
        if source.size <= onnx_model.MAX_BYTES and onnx_model.LOCATION.encode() not in file.read(source.size):
            return []
    locations = onnx_model.inspect(source).locations
    onnx_model.check_external(locations, path)
    return [path.parent / location for location in sorted(locations)]


Program = tuple[OnnxNetwork, Mapping[str, Any], int]
"""A network, its weights and its number of classes."""


def _programs(inspected: Inspected, path: Path) -> dict[str, Program | UnsupportedError]:
    """For each output the JAX program behind it, or why there is none; traced before onnxruntime sees the file.

    Raises:
      CheckpointError: a node makes more than any classifier needs.
    """
    graph, folder = inspected.model.graph, path.parent
    weights = {tensor.name for tensor in graph.initializer}
    images = [value for value in graph.input if value.name not in weights]
    if len(images) != 1 or len(graph.output) > MAX_OUTPUTS:
        return {}
    if images[0].type.tensor_type.elem_type == _DOUBLE:
        reason = UnsupportedError("its images are of double precision, a JAX program computes in float32")
        return {output.name: reason for output in graph.output}
    sizes = [axis.dim_value or None for axis in images[0].type.tensor_type.shape.dim]
    try:
        entry = image_input(sizes[1:], channels_first=True)
    except CheckpointError:
        # Said again where onnxruntime has opened it.
        return {}
    size = Source.of(path).size + sum(Source.of(folder / location).size for location in inspected.locations)
    found: dict[str, Program | UnsupportedError] = {}
    for output in graph.output:
        try:
            found[output.name] = _program(inspected.model, images[0].name, output.name, entry, sizes[0], folder, size)
        except UnsupportedError as error:
            found[output.name] = error
    return found


def _program(
    model: Any, images: str, output: str, entry: ImageInput, batch: int | None, folder: Path, size: int
) -> Program:
    graph, weights = onnx_graph.graph_of(
        model, images, output, lambda tensor: onnx_model.read_tensor(tensor, folder), size
    )
    network, variables = OnnxNetwork(graph.digest(), entry, batch == 1, graph), {"weights": weights}
    return network, variables, onnx_network.check(network, variables, None if batch == 1 else batch)


def _network(
    programs: Mapping[str, Program | UnsupportedError],
    session: Session,
    output: Output,
    notes: tuple[str, ...],
    model: Any,
    path: Path,
) -> Classifier:
    """The JAX program behind an output, which agrees with onnxruntime.

    Raises:
      UnsupportedError: saying what the table does not have, or how far apart they are.
    """
    if output.labels is not None:
        raise UnsupportedError("it puts out a list of labels and probabilities")
    program = programs.get(output.name, UnsupportedError("its inputs and outputs are more than images and scores"))
    if isinstance(program, UnsupportedError):
        raise program
    network, variables, classes = program
    if classes != output.classes or network.entry != session.entry:
        raise UnsupportedError("its number of classes or its input depends on the batch")
    batch = None if session.batch == 1 else session.batch
    scores = onnx_agreement.scores_session(model, path, session, output.name)
    onnx_agreement.check_agreement(network, variables, scores, output.name)
    return Classifier(network, variables, classes, session.entry.shape, ARCHITECTURE, batch_size=batch, notes=notes)


def _opened(inspected: Inspected, session: Session, output: Output) -> tuple[Session, tuple[str, ...]]:
    """The session with an open batch dimension, where the graph allows it, and a note."""
    images = trial_images(session.entry.shape, 5)
    try:
        opened = open_session(onnx_batch.with_open_batch(inspected.model, session.name))
        same = np.array_equal(output.label_fn(opened)(images), output.label_fn(session)(images))
        if same and output.labels is None:
            apart = scores_apart(session.scores(images, output.name), opened.scores(images, output.name))
            same = apart <= onnx_agreement.TOLERANCE
        if opened.batch is None and same:
            return opened, ("its batch dimension of 1 was made open",)
    except Exception:
        # onnxruntime raises its own kinds for a graph that does not allow it.
        pass
    return session, ("its batch dimension of 1 cannot be made open: it is run image by image",)
