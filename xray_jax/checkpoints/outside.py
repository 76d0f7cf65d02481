"""What a file holds beside a network: constants of a wrapper, copies of the network, what a loss needs; or layers.

Constants may be left out of what is scanned, layers may not: they would be part of the network.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from xray_jax.checkpoints.contents import CheckpointError
from xray_jax.models import published
from xray_jax.preprocess import Preprocess

_CONSTANT_SIZE, _LISTED, _MAX_DEPTH = 16, 5, 6
_NORMALISATION = re.compile(r"(^|[._])(mean|std|mu|sigma)$")
_DEVIATIONS = {"mean": "std", "mu": "sigma"}
_CRITERION = re.compile(r"(^|[._])(criterion|loss|losses|loss_fn|loss_func|metrics?|acc|accuracy)\d*\.")
"""Names of what training computes behind the network: class weights, counts of hits."""

Tensors = published.Tensors


def without_criteria(tensors: Tensors) -> tuple[dict[str, Any], dict[str, Any]]:
    """(the tensors without what a loss or a metric holds by its name, what that is): vectors and numbers alone."""
    groups: dict[str, list[str]] = {}
    for key in tensors:
        if _CRITERION.search(key):
            groups.setdefault(key.rpartition(".")[0], []).append(key)
    # A linear layer or a norm of such a name is one of the network's.
    dropped = {
        key
        for parent, keys in groups.items()
        if f"{parent}.running_mean" not in tensors and all(len(tensors[key].shape) <= 1 for key in keys)
        for key in keys
    }
    return {key: tensor for key, tensor in tensors.items() if key not in dropped}, {
        key: tensors[key] for key in tensors if key in dropped
    }


def may_lie(key: str, tensor: published.Tensor, inside: Tensors) -> bool:
    """Whether a leaf outside may be no part of the network, by its size; `layers` looks closer where all else fits."""
    return math.prod(tensor.shape) <= _CONSTANT_SIZE or copied(key, tensor, inside) is not None


def copied(key: str, tensor: published.Tensor, inside: Tensors) -> str | None:
    """The key inside the network that has the same name and shape as a leaf outside of it; None without one."""
    parts = key.split(".")
    for start in range(1, min(len(parts), _MAX_DEPTH)):
        name = ".".join(parts[start:])
        if name in inside and tuple(inside[name].shape) == tuple(tensor.shape):
            return name
    return None


def layers(outside: Tensors, inside: Tensors) -> list[str]:
    """Keys outside the network that are neither constants nor copies: of layers that run before or behind it."""
    return [
        key
        for key, tensor in without_criteria(outside)[0].items()
        if not published.is_bookkeeping(key)
        and not _NORMALISATION.search(key)
        # One number, a count of steps or a temperature, changes no label.
        and not (len(tensor.shape) <= 1 and math.prod(tensor.shape) <= 1)
        and copied(key, tensor, inside) is None
    ]


def normalisation(outside: Tensors, channels: int) -> Preprocess | None:
    """What a wrapper does to its images first, where it holds one mean and one deviation, or copies of these."""
    found = set()
    for key, tensor in outside.items():
        folder, mean = _split(key)
        deviation = outside.get(folder + _DEVIATIONS.get(mean, "\0"))
        if deviation is not None and all(math.prod(each.shape) in (1, channels) for each in (tensor, deviation)):
            found.add((_floats(tensor), _floats(deviation)))
    if len(found) != 1:
        return None
    ((means, deviations),) = found
    # Of pixels up to 255, where numbers beyond 1 say so.
    scale = 255 if max(*means, *deviations) > 1 else 1
    try:
        return Preprocess(tuple(mean / scale for mean in means), tuple(each / scale for each in deviations))
    except ValueError:
        return None


def notes(outside: Tensors, inside: Tensors, prefix: str, uncalled: tuple[str, ...], applied: bool) -> tuple[str, ...]:
    """What rows say of the leaves outside a network.

    Args:
      prefix: below which the network lies.
      uncalled: layers in it that are never called.
      applied: whether `normalisation` found what images go through.

    Raises:
      CheckpointError: a copy of the network differs from it.
    """
    found = [f"the prefix {prefix!r} was removed from every leaf"] if prefix else []
    # Before the first of a Sequential nothing comes.
    if re.search(r"(^|\.)\d+\.$", prefix) and re.search(r"(^|\.)[1-9]\d*\.", prefix):
        before = "what else came before it (a resize)" if applied else "what came before it (a resize, a normalisation)"
        found.append(f"the network ran inside a Sequential: {before} is not here")
    unused = list(uncalled)
    for key, tensor in outside.items():
        if _NORMALISATION.search(key) and math.prod(tensor.shape) <= _CONSTANT_SIZE:
            values = ", ".join(f"{value:.4g}" for value in _floats(tensor))
            use = "its preprocessing, where no other is given" if applied else "not applied, give it (--preprocess)"
            found.append(f"the file normalises inside the network, {key} = {values}: {use}")
        elif not published.is_bookkeeping(key):
            same = copied(key, tensor, inside)
            if same and not np.array_equal(np.asarray(tensor), np.asarray(inside[same]), equal_nan=True):
                raise CheckpointError(
                    f"leaves {key} and {prefix}{same} differ: it holds two networks; save the one to scan alone"
                )
            unused.append(key)
    if unused:
        more = f" and {len(unused) - _LISTED} more" if len(unused) > _LISTED else ""
        found.append(f"outside the network and not used: {', '.join(unused[:_LISTED])}{more}")
    return tuple(found)


def refuse_layers(outside: Mapping[str, published.Tensor], inside: Tensors, name: str, prefix: str) -> None:
    """Refuses a network of which layers would be left out.

    Raises:
      CheckpointError: naming them.
    """
    if found := layers(outside, inside):
        shown = ", ".join(f"{key} {tuple(outside[key].shape)}" for key in found[:_LISTED])
        more = f" and {len(found) - _LISTED} more" if len(found) > _LISTED else ""
        raise CheckpointError(
            f"below {prefix!r} it is a {name}, but {shown}{more} lie outside, layers that run before or behind it: "
            "export the whole network to ONNX; if they do not belong to it, save the state dict without them"
        )


def _floats(tensor: published.Tensor) -> tuple[float, ...]:
    numbers = np.asarray(tensor).ravel()
    return tuple(float(value) if np.isrealobj(numbers) else math.nan for value in numbers)


def _split(key: str) -> tuple[str, str]:
    """A key before and behind its last dot or underscore, which stays with what is before it."""
    start = max(key.rfind("."), key.rfind("_")) + 1
    return key[:start], key[start:]
