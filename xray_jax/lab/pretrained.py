"""Weights that a training begins with in place of drawn ones: of a network trained on another data set."""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from xray_jax import checkpoints
from xray_jax.classifier import Classifier


class PretrainedError(ValueError):
    """The checkpoint is of another network than the one to train; the message names the file and the leaf."""


def begin_with(path: str | Path, drawn: Any) -> Any:
    """The weights that a training begins with.

    Args:
      path: checkpoint of a network of the same architecture, for images of the same size.
      drawn: variables of the network to train, as drawn.

    Returns:
      The checkpoint's variables; of leaves over classes, where it knows another number of them, the drawn ones.

    Raises:
      CheckpointError: the file cannot be read.
      PretrainedError: it is of another network.
    """
    model = checkpoints.load(path)
    if not isinstance(model, Classifier):
        raise PretrainedError(f"{path}: expected a checkpoint of weights to begin with, found a program")
    found = {jax.tree_util.keystr(place): leaf for place, leaf in jax.tree.leaves_with_path(model.variables)}
    wanted, structure = jax.tree.flatten_with_path(drawn)
    names = [jax.tree_util.keystr(place) for place, _ in wanted]
    if other := sorted(set(found) ^ set(names)):
        whose = "the network to train" if other[0] in found else "the checkpoint"
        raise PretrainedError(f"{path}: weights of another network: {whose} has no {other[0]}")
    leaves = [
        _leaf(path, name, np.asarray(found[name]), leaf, model.num_classes)
        for name, (_, leaf) in zip(names, wanted, strict=True)
    ]
    return jax.tree.unflatten(structure, leaves)


def _leaf(path: str | Path, name: str, found: np.ndarray, drawn: Any, classes: int) -> Any:
    if found.shape == drawn.shape:
        return found.astype(drawn.dtype)
    if found.shape[:-1] == drawn.shape[:-1] and found.shape[-1] == classes:
        return drawn
    raise PretrainedError(
        f"{path}: weights of another network: {name} is {found.shape}, and {drawn.shape} in the network to train"
    )
