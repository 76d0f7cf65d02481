"""Keras files of weights alone (`save_weights`), as torch would name and lay them out: a chain that can be recognised.

Their graph is unknown, so layers are told apart by how many arrays of which shapes they have. Two conventions differ
from torch's and are undone here: Keras flattens channels last, and adds 0.001 to a norm's variance where torch adds
0.00001.
"""

import math
import re
from collections.abc import Mapping

import numpy as np

from xray_jax.checkpoints.contents import CheckpointError, Tensors, check_budget
from xray_jax.checkpoints.keras.hdf5 import Node

_EPSILON = 1e-3 - 1e-5
_ROLES = ("kernel", "gamma", "bias", "beta", "moving_mean", "moving_variance")
_NOT_WEIGHTS = re.compile(r"(^|/)(optimizer|optimizer_weights|top_level_model_weights)(/|$)")


def read(root: Node, size: int) -> Tensors:
    """Weights in torch's names and layout, in the order of the layers where the file says it.

    Raises:
      CheckpointError: naming the layer that is no convolution, linear layer or batch norm.
    """
    layers: dict[str, list[np.ndarray]] = {}
    found = _arrays(root)
    # Data sets may lie upon each other, and some are copied below.
    check_budget(found.values(), size)
    for path, array in sorted(found.items(), key=lambda item: _order(item[0])):
        layers.setdefault(_layer(path), []).append(array)
    if not layers:
        raise CheckpointError("it has neither a model_config nor weights; save the whole model with model.save(...)")
    named = root.attributes().get("layer_names")
    if isinstance(named, list):
        first = {str(name): place for place, name in enumerate(named)}
        layers = dict(sorted(layers.items(), key=lambda item: first.get(item[0].split("/")[0], len(first))))
    tensors: dict[str, np.ndarray] = {}
    channels = 0
    for name, arrays in layers.items():
        kernel = arrays[0]
        if [array.ndim for array in arrays] == [1, 1, 1, 1]:
            gamma, beta, mean, variance = arrays
            tensors |= {f"{name}.weight": gamma, f"{name}.bias": beta, f"{name}.running_mean": mean}
            tensors[f"{name}.running_var"] = variance + np.float32(_EPSILON)
            continue
        if kernel.ndim not in (2, 4) or [array.ndim for array in arrays[1:]] not in ([], [1]):
            shapes = [array.shape for array in arrays]
            raise CheckpointError(
                f"it has weights but no model_config (save_weights?), and layer {name!r} with {shapes} is no "
                "convolution, linear layer or batch norm; save the whole model with model.save(...)"
            )
        if kernel.ndim == 4:
            channels = kernel.shape[3]
            tensors[f"{name}.weight"] = kernel.transpose(3, 2, 0, 1)
        else:
            tensors[f"{name}.weight"] = _channels_first(kernel, channels).T
            channels = 0
        if len(arrays) == 2:
            tensors[f"{name}.bias"] = arrays[1]
    note = "a Keras file of weights alone: read as a chain of layers, whose variant is not in the file"
    return Tensors(tensors, "torch", {}, (note,), size)


def _arrays(root: Node) -> Mapping[str, np.ndarray]:
    return {path: node.array() for path, node in root.walk() if not _NOT_WEIGHTS.search(path.replace("\\", "/"))}


def _layer(path: str) -> str:
    parts = path.replace("\\", "/").split("/")[:-1]
    kept = [part for part in parts if part not in ("layers", "vars", "_layer_checkpoint_dependencies")]
    return "/".join(dict.fromkeys(kept)).replace("/", ".")


def _order(path: str) -> tuple[list[tuple[int, str]], int]:
    """Layers as people count; within one kernel and gamma first, then bias and beta, mean, variance."""
    folder, _, leaf = path.replace("\\", "/").rpartition("/")
    role = re.sub(r":\d+$", "", leaf)
    place = int(role) if role.isdigit() else _ROLES.index(role) if role in _ROLES else len(_ROLES)
    natural = [(int(part), "") if part.isdigit() else (-1, part) for part in re.findall(r"\d+|\D+", folder)]
    return natural, place


def _channels_first(kernel: np.ndarray, channels: int) -> np.ndarray:
    """Rows of the first linear layer behind convolutions: from (height, width, channel) to (channel, height, width)."""
    squared, rest = divmod(kernel.shape[0], channels) if channels else (0, 1)
    side = math.isqrt(squared)
    if rest or side * side != squared:
        return kernel
    return kernel.reshape(side, side, channels, -1).transpose(2, 0, 1, 3).reshape(kernel.shape)
