"""DenseNet (Huang et al. 2016, arXiv:1608.06993) in torchvision's form and naming, which timm shares."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from xray_jax.models import layers
from xray_jax.models.architecture import Architecture, Inferred, Naming, Shapes, dim


class DenseLayer(nn.Module):
    """BN-ReLU-conv 1x1, BN-ReLU-conv 3x3: the new channels of one layer.

    Attributes:
      growth: channels out.
      bottleneck: channels between the two convolutions.
    """

    growth: int
    bottleneck: int

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        norm = layers.batch_norm(train)
        out = nn.Conv(self.bottleneck, (1, 1), use_bias=False, name="conv1")(nn.relu(norm(name="norm1")(x)))
        out = nn.relu(norm(name="norm2")(out))
        return nn.Conv(self.growth, (3, 3), padding=1, use_bias=False, name="conv2")(out)


class DenseNet(nn.Module):
    """`apply(variables, images[B, H, W, C]) -> logits[B, num_classes]`.

    Attributes:
      num_classes: number of labels.
      block_sizes: layers in each dense block; a transition halves width and size after all but the last.
      growth: channels that each layer adds.
      bottleneck: channels of its 1x1 convolution.
      stem_width: channels of the stem (7x7, stride 2, then a max pool).
    """

    num_classes: int = 10
    block_sizes: tuple[int, ...] = (6, 12, 36, 24)
    growth: int = 48
    bottleneck: int = 192
    stem_width: int = 96

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        norm = layers.batch_norm(train)
        x = nn.Conv(self.stem_width, (7, 7), 2, padding=3, use_bias=False, name="features.conv0")(x)
        x = layers.max_pool(nn.relu(norm(name="features.norm0")(x)), 3, 2, padding=1)
        for block, size in enumerate(self.block_sizes, 1):
            for layer in range(1, size + 1):
                name = f"features.denseblock{block}.denselayer{layer}"
                x = jnp.concatenate([x, DenseLayer(self.growth, self.bottleneck, name=name)(x, train)], axis=-1)
            if block < len(self.block_sizes):
                name = f"features.transition{block}"
                x = nn.relu(norm(name=f"{name}.norm")(x))
                x = nn.Conv(x.shape[-1] // 2, (1, 1), use_bias=False, name=f"{name}.conv")(x)
                x = layers.average_pool(x, (2, 2), (2, 2))
        x = nn.relu(norm(name="features.norm5")(x))
        return nn.Dense(self.num_classes, name="classifier")(layers.average(x))


def infer(shapes: Shapes) -> Inferred | None:
    """Reads depth, growth and class count; None when the keys are of another kind of network."""
    first = "features.denseblock1.denselayer1"
    if f"{first}.conv2.weight" not in shapes:
        return None
    sizes: list[int] = []
    while f"features.denseblock{len(sizes) + 1}.denselayer1.conv1.weight" in shapes:
        sizes.append(0)
        while f"features.denseblock{len(sizes)}.denselayer{sizes[-1] + 1}.conv1.weight" in shapes:
            sizes[-1] += 1
    module = DenseNet(
        num_classes=dim(shapes, "classifier.weight"),
        block_sizes=tuple(sizes),
        growth=dim(shapes, f"{first}.conv2.weight"),
        bottleneck=dim(shapes, f"{first}.conv1.weight"),
        stem_width=dim(shapes, "features.conv0.weight"),
    )
    return Inferred(module, (32, 32, dim(shapes, "features.conv0.weight", 1)))


_GROWTH_32 = partial(DenseNet, growth=32, bottleneck=128, stem_width=64)

ARCHITECTURE = Architecture(
    name="densenet",
    presets={
        "densenet161": DenseNet,
        "densenet121": partial(_GROWTH_32, block_sizes=(6, 12, 24, 16)),
        "densenet169": partial(_GROWTH_32, block_sizes=(6, 12, 32, 32)),
        "densenet201": partial(_GROWTH_32, block_sizes=(6, 12, 48, 32)),
    },
    infer=infer,
    input_shape=(32, 32, 3),
    namings=(Naming("torchvision before 0.3", ((r"\.(norm|conv)\.([12])\.", r".\1\2."),)),),
)
