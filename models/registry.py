"""All architectures, by family and preset name."""

from collections.abc import Callable

import flax.linen as nn

from xray_jax.models import (
    alexnet,
    beit,
    clip,
    convnext,
    densenet,
    dla,
    dpn,
    efficientnet,
    efficientnetv2,
    encoder_vit,
    googlenet,
    inceptionv3,
    maxvit,
    mnasnet,
    mobilenetv1,
    mobilenetv2,
    mobilenetv3,
    plain,
    pnasnet,
    preactresnet,
    regnet,
    resnet,
    resnet9,
    shufflenet,
    shufflenetv2,
    spatial_transformer,
    squeezenet,
    swin,
    swinv2,
    vgg,
    vit,
    wideresnet,
)
from xray_jax.models.architecture import Architecture

ARCHITECTURES: tuple[Architecture, ...] = (
    preactresnet.ARCHITECTURE,
    resnet.ARCHITECTURE,
    resnet9.ARCHITECTURE,
    wideresnet.ARCHITECTURE,
    vgg.ARCHITECTURE,
    alexnet.ARCHITECTURE,
    squeezenet.ARCHITECTURE,
    mobilenetv1.ARCHITECTURE,
    mobilenetv2.ARCHITECTURE,
    mobilenetv3.ARCHITECTURE,
    mnasnet.ARCHITECTURE,
    efficientnet.ARCHITECTURE,
    efficientnetv2.ARCHITECTURE,
    shufflenet.ARCHITECTURE,
    shufflenetv2.ARCHITECTURE,
    regnet.ARCHITECTURE,
    googlenet.ARCHITECTURE,
    inceptionv3.ARCHITECTURE,
    densenet.ARCHITECTURE,
    dla.ARCHITECTURE,
    dpn.ARCHITECTURE,
    pnasnet.ARCHITECTURE,
    convnext.ARCHITECTURE,
    swin.ARCHITECTURE,
    swinv2.ARCHITECTURE,
    maxvit.ARCHITECTURE,
    beit.ARCHITECTURE,
    vit.ARCHITECTURE,
    clip.ARCHITECTURE,
    encoder_vit.ARCHITECTURE,
    spatial_transformer.ARCHITECTURE,
    plain.ARCHITECTURE,
)
"""In the order in which recognition tries them."""


def names() -> list[str]:
    """Every family and preset name, sorted: what `--architecture` takes."""
    return sorted({name for family in ARCHITECTURES for name in (family.name, *family.presets)})


def lookup(name: str) -> tuple[Architecture, Callable[..., nn.Module] | None]:
    """The family called `name` (and None), or the family that has the preset `name` and the preset's constructor.

    Options behind the name (`models.options`) are left out.

    Raises:
      ValueError: an unknown name, with the known ones.
    """
    name = name.partition(":")[0]
    for family in ARCHITECTURES:
        if name == family.name:
            return family, None
        if name in family.presets:
            return family, family.presets[name]
    raise ValueError(f"unknown architecture {name!r}; known: {', '.join(names())}")


def build(name: str, num_classes: int) -> nn.Module:
    """The network of a preset, or of the first preset of a family, for `num_classes` labels."""
    family, preset = lookup(name)
    return (preset or next(iter(family.presets.values())))(num_classes=num_classes)
