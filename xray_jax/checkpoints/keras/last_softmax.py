"""The softmax with which most Keras classifiers end, left out: detectors that look inside want logits.

Softmax keeps the order of the classes, so labels stay what they are. Of probabilities near 0 and 1 neither margins nor
gradients say anything.
"""

import math
from collections.abc import Sequence
from typing import Any

_LINEAR = ["linear", {}]
_KEEP_VALUES = ("Activation", "Softmax", "Flatten", "Reshape")
"""Layers behind which the values of a softmax over the classes, or of what it is computed from, come out in order."""


def without_last_softmax(nodes: Sequence[list[Any]], shapes: Sequence[tuple[int, ...]]) -> list[list[Any]]:
    """The nodes of a graph that puts out the scores from which the last softmax would make probabilities.

    Args:
      nodes: [kind, weights' key, settings, inputs] each, the output last; see `KerasNetwork`.
      shapes: of the images and of what each node puts out, batch included.
    """
    nodes, number = list(nodes), len(nodes)
    while number:
        kind, key, settings, inputs = nodes[number - 1]
        function = [kind, settings] if kind == "Softmax" else settings.get("activation", _LINEAR)
        if _over_the_classes(function, shapes[number]):
            kind = "Activation" if kind == "Softmax" else kind
            settings = {**settings, "activation": _LINEAR} if "activation" in settings else {"activation": _LINEAR}
            nodes[number - 1] = [kind, key, settings, inputs]
        elif function != _LINEAR:
            break
        if kind not in _KEEP_VALUES:
            break
        number = inputs[0]
    return nodes


def _over_the_classes(function: Sequence[Any], shape: tuple[int, ...]) -> bool:
    """Whether an activation is a softmax over all numbers of an image: of a last layer, these are the classes."""
    name, settings = function
    if name not in ("softmax", "Softmax"):
        return False
    axes = {axis % len(shape) for axis in settings.get("axes", [-1])}
    return 0 not in axes and math.prod(shape[axis] for axis in axes) == math.prod(shape[1:])
