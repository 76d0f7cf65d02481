"""DenseNet (Huang et al. 2016, arXiv:1608.06993): torchvision's form and naming, which timm shares, and the CIFAR form.

The CIFAR form has a 3x3 stem, mostly three blocks, and comes under hand-written names. pytorch-cifar puts the new
channels before the old ones; pytorch-cifar100 has no ReLU in its transitions; PyTorch_CIFAR10 has torchvision's names,
and its max pool behind the 3x3 stem.
"""

import re
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from xray_jax.models import layers
from xray_jax.models.architecture import Architecture, Inferred, Naming, Renames, Shapes, dim

_POOLED = {"imagenet": "stride 2 and a max pool", "cifar-pool": "stride 1 and a max pool"}
"""Stems with a max pool, and what is assumed of them."""


class DenseLayer(nn.Module):
    """BN-ReLU-conv 1x1, BN-ReLU-conv 3x3: the new channels of one layer.

    Attributes:
      growth: channels out.
      bottleneck: channels between the two convolutions; 0 is one 3x3 convolution alone.
    """

    growth: int
    bottleneck: int

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        norm = layers.batch_norm(train)
        out = nn.relu(norm(name="norm1")(x))
        if not self.bottleneck:
            return nn.Conv(self.growth, (3, 3), padding=1, use_bias=False, name="conv1")(out)
        out = nn.Conv(self.bottleneck, (1, 1), use_bias=False, name="conv1")(out)
        out = nn.relu(norm(name="norm2")(out))
        return nn.Conv(self.growth, (3, 3), padding=1, use_bias=False, name="conv2")(out)


class DenseNet(nn.Module):
    """`apply(variables, images[B, H, W, C]) -> logits[B, num_classes]`.

    Attributes:
      num_classes: number of labels.
      block_sizes: layers in each dense block; a transition halves the size after all but the last.
      growth: channels that each layer adds.
      bottleneck: channels of its 1x1 convolution; 0 without one.
      stem_width: channels of the stem.
      stem: "imagenet": 7x7, stride 2, a norm, then a max pool; "cifar": 3x3, stride 1, neither; "cifar-norm": a norm;
        "cifar-pool": both.
      halved: transitions halve the width too.
      newest_first: a layer's channels come before those it was given.
      transition_relu: transitions have a ReLU behind their norm.
    """

    num_classes: int = 10
    block_sizes: tuple[int, ...] = (6, 12, 36, 24)
    growth: int = 48
    bottleneck: int = 192
    stem_width: int = 96
    stem: str = "imagenet"
    halved: bool = True
    newest_first: bool = False
    transition_relu: bool = True

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        norm = layers.batch_norm(train)
        kernel, stride = (7, 2) if self.stem == "imagenet" else (3, 1)
        padding = kernel // 2
        stem = nn.Conv(
            self.stem_width, (kernel, kernel), stride, padding=padding, use_bias=False, name="features.conv0"
        )
        x = stem(x)
        if self.stem != "cifar":
            x = nn.relu(norm(name="features.norm0")(x))
        if self.stem in _POOLED:
            x = layers.max_pool(x, 3, 2, padding=1)
        for block, size in enumerate(self.block_sizes, 1):
            for layer in range(1, size + 1):
                name = f"features.denseblock{block}.denselayer{layer}"
                new = DenseLayer(self.growth, self.bottleneck, name=name)(x, train)
                x = jnp.concatenate([new, x] if self.newest_first else [x, new], axis=-1)
            if block < len(self.block_sizes):
                name = f"features.transition{block}"
                x = norm(name=f"{name}.norm")(x)
                x = nn.relu(x) if self.transition_relu else x
                width = x.shape[-1] // (2 if self.halved else 1)
                x = nn.Conv(width, (1, 1), use_bias=False, name=f"{name}.conv")(x)
                x = layers.average_pool(x, (2, 2), (2, 2))
        x = nn.relu(norm(name="features.norm5")(x))
        return nn.Dense(self.num_classes, name="classifier")(layers.average(x))


def infer(shapes: Shapes) -> Inferred | None:
    """Reads depth, growth and class count; None when the keys are of another kind of network."""
    first = "features.denseblock1.denselayer1"
    if f"{first}.conv1.weight" not in shapes:
        return None
    sizes: list[int] = []
    while f"features.denseblock{len(sizes) + 1}.denselayer1.conv1.weight" in shapes:
        sizes.append(0)
        while f"features.denseblock{len(sizes)}.denselayer{sizes[-1] + 1}.conv1.weight" in shapes:
            sizes[-1] += 1
    bottlenecked = f"{first}.conv2.weight" in shapes
    transition = "features.transition1.conv.weight"
    small = "cifar-norm" if "features.norm0.weight" in shapes else "cifar"
    stem = "imagenet" if dim(shapes, "features.conv0.weight", 2) == 7 else small
    module = DenseNet(
        num_classes=dim(shapes, "classifier.weight"),
        block_sizes=tuple(sizes),
        growth=dim(shapes, f"{first}.conv{2 if bottlenecked else 1}.weight"),
        bottleneck=dim(shapes, f"{first}.conv1.weight") if bottlenecked else 0,
        stem_width=dim(shapes, "features.conv0.weight"),
        stem=stem,
        halved=dim(shapes, transition) != dim(shapes, transition, 1) or transition not in shapes,
    )
    return Inferred(module, (32, 32, dim(shapes, "features.conv0.weight", 1)), (note(module),))


