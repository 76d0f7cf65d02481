"""Networks whose owner replaced the last layer: by a linear layer of another name, or by several.

`fc = Sequential(Dropout, Linear)`, `classifier[1] = Sequential(Linear, ReLU, Linear)`, a `backbone` with an identity
for its last layer and a `head` beside it. The leaves of the new head are known by their shapes: linear layers, and
batch norms before and between them, below names that hold nothing else. The network is recognised with the first of
these layers in the place of its own last one; a norm before that one is computed into it.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from xray_jax.checkpoints.reparametrised import Effective
from xray_jax.models import new_head as model
from xray_jax.models import plain_layers, published
from xray_jax.models.layers import BATCH_NORM_EPSILON
from xray_jax.models.new_head import NewHead
from xray_jax.models.plain_layers import Layer

_MOST = 8
"""Layers of a head."""

_NUMBERED = re.compile(r"((?:.*\.)?)(\d{1,6})\.\w+$")


class Head(NamedTuple):
    """The linear layers in place of a network's last one.

    Attributes:
      first: the first of them, which stands for the network's own last layer.
      layers: the others; () for a layer of another name alone.
      slots: what names say of activations and norms.
      tensors: leaves of `layers` and of the norms behind them, under their names in the file.
      norm: name of a batch norm in front of `first`, which is computed into it; "" without one.
    """

    first: Layer
    layers: tuple[Layer, ...]
    slots: plain_layers.Slots
    tensors: published.Tensors
    norm: str = ""

    def note(self) -> str:
        """What the head is, for rows."""
        said = f"its last layer is {', then '.join(layer.name for layer in (self.first, *self.layers))}"
        return f"{said}; the norm {self.norm} in front is computed into it" if self.norm else said

    def around(self, network: Any) -> NewHead:
        """The network with the other layers behind it."""
        activation = "identity" if self.slots.bare else "relu"
        return NewHead(network, self.layers, self.first.norm, activation, self.slots.norm)

    def joined(self, tensors: published.Tensors) -> published.Tensors:
        """Leaves of the network and of the other layers, under the names of `NewHead`."""
        inner = {model.NETWORK + key: tensor for key, tensor in tensors.items()}
        return inner | {model.HEAD + key: tensor for key, tensor in self.tensors.items()}


def splits(tensors: published.Tensors) -> Iterator[tuple[published.Tensors, published.Tensors]]:
    """(the other leaves, leaves that may be a new head): all names at the top that hold linear layers, or one below."""
    shapes = {key: tuple(t.shape) for key, t in tensors.items() if not published.is_bookkeeping(key)}
    tops: dict[str, dict[str, tuple[int, ...]]] = {}
    belows: dict[str, dict[str, tuple[int, ...]]] = {}
    for key, shape in shapes.items():
        parts = key.split(".")
        tops.setdefault(parts[0], {})[key] = shape
        if len(parts) > 3:
            belows.setdefault(".".join(parts[:2]), {})[key] = shape
    linear = [name for name, leaves in tops.items() if _are_linear(leaves)]
    chosen = [{key for name in linear for key in tops[name]}] if 0 < len(linear) < len(tops) else []
    chosen += [set(leaves) for leaves in belows.values() if _are_linear(leaves)]
    for keys in chosen:
        # Those of a converted file have the names of `NewHead`.
        head = {key.removeprefix(model.HEAD): tensor for key, tensor in tensors.items() if key in keys}
        yield {key: tensor for key, tensor in tensors.items() if key not in keys}, head


def _are_linear(leaves: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether these are linear layers, one at least, and batch norms."""
    kernels = [key for key, shape in leaves.items() if len(shape) == 2]
    if not 0 < len(kernels) <= _MOST or not all(key.endswith(".weight") for key in kernels):
        return False
    normed = {key.removesuffix(".running_mean") for key in leaves if key.endswith(".running_mean")}
    return all(
        len(shape) == 2 or (len(shape) == 1 and (key.endswith(".bias") or key.rpartition(".")[0] in normed))
        for key, shape in leaves.items()
    )


