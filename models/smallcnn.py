"""Small plain CNNs of backdoor papers: convolutions with ReLU and pooling, then fully connected layers.

BadNets' LeNet-like net, the MNIST net of tutorials, MNTD's shadow models (arXiv:1910.03137). Weights show neither
pooling nor padding nor the image's size; `infer` takes the published net of those keys and shapes, or else the first
usual layout that explains the length of the flattened features, and says so in a note.
"""

import math
import re
from functools import partial

import flax.linen as nn
import jax

from xray_jax.models import layers
from xray_jax.models.architecture import Architecture, Inferred, Naming, Shapes, dim

_POOLS = {"max": nn.max_pool, "avg": nn.avg_pool}


class SmallCNN(nn.Module):
    """`apply(variables, images[B, H, W, C]) -> logits[B, num_classes]`.

    Attributes:
      num_classes: number of labels.
      features: channels of the convolutions `conv1`, `conv2`, ...
      kernel: side of every kernel; stride 1.
      padding: zeros around the image before each convolution.
      pool_after: numbers (from 1) of the convolutions that a 2x2 pooling follows.
      pool: "max" or "avg".
      hidden: widths of the fully connected layers before the last one.
      dense_names: names of all fully connected layers, the last one included; None means fc1, fc2, ...
    """

    num_classes: int = 10
    features: tuple[int, ...] = (32, 64)
    kernel: int = 3
    padding: int = 1
    pool_after: tuple[int, ...] = (1, 2)
    pool: str = "max"
    hidden: tuple[int, ...] = (128,)
    dense_names: tuple[str, ...] | None = None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        for number, width in enumerate(self.features, 1):
            x = nn.relu(nn.Conv(width, (self.kernel, self.kernel), padding=self.padding, name=f"conv{number}")(x))
            if number in self.pool_after:
                x = _POOLS[self.pool](x, (2, 2), (2, 2))
        x = layers.flatten(x)
        widths = (*self.hidden, self.num_classes)
        names = self.dense_names or tuple(f"fc{number}" for number in range(1, len(widths) + 1))
        for name, width in zip(names[:-1], widths[:-1], strict=True):
            x = nn.relu(nn.Dense(width, name=name)(x))
        return nn.Dense(widths[-1], name=names[-1])(x)


_DENSE_NAMES = (("linear", "fc", "output"), ("fc", "output"))
"""MNTD's; numbered names (fc1, fc2, ...) are the default."""


def infer(shapes: Shapes) -> Inferred | None:
    """Reads widths, kernel, channels and class count; padding, pooling and image size from the flattened length."""
    features: list[int] = []
    while width := dim(shapes, f"conv{len(features) + 1}.weight"):
        features.append(width)
    dense_names = next((names for names in _DENSE_NAMES if all(f"{name}.weight" in shapes for name in names)), None)
    names = dense_names or tuple(sorted({key[:-7] for key in shapes if re.fullmatch(r"fc\d\.weight", key)}))
    if not features or not names or any(re.match(r"(bn|layer|block)\d", key) for key in shapes):
        return None
    kernel, channels = dim(shapes, "conv1.weight", 2), dim(shapes, "conv1.weight", 1)
    widths = tuple(dim(shapes, f"{name}.weight") for name in names)
    module = SmallCNN(
        num_classes=widths[-1], features=tuple(features), kernel=kernel, hidden=widths[:-1], dense_names=dense_names
    )
    flat = dim(shapes, f"{names[0]}.weight", 1)
    for side in (28, 32) if channels == 1 else (32, 28):
        for padding in (kernel // 2, 0):
            for pool_after in _pool_layouts(len(features)):
                if flat == features[-1] * _side_after(side, len(features), kernel, padding, pool_after) ** 2:
                    # The only published average pooling among these nets is BadNets'.
                    badnets = (tuple(features), kernel, padding, dense_names) == ((16, 32), 5, 0, None)
                    module = module.clone(padding=padding, pool_after=pool_after, pool="avg" if badnets else "max")
                    where = " and ".join(f"conv{number}" for number in pool_after) or "no layer"
                    note = f"assumed, weights do not show it: ReLU, 2x2 {module.pool} pooling after {where}"
                    return Inferred(module, (side, side, channels), (note,))
    side = math.isqrt(flat // features[-1]) * 4
    return Inferred(module, (side, side, channels))


def _pool_layouts(count: int) -> tuple[tuple[int, ...], ...]:
    every, second = tuple(range(1, count + 1)), tuple(range(2, count + 1, 2))
    # Four convolutions pool in pairs (MNTD, Carlini's nets); fewer pool after each.
    return (second, every, (count,), ()) if count >= 4 else (every, second, (count,), ())


def _side_after(side: int, count: int, kernel: int, padding: int, pool_after: tuple[int, ...]) -> int:
    for number in range(1, count + 1):
        side = side + 2 * padding - kernel + 1
        side = side // 2 if number in pool_after else side
    return max(side, 0)


ARCHITECTURE = Architecture(
    name="smallcnn",
    presets={
        "smallcnn32-64": SmallCNN,
        "badnets-cnn": partial(SmallCNN, features=(16, 32), kernel=5, padding=0, pool="avg", hidden=(512,)),
        "pytorch-mnist-cnn": partial(SmallCNN, padding=0, pool_after=(2,)),
        "lenet5": partial(SmallCNN, features=(6, 16), kernel=5, padding=0, hidden=(120, 84)),
        "mntd-mnist": partial(
            SmallCNN, features=(16, 32), kernel=5, padding=0, hidden=(512,), dense_names=("fc", "output")
        ),
        "mntd-cifar10": partial(
            SmallCNN,
            features=(32, 32, 64, 64),
            pool_after=(2, 4),
            hidden=(256, 256),
            dense_names=("linear", "fc", "output"),
        ),
    },
    infer=infer,
    input_shape=(28, 28, 1),
    naming="conv1, fc1",
    # verazuo's BadNets: each layer is a torch Sequential of the layer, its activation and its pooling.
    namings=(Naming("Sequential layers", ((r"^(conv\d|fc\d)\.0\.", r"\1."),)),),
)