def note(module: nn.Module) -> str:
    """What is assumed of a `DenseNet`, for rows."""
    assert isinstance(module, DenseNet)
    where = "before" if module.newest_first else "behind"
    relu = "a" if module.transition_relu else "no"
    stem = _POOLED.get(module.stem, "stride 1, no pool")
    return (
        f"assumed, weights do not show it: each layer's channels come {where} those it was given, "
        f"{relu} ReLU in the transitions, the stem has {stem}"
    )


def variants(
    module: nn.Module, own: tuple[int, int, int], shown: tuple[int, int, int], usual: bool = False
) -> tuple[tuple[nn.Module, ...], ...]:
    """The stem's pool, the order of the channels and the transitions' ReLU, in the CIFAR form, written anew by many."""
    assert isinstance(module, DenseNet)
    if module.stem == "imagenet":
        return ()
    orders = (module.newest_first, not module.newest_first)
    written = (
        tuple(module.clone(newest_first=order) for order in orders),
        tuple(module.clone(transition_relu=relu) for relu in (module.transition_relu, not module.transition_relu)),
    )
    if module.stem == "cifar":
        return written
    # Asked first: whoever kept torchvision's norm behind the stem mostly kept its order and transitions, too.
    return (tuple(module.clone(stem=stem) for stem in ("cifar-norm", "cifar-pool")), *written)


def _counted_from_0(match: re.Match[str]) -> str:
    return f"features.denseblock{match[1]}.denselayer{int(match[2]) + 1}."


def _hand_written(norm: str, head: str) -> Renames:
    """The usual names in nets of one file; `norm` and `head` match a transition's norm and the last layer."""
    return (
        (r"^(?:dense|block|dense_?block)_?(\d+)\.(?:layers?\.)?(\d+)\.", _counted_from_0),
        (r"(denselayer\d+)\.bn([12])\.", r"\1.norm\2."),
        (rf"^trans(?:ition)?_?(\d+)\.{norm}\.", r"features.transition\1.norm."),
        (r"^trans(?:ition)?_?(\d+)\.conv1?\.", r"features.transition\1.conv."),
        (r"^conv_?[01]\.", "features.conv0."),
        (r"^(?:bn\d?|norm\d?)\.", "features.norm5."),
        (rf"^{head}\.", "classifier."),
    )


_CIFAR_100: Renames = (
    *((rf"^features\.dense_block_layer_{n}\.bottle_neck_layer_(\d+)\.", rf"dense{n + 1}.\1.") for n in range(3)),
    # The last block has no number of a layer, only its own.
    *((rf"^features\.dense_block{n}\.bottle_neck_layer_(\d+)\.", rf"dense{n + 1}.\1.") for n in range(4)),
    (r"^dense(\d+)\.(\d+)\.", _counted_from_0),
    *((rf"^features\.transition_layer_{n}\.", f"features.transition{n + 1}.") for n in range(3)),
    *((rf"\.bottle_neck\.{at}\.", f".{to}.") for at, to in ((0, "norm1"), (2, "conv1"), (3, "norm2"), (5, "conv2"))),
    *((rf"\.down_sample\.{at}\.", f".{to}.") for at, to in ((0, "norm"), (1, "conv"))),
    (r"^features\.bn\.", "features.norm5."),
    (r"^conv1\.", "features.conv0."),
    (r"^linear\.", "classifier."),
)

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
    head="classifier",
    namings=(
        Naming("torchvision before 0.3", ((r"\.(norm|conv)\.([12])\.", r".\1\2."),)),
        Naming("efficient_densenet_pytorch", ((r"^features\.norm_final\.", "features.norm5."),)),
        Naming("pytorch-cifar", _hand_written("bn", "linear"), fields=(("newest_first", True),)),
        Naming("densenet-pytorch", _hand_written(r"(?:bn|norm)1?", r"(?:linear|fc|classifier)")),
        Naming("pytorch-cifar100", _CIFAR_100, fields=(("transition_relu", False),)),
    ),
    variants=variants,
    note=note,
)
