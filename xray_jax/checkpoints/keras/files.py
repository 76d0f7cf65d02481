"""Keras files: `.keras` (a zip) and `.h5`, written by Keras 1, 2 or 3. A JSON graph and arrays; nothing is executed.

The forward pass is built from this package's own versions of the standard layers: neither Keras nor TensorFlow is
needed. Zip members are checked against their CRC. An HDF5 file has no checksum of its arrays, so a damaged weight in
a bare `.h5` shows only if it is not finite.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from xray_jax.checkpoints.archive import MAGIC, Archive
from xray_jax.checkpoints.bounded_file import Source
from xray_jax.checkpoints.contents import CheckpointError, Tensors, check_budget, parse_json
from xray_jax.checkpoints.keras import graph as keras_graph
from xray_jax.checkpoints.keras import hdf5, weights_only
from xray_jax.checkpoints.keras import weights as keras_weights
from xray_jax.classifier import Classifier

NAME = "Keras"
SUFFIXES = (".keras", ".h5", ".hdf5")

_CONFIG, _METADATA, _WEIGHTS = "config.json", "metadata.json", "model.weights.h5"


def matches(path: Path, head: bytes) -> bool:
    """An HDF5 file, or a zip with Keras's members."""
    if head.startswith(hdf5.SIGNATURE):
        return True
    if not head.startswith(MAGIC):
        return False
    # Keras writes this member first: seen here, a file cut off later is a damaged Keras file and not an unknown one.
    if head[30:].startswith((_METADATA.encode(), _CONFIG.encode())):
        return True
    try:
        return {_CONFIG, _METADATA} <= set(Archive(path).members)
    except CheckpointError:
        return False


def read(path: Path) -> Classifier | Tensors:
    """A model with its weights in float32, and the identity `Preprocess`; weights where the file has nothing else.

    The model puts out logits: a softmax at its end is left out.

    Raises:
      CheckpointError: naming what is damaged, custom or not supported.
    """
    source = Source.of(path)
    if source.read(0, min(4, source.size)).tobytes() == MAGIC:
        return _read_zip(path)
    return _read_h5(source.read(0, source.size))


def _read_zip(path: Path) -> Classifier:
    archive = Archive(path)
    if _WEIGHTS not in archive.members:
        raise CheckpointError(f"no {_WEIGHTS} in it; save it with Keras's default weights format")
    metadata = parse_json(archive.read(_METADATA).tobytes(), _METADATA)
    version = _major(metadata.get("keras_version") if isinstance(metadata, Mapping) else None, 3)
    graph = keras_graph.build(parse_json(archive.read(_CONFIG).tobytes(), _CONFIG), version)
    expected, classes = graph.network.expected()
    weights = hdf5.File(archive.read(_WEIGHTS))
    found = keras_weights.from_keras3(weights.root, graph.tree, expected)
    return _classifier(graph, expected, classes, found, archive.source.size)


def _read_h5(data: np.ndarray) -> Classifier | Tensors:
    file = hdf5.File(data)
    attributes = file.root.attributes()
    config = attributes.get("model_config")
    if not isinstance(config, str):
        return weights_only.read(file.root, len(data))
    if "model_weights" not in file.root:
        raise CheckpointError("it has a model_config but no model_weights; save the whole model with model.save(...)")
    group = file.root["model_weights"]
    stored = {**attributes, **group.attributes()}
    version = _major(stored.get("keras_version"), 1)
    graph = keras_graph.build(parse_json(config.encode(), "model_config"), version)
    expected, classes = graph.network.expected()
    found = keras_weights.from_legacy(group, graph.tree, expected)
    if stored.get("backend") == "theano":
        found = _from_theano(found, expected)
    elif version == 1:
        found = _from_keras1(found, expected)
    return _classifier(graph, expected, classes, found, len(data))


def _from_theano(found: keras_weights.Found, expected: keras_weights.Expected) -> keras_weights.Found:
    """Theano's convolution flips its kernels in space; every other backend correlates."""
    found = _from_keras1(found, expected)
    for key, weights in found.items():
        if "depthwise_kernel" in weights:
            raise CheckpointError("a depthwise convolution written on Theano: its orientation is not known; refused")
        if key.startswith("conv2d"):
            weights["kernel"] = weights["kernel"][::-1, ::-1]
    return found


def _from_keras1(found: keras_weights.Found, expected: keras_weights.Expected) -> keras_weights.Found:
    """Keras 1 with Theano's dimension order stores kernels as (out, in, height, width)."""
    for key, weights in found.items():
        kernel = weights.get("kernel")
        if kernel is not None and kernel.ndim == 4 and kernel.shape != expected[key]["kernel"]:
            weights["kernel"] = kernel.transpose(2, 3, 1, 0)
    return found


def _classifier(
    graph: keras_graph.Graph,
    expected: keras_weights.Expected,
    classes: int,
    found: keras_weights.Found,
    size: int,
) -> Classifier:
    wrong = [
        f"{key}/{role}: expected {list(shape)}, the file has {list(found[key][role].shape)}"
        for key, roles in expected.items()
        for role, shape in roles.items()
        if found[key][role].shape != shape
    ]
    if wrong:
        raise CheckpointError("weights do not fit the graph: " + "; ".join(wrong[:20]))
    check_budget((array for roles in found.values() for array in roles.values()), size)
    variables: dict[str, dict[str, np.ndarray]] = {
        key: {role: _float32(f"{key}/{role}", array) for role, array in found[key].items() if not role.startswith("_")}
        for key, roles in expected.items()
        if roles
    }
    notes = tuple(
        f"trained with dtype policy {policy}; computed in the precision of the scan"
        for policy in sorted(graph.policies - {"float32"})
    )
    return Classifier(graph.network.logits(), variables, classes, graph.input_shape, "keras graph", notes=notes)


def _float32(leaf: str, array: np.ndarray) -> np.ndarray:
    if array.dtype.kind not in "fV":
        raise CheckpointError(f"leaf {leaf}: expected floating-point weights, got {array.dtype}")
    # An overflow is reported below, by name.
    with np.errstate(over="ignore"):
        copied = np.array(array, np.float32, order="C")
    if not np.isfinite(copied).all():
        raise CheckpointError(f"weights contain NaN/inf in leaf {leaf}: training diverged, or the file is damaged")
    return copied


def _major(version: Any, default: int) -> int:
    match = re.match(r"\d+", str(version))
    return int(match[0]) if match else default
