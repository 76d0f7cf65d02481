"""ONNX models: as a JAX program where the table of operators has all that they need, else through onnxruntime.

Before anything runs, `onnx_model` checks the protobuf: only operators of onnxruntime itself are allowed, custom
operator libraries are never registered, and weights in other files must lie in the model's own folder. The format has
no checksum: a damaged weight can go unnoticed.

A graph of the table (`onnx_operators`) is a network like any other: several devices, any batch, gradients. onnxruntime
opens it nevertheless and has to agree on a few images, or else runs it, as a black box; the notes say why.
"""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from xray_jax.checkpoints.bounded_file import Source
from xray_jax.checkpoints.programs import onnx_batch, onnx_graph, onnx_model, onnx_network
from xray_jax.checkpoints.programs.onnx_model import Inspected
from xray_jax.checkpoints.programs.onnx_network import OnnxNetwork
from xray_jax.checkpoints.programs.onnx_operators.node import UnsupportedError
from xray_jax.checkpoints.programs.onnx_session import Output, Session, class_output, open_session
from xray_jax.classifier import BlackBox, Classifier

NAME = "ONNX"
ARCHITECTURE = "onnx graph"
TOLERANCE = 1e-3
"""Share of an image's largest score by which a JAX program may differ from onnxruntime."""
HALF_TOLERANCE = 2e-2
"""The same for models in half precision, whose values onnxruntime rounds."""


def matches(path: Path, head: bytes) -> bool:
    """By suffix, or by the version and the field that follows it: protobuf has no signature."""
    return path.suffix.lower() == ".onnx" or (
        head[:1] == b"\x08" and 1 <= head[1] <= 20 and head[2:3] in (b"\x12", b"\x1a", b"\x22", b"\x3a", b"\x42")
    )


def read(path: Path) -> Classifier | BlackBox:
    """A model that takes one batch of images, and gives class scores, or labels and probabilities.

    Raises:
      CheckpointError: saying what is refused or does not fit, or that the extra `onnx` is not installed.
    """
    inspected = onnx_model.inspect(Source.of(path))
    external = onnx_model.check_external(inspected.locations, path)
    session = open_session(str(path) if external else inspected.data)
    output = class_output(session)
    certain = onnx_model.layout_is_certain(session.entry)
    notes: tuple[str, ...] = () if certain else (f"its image layout is taken to be {session.entry.form}",)
    try:
        return _network(inspected, path, session, output, notes)
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
    )


def _network(inspected: Inspected, path: Path, session: Session, output: Output, notes: tuple[str, ...]) -> Classifier:
    """The graph as a JAX program that agrees with onnxruntime.

    Raises:
      UnsupportedError: saying what the table does not have, or how far apart they are.
      CheckpointError: the graph asks for more memory than any classifier needs.
    """
    if output.labels is not None:
        raise UnsupportedError("it puts out a list of labels and probabilities")
    folder = path.parent
    size = Source.of(path).size + sum(Source.of(folder / location).size for location in inspected.locations)
    graph, weights = onnx_graph.graph_of(
        inspected.model,
        session.name,
        output.name,
        lambda tensor: onnx_model.read_tensor(tensor, folder),
        size,
    )
    network = OnnxNetwork(graph.digest(), session.entry, session.batch == 1, graph)
    batch = None if session.batch == 1 else session.batch
    variables = {"weights": weights}
    if onnx_network.check(network, variables, batch) != output.classes:
        raise UnsupportedError("its number of classes depends on the batch")
    _compare(network, variables, session, output, batch)
    return Classifier(
        network, variables, output.classes, session.entry.shape, ARCHITECTURE, batch_size=batch, notes=notes
    )


def trial_images(shape: tuple[int, int, int], count: int) -> np.ndarray:
    """Random images `[count, H, W, C]` in the ranges that networks take: 0 to 1, standardised, 0 to 255."""
    images = np.random.default_rng(0).uniform(size=(count, *shape)).astype(np.float32)
    images[1::4] = 4 * images[1::4] - 2
    images[3::4] *= 255
    return images


def _compare(network: OnnxNetwork, variables: Any, session: Session, output: Output, batch: int | None) -> None:
    """Runs both on a few images.

    Raises:
      UnsupportedError: they differ.
    """
    images = trial_images(session.entry.shape, batch or 4)
    wanted = session.scores(images, output.name).astype(np.float32)
    try:
        found = np.asarray(onnx_network.compiled(network)(variables, images))
    except jax.errors.JaxRuntimeError as error:
        raise UnsupportedError(f"as a JAX program it does not run ({' '.join(str(error).split())[:200]})") from error
    tolerance = HALF_TOLERANCE if session.dtype is np.float16 else TOLERANCE
    distance = scores_apart(wanted, found)
    if distance > tolerance:
        raise UnsupportedError(f"as a JAX program its scores would be off by up to {distance:.1%} of the largest")


def scores_apart(wanted: np.ndarray, found: np.ndarray) -> float:
    """The largest difference of two `[B, classes]`, as a share of each image's largest score; infinite where only one
    of them is no number.
    """
    finite = np.isfinite(wanted)
    if not np.array_equal(finite, np.isfinite(found)):
        return float("inf")
    with np.errstate(invalid="ignore"):
        apart = np.where(finite, np.abs(wanted - found), 0).max(1)
    largest = np.where(finite, np.abs(wanted), 0).max(1)
    return float(np.max(apart / np.maximum(largest, np.finfo(np.float32).tiny)))


def _opened(inspected: Inspected, session: Session, output: Output) -> tuple[Session, tuple[str, ...]]:
    """The session with an open batch dimension, where the graph allows it, and a note."""
    images = trial_images(session.entry.shape, 5)
    try:
        opened = open_session(onnx_batch.with_open_batch(inspected.model, session.name))
        same = np.array_equal(output.label_fn(opened)(images), output.label_fn(session)(images))
        if (
            opened.batch is None
            and same
            and (
                output.labels is not None
                or scores_apart(session.scores(images, output.name), opened.scores(images, output.name)) <= TOLERANCE
            )
        ):
            return opened, ("its batch dimension of 1 was made open",)
    except Exception:
        # onnxruntime raises its own kinds for a graph that does not allow it.
        pass
    return session, ("its batch dimension of 1 cannot be made open: it is run image by image",)
