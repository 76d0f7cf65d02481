"""AlexNet (Krizhevsky 2014, arXiv:1404.5997): torchvision's, and its CIFAR form with one linear layer.

`features` is a torch Sequential without norms. The first kernel is 11x11 with a stride of 4, which weights do not show.
"""

import re
from collections.abc import Sequence
from functools import partial

import flax.linen as nn
import jax

from xray_jax.models import layers
from xray_jax.models.architecture import Architecture, Inferred, Shapes, dim

_CONVOLUTIONS = (0, 3, 6, 8, 10)
"""Their numbers in `features`; poolings follow the first, the second and the last."""
_KERNELS, _PADDINGS = (11, 5, 3, 3, 3), (2, 2, 1, 1, 1)
_POOLED = (0, 3, 10)
_LINEAR = (1, 4, 6)
_SIDE = 6
NOTE = "assumed, weights do not show it: AlexNet's strides, paddings and poolings"


class AlexNet(nn.Module):
    """`apply(variables, images[B, H, W, C]) -> logits[B, num_classes]`.

    Attributes:
      num_classes: number of labels.
      widths: of the five convolutions.
      hidden: widths of the linear layers before the last one, behind a 6x6 adaptive pool; () is the CIFAR form, whose
        one `classifier` follows the last pooling. Its first convolution is padded by 5, and it pools 2x2, not 3x3.
    """

    num_classes: int = 10
    widths: Sequence[int] = (64, 192, 384, 256, 256)
    hidden: tuple[int, ...] = (4096, 4096)

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        for number, width, kernel, padding in zip(_CONVOLUTIONS, self.widths, _KERNELS, _PADDINGS, strict=True):
            stride = 4 if number == 0 else 1
            if number == 0 and not self.hidden:
                padding = 5
            x = nn.relu(nn.Conv(width, (kernel, kernel), stride, padding=padding, name=f"features.{number}")(x))
            if number in _POOLED:
                x = layers.max_pool(x, 3 if self.hidden else 2, 2)
        if not self.hidden:
            return nn.Dense(self.num_classes, name="classifier")(layers.flatten(x))
        x = layers.flatten(layers.adaptive_average_pool(x, _SIDE))
        for position, width in zip(_LINEAR, self.hidden, strict=False):
            x = nn.relu(nn.Dense(width, name=f"classifier.{position}")(x))
        return nn.Dense(self.num_classes, name=f"classifier.{_LINEAR[-1]}")(x)


def infer(shapes: Shapes) -> Inferred | None:
    """Reads widths and class count; None where the numbers in the keys, or the kernels, are not AlexNet's."""
    found = {int(m[1]): shapes[m[0]][2] for key in shapes if (m := re.fullmatch(r"features\.(\d+)\.weight", key))
             and len(shapes[m[0]]) == 4}  # fmt: skip
    if found != dict(zip(_CONVOLUTIONS, _KERNELS, strict=True)):
        return None
    widths = tuple(dim(shapes, f"features.{number}.weight") for number in _CONVOLUTIONS)
    channels = dim(shapes, "features.0.weight", 1)
    if "classifier.weight" in shapes:
        module = AlexNet(dim(shapes, "classifier.weight"), widths, ())
        return Inferred(module, (32, 32, channels), (NOTE,))
    hidden = tuple(dim(shapes, f"classifier.{number}.weight") for number in _LINEAR[:-1])
    module = AlexNet(dim(shapes, f"classifier.{_LINEAR[-1]}.weight"), widths, hidden)
    return Inferred(module, (224, 224, channels), (NOTE,))


ARCHITECTURE = Architecture(
    name="alexnet",
    presets={"alexnet-cifar": partial(AlexNet, hidden=())},
    infer=infer,
    input_shape=(32, 32, 3),
)