def attached(tensors: published.Tensors, leaves: published.Tensors, last: str) -> tuple[published.Tensors, Head] | None:
    """(the network's leaves with its last layer, the head) for leaves that may be a new head; None where they are not.

    Args:
      tensors: of the network, under its architecture's names; without its last layer, or with it where new layers
        follow that one.
      leaves: that may be the head, under their names in the file.
      last: name of the architecture's last layer; "" where it is not one linear layer.
    """
    if not last:
        return None
    own = {part: tensors[f"{last}.{part}"] for part in ("weight", "bias") if f"{last}.{part}" in tensors}
    leaves, norm = (leaves, "") if own else _without_first_norm(leaves)
    # The new layers may have its name, too.
    name = last if f"{last}.weight" not in leaves else model.NETWORK + last
    shapes = {f"{name}.{part}": tuple(tensor.shape) for part, tensor in own.items()}
    shapes |= {key: tuple(tensor.shape) for key, tensor in leaves.items()}
    chain = plain_layers.read(shapes)
    if chain is None or chain[1]:
        return None
    first, *others = chain[2]
    kept = {key: tensor for key, tensor in leaves.items() if key not in (f"{first.name}.weight", f"{first.name}.bias")}
    if own:
        if first.name != name or not others:
            return None
    else:
        parts = ("weight", "bias") if first.bias else ("weight",)
        tensors = {**tensors, **{f"{last}.{part}": leaves[f"{first.name}.{part}"] for part in parts}}
    if (others or [first])[-1].norm:
        return None
    return tensors, Head(first, tuple(others), plain_layers.slots(chain[2], 0), kept, norm)


def _without_first_norm(leaves: published.Tensors) -> tuple[published.Tensors, str]:
    """(leaves with the batch norm in front of the first linear layer computed into that layer, the norm's name).

    As they are, with "", where neither the numbers of a Sequential nor the order of the file say that one is first.
    Nothing is assumed to lie between the two but a dropout.
    """
    numbered = sorted((int(match[2]), match[1]) for match in map(_NUMBERED.match, leaves) if match)
    places = list(dict.fromkeys(key.rpartition(".")[0] for key in leaves))
    if len(numbered) == len(leaves) and len({parent for _, parent in numbered}) == 1:
        places = list(dict.fromkeys(f"{parent}{number}" for number, parent in numbered))
    elif list(leaves) == sorted(leaves):
        # A format that sorts names: layers were defined in another order.
        return leaves, ""
    if len(places) < 2:
        return leaves, ""
    norm, first = places[:2]
    weight, mean = leaves.get(f"{first}.weight"), leaves.get(f"{norm}.running_mean")
    if weight is None or mean is None or len(weight.shape) != 2 or tuple(mean.shape) != tuple(weight.shape[1:]):
        return leaves, ""
    parts = {part: leaves.get(f"{norm}.{part}") for part in ("running_var", "weight", "bias")}
    if any(tuple(part.shape) != tuple(mean.shape) for part in parts.values() if part is not None):
        return leaves, ""
    if parts["running_var"] is None:
        return leaves, ""
    ones, zeros = np.ones(mean.shape, np.float32), np.zeros(mean.shape, np.float32)
    scale = parts["running_var"], ones if parts["weight"] is None else parts["weight"]
    shift = mean, zeros if parts["bias"] is None else parts["bias"]
    bias = leaves.get(f"{first}.bias", np.zeros(weight.shape[:1], np.float32))
    folded = {
        f"{first}.weight": Effective(_scaled, weight, *scale),
        f"{first}.bias": Effective(_shifted, bias, weight, *scale, *shift),
    }
    return {**{key: leaf for key, leaf in leaves.items() if not key.startswith(f"{norm}.")}, **folded}, norm


def _scaled(weight: np.ndarray, variance: np.ndarray, scale: np.ndarray) -> np.ndarray:
    return weight * (scale / np.sqrt(variance + BATCH_NORM_EPSILON))


def _shifted(
    bias: np.ndarray, weight: np.ndarray, variance: np.ndarray, scale: np.ndarray, mean: np.ndarray, shift: np.ndarray
) -> np.ndarray:
    return bias + weight @ (shift - mean * scale / np.sqrt(variance + BATCH_NORM_EPSILON))
