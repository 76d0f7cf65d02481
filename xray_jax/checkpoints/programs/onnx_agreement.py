"""Whether a JAX program and onnxruntime make the same scores of a few images.

A last Softmax hides what comes before it: behind one that is sure of its class any two programs look alike. So the
scores before it are compared, from a session of its own on the graph without it; and scores count as compared where
they differ from image to image by far more than the two programs do.
"""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from xray_jax.checkpoints.contents import CheckpointError
from xray_jax.checkpoints.programs import onnx_graph, onnx_network
from xray_jax.checkpoints.programs.onnx_network import OnnxNetwork
from xray_jax.checkpoints.programs.onnx_operators.node import UnsupportedError
from xray_jax.checkpoints.programs.onnx_session import Session, open_session

TOLERANCE = 1e-3
"""Share by which a JAX program may differ from onnxruntime: of an image's largest score, and of what images change."""
HALF_TOLERANCE = 2e-2
"""The same for models in half precision, whose values onnxruntime rounds."""
SCALES = (1, 16, 255)
"""Factors of the trial images, in turns until the scores change from image to image."""


def trial_images(shape: tuple[int, int, int], count: int) -> np.ndarray:
    """Random images `[count, H, W, C]` in the ranges that networks take, in turns: 0 to 1 and -2 to 2.

    None from 0 to 255: a softmax of scores so large would show rounding errors as whole probabilities.
    """
    images = np.random.default_rng(0).uniform(size=(count, *shape)).astype(np.float32)
    images[1::2] = 4 * images[1::2] - 2
    return images


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


def scores_session(model: Any, path: Path, session: Session, output: str) -> Session:
    """The session to compare with: without the last Softmax, where there is one.

    Args:
      model: a checked ModelProto.
      path: of its file, beside which its other weights lie.
      session: of all of it.
      output: name of the output that is class scores.

    Raises:
      UnsupportedError: onnxruntime does not give the scores before the Softmax.
    """
    place = onnx_graph.last_softmax(model.graph, output)
    if place is None:
        return session
    without = type(model)()
    without.CopyFrom(model)
    without.graph.node[place].op_type = "Identity"
    del without.graph.node[place].attribute[:]
    try:
        return open_session(without.SerializeToString(), path.parent)
    except (CheckpointError, ValueError) as error:
        raise UnsupportedError(f"the scores before its Softmax cannot be compared ({error})") from error


def check_agreement(network: OnnxNetwork, variables: Any, session: Session, output: str) -> None:
    """Runs both on a few images.

    Args:
      network: the JAX program.
      variables: its weights.
      session: onnxruntime's, without the last Softmax.
      output: name of the scores.

    Raises:
      UnsupportedError: they differ, or nothing is seen of them.
    """
    tolerance = HALF_TOLERANCE if session.dtype is np.float16 else TOLERANCE
    count = 4 if session.batch in (None, 1) else session.batch
    images = trial_images(session.entry.shape, count)
    for scale in SCALES:
        wanted = session.scores(scale * images, output).astype(np.float32)
        try:
            found = np.asarray(onnx_network.compiled(network)(variables, scale * images))
        except jax.errors.JaxRuntimeError as error:
            reason = " ".join(str(error).split())[:200]
            raise UnsupportedError(f"as a JAX program it does not run ({reason})") from error
        distance = scores_apart(wanted, found)
        if distance > tolerance:
            raise UnsupportedError(f"as a JAX program its scores would be off by up to {distance:.1%} of the largest")
        finite = np.isfinite(wanted)
        wanted, found = np.where(finite, wanted, 0), np.where(finite, found, 0)
        if np.abs(wanted - found).max() < tolerance * np.abs(wanted - wanted.mean(0)).max():
            return
    raise UnsupportedError("its scores hardly change from image to image, so no JAX program can be compared")
