"""Networks whose owner replaced the last layer: by a linear layer of another name, or by several.

`fc = Sequential(Dropout, Linear)`, `classifier[1] = Sequential(Linear, ReLU, Linear)`, a `backbone` with an identity
for its last layer and a `head` beside it. The leaves of the new head are known by their shapes: linear layers, and
batch norms between them, below names that hold nothing else. The network is recognised with the first of these layers
in the place of its own last one.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from xray_jax.models import new_head as model
from xray_jax.models import plain_layers, published
from xray_jax.models.new_head import NewHead
from xray_jax.models.plain_layers import Layer

_MOST = 8
"""Layers of a head."""


class Head(NamedTuple):
    """The linear layers in place of a network's last one.

    Attributes:
      first: the first of them, which stands for the network's own last layer.
      layers: the others; () for a layer of another name alone.
      slots: what names say of activations and norms.
      tensors: leaves of `layers` and of all norms, under their names in the file.
    """

    first: Layer
    layers: tuple[Layer, ...]
    slots: plain_layers.Slots
    tensors: published.Tensors

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
    return tensors, Head(first, tuple(others), plain_layers.slots(chain[2], 0), kept)
