"""A published network with several linear layers in place of its last one, as those who fine-tune it write it.

The first of them is the network's own last layer, of another width; the others follow behind an activation. Names and
shapes show the layers (`plain_layers`); the activation and the place of batch norms they mostly do not.
"""

import flax.linen as nn
import jax

from xray_jax.models import layers
from xray_jax.models.plain import ACTIVATIONS
from xray_jax.models.plain_layers import Layer

NETWORK, HEAD = "backbone.", "new_head."
"""What the names of the network's leaves and of the other layers' begin with."""


class NewHead(nn.Module):
    """`apply(variables, images[B, H, W, C]) -> logits[B, num_classes]`.

    Attributes:
      network: gives the features behind the head's first layer; its `num_classes` is how many.
      layers: the linear layers that follow.
      first_norm: name of the batch norm behind the first layer, "" without one.
      activation: behind every layer but the last, one of `plain.ACTIVATIONS`; "identity" is none.
      norm: whether batch norms lie "before" or "after" the activation.
    """

    network: nn.Module
    layers: tuple[Layer, ...]
    first_norm: str = ""
    activation: str = "relu"
    norm: str = "before"

    @property
    def num_classes(self) -> int:
        """Number of labels, the width of the last layer."""
        return self.layers[-1].width

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        x = self.network.clone(parent=self, name=NETWORK[:-1])(x, train)
        x = self._activate(x, self.first_norm, train)
        for layer in self.layers[:-1]:
            x = self._activate(self._dense(layer)(x), layer.norm, train)
        return self._dense(self.layers[-1])(x)

    def _dense(self, layer: Layer) -> nn.Dense:
        return nn.Dense(layer.width, use_bias=layer.bias, name=HEAD + layer.name)

    def _activate(self, x: jax.Array, norm: str, train: bool) -> jax.Array:
        activation = ACTIVATIONS[self.activation]
        if not norm:
            return activation(x)
        normed = layers.batch_norm(train)(name=HEAD + norm)
        return activation(normed(x)) if self.norm == "before" else normed(activation(x))


def note(module: NewHead) -> str:
    """What is assumed of the new layers, for rows."""
    activation = {"relu": "ReLU", "identity": "no activation"}.get(module.activation, module.activation)
    normed = module.first_norm or any(layer.norm for layer in module.layers)
    where = f", norms {module.norm} it" if normed else ""
    return f"{activation} between the layers of its new head{where}"


def variants(module: NewHead) -> tuple[tuple[NewHead, ...], ...]:
    """Other activations between the new layers, and norms on their other side."""
    names = (module.activation, *(name for name in ACTIVATIONS if name != module.activation))
    axes = [tuple(module.clone(activation=name) for name in names)]
    if module.first_norm or any(layer.norm for layer in module.layers):
        axes.append(tuple(module.clone(norm=place) for place in dict.fromkeys((module.norm, "before", "after"))))
    return tuple(axes)
