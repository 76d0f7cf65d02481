"""Gradients of a logit with respect to the image, against central finite differences in double precision."""

from collections.abc import Iterator

import flax.linen as nn
import jax
import numpy as np
import pytest

from tests import gradients
from xray_jax.models import ARCHITECTURES
from xray_jax.models.alexnet import AlexNet
from xray_jax.models.beit import Beit
from xray_jax.models.clip import ImageTower
from xray_jax.models.convnext import ConvNeXt
from xray_jax.models.densenet import DenseNet
from xray_jax.models.dla import DLA
from xray_jax.models.dpn import DPN
from xray_jax.models.efficientnet import EfficientNet
from xray_jax.models.efficientnetv2 import EfficientNetV2
from xray_jax.models.encoder_vit import EncoderViT
from xray_jax.models.googlenet import GoogLeNet
from xray_jax.models.inceptionv3 import InceptionV3
from xray_jax.models.maxvit import MaxViT
from xray_jax.models.mnasnet import MNASNet
from xray_jax.models.mobilenetv1 import MobileNetV1
from xray_jax.models.mobilenetv2 import MobileNetV2
from xray_jax.models.mobilenetv3 import MobileNetV3
from xray_jax.models.new_head import NewHead
from xray_jax.models.plain import ACTIVATIONS, small
from xray_jax.models.plain_layers import Layer
from xray_jax.models.pnasnet import PNASNet
from xray_jax.models.preactresnet import PreActResNet
from xray_jax.models.regnet import RegNet
from xray_jax.models.resnet import ResNet
from xray_jax.models.resnet9 import ResNet9
from xray_jax.models.shufflenet import ShuffleNet
from xray_jax.models.shufflenetv2 import ShuffleNetV2
from xray_jax.models.spatial_transformer import SpatialTransformer
from xray_jax.models.squeezenet import SqueezeNet
from xray_jax.models.swin import SwinTransformer
from xray_jax.models.swinv2 import SwinTransformerV2
from xray_jax.models.vgg import VGG
from xray_jax.models.vit import Resized, VisionTransformer
from xray_jax.models.wideresnet import WideResNet

_VIT = VisionTransformer(3, depth=1, width=8, hidden=16, heads=2, patch=4)
# fmt: off
NETWORKS: dict[str, list[nn.Module]] = {
    "preactresnet": [PreActResNet(3, (1, 1), (4, 8), (1, 2)), PreActResNet(3, (1,), (4,), (2,), bottleneck=True)],
    "resnet": [
        ResNet(3, (1, 1), (8, 16), stem_width=8),
        ResNet(3, (1, 1), (4, 8), bottleneck=True, stem="cifar", stem_width=4),
        ResNet(3, (1, 1), (4, 8), stem="cifar", stem_width=4, projection=False),
        ResNet(3, (1, 1), (4, 8), True, 2, 2, "deep", 4, (4, 4), shortcut_pool=True),
    ],
    "resnet9": [
        ResNet9(3, (4, 6, 6, 8)),
        ResNet9(3, (4, 6, 6, 4), strided=True, pool_after=(3,), head="avg", activation="celu"),
        NewHead(ResNet9(6, (4, 4, 6, 6), pool="avg"), (Layer("fc", 3),), "norm", "tanh"),
    ],
    "wideresnet": [
        WideResNet(3, (1, 1), (4, 4, 8)),
        WideResNet(3, (1, 1), (4, 6, 8), "leaky_relu", raw=True, bias=True, epsilon=1e-3),
    ],
    "vgg": [VGG(3, (4, "M", 8, "M"), hidden=(8,)), VGG(3, (4, "M"), "after", "elu", True, ())],
    "alexnet": [AlexNet(3, (4, 6, 6, 6, 6), ()), AlexNet(3, (4, 6, 6, 6, 6), (8, 8))],
    "squeezenet": [SqueezeNet(3, 4, 3, ((3, 2, 4, 6), (5, 2, 4, 4)))],
    "mobilenetv1": [MobileNetV1(3, 8, (12, 16, 16, 12), small=False, clipped=True, bias=True, same=True)],
    "mobilenetv2": [MobileNetV2(3, 4, ((4, 0, False), (4, 8, False), (6, 8, True)), 8, small=True, same=True)],
    "mobilenetv3": [MobileNetV3(3, 4, ((4, 8, 3, 4, True, 2), (4, 8, 5, 0, False, 1)), 8, 8)],
    "mnasnet": [MNASNet(3, 4, (4, 6, 6, 6, 6, 6, 6), (1, 0, 0, 2, 0, 0), 8, stem_stride=1)],
    "efficientnet": [EfficientNet(3, 4, (((4, 4, 3, 2, 1),), ((4, 8, 5, 2, 2), (4, 8, 3, 2, 1))), 8, same=True)],
    "efficientnetv2": [EfficientNetV2(3, 4, (((4, 0, 3, 0),), ((4, 8, 3, 0),), ((6, 8, 3, 2),)), 8, same=True)],
    "googlenet": [GoogLeNet(3, ((4, 4, 4, 4, 4, 4),) * 3, (4, 4, 4), scaled=True)],
    "densenet": [DenseNet(3, (1, 2), 4, 8, 4), DenseNet(3, (1, 2), 4, 8, 4, "cifar-pool")],
    "dla": [DLA(3, (4, 4, 4), (4, 6), (1, 2)), DLA(3, (4, 4, 4), (6, 8), (1, 2), simple=True)],
    "dpn": [DPN(3, (2, 1), (4, 6), (6, 8), (2, 3), 2, 4)],
    "pnasnet": [PNASNet(3, (1, 1), (4, 8)), PNASNet(3, (1, 1), (4, 8), pairs=True)],
    "convnext": [ConvNeXt(3, (1, 1), (4, 8)), ConvNeXt(3, (1, 1), (4, 8), response=True)],
    "shufflenet": [
        ShuffleNet(3, (2, 1), (16, 24), stem_width=8),
        ShuffleNet(3, (2, 1), (16, 28), ungrouped=0, inner=(4, 4), stem_width=4, stem_kernel=3, paper=True, bias=True),
    ],
    "shufflenetv2": [ShuffleNetV2(3, (2, 1), (8, 12), stem_width=4, last_width=8, small=True, bias=True)],
    "regnet": [
        RegNet(3, (1, 2), (8, 12), (8, 12), (4, 6), ((4, 0), (4, 6)), 4),
        RegNet(3, (1,), (8,), (8,), (4,), stem_width=4, small=True),
    ],
    "inception": [InceptionV3(3, divisor=16, scaled=True)],
    "swin": [SwinTransformer(3, (2, 1), 8, (2, 2), (3, 2), 2, 2)],
    "swin_v2": [SwinTransformerV2(3, (2, 1), 8, (2, 2), (3,), (4, 2), 2, 2, table=False, position_hidden=4)],
    "maxvit": [MaxViT(3, 4, (8, 8), (1, 2), (2, 2), 2, 2, 2, 2)],
    "beit": [Beit(3, 1, 8, 16, 2, 4, 4)],
    "vit": [Resized(_VIT, (20, 20)), _VIT.clone(scaled=True, patches=True)],
    "clip": [ImageTower(3, kind, 1, 8, 16, 2, 4) for kind in ("clip", "siglip")],
    "encoder-vit": [
        EncoderViT(3, 1, 8, 16, 4, token="", linear=True, pool="mean", heads=2, tokens=16, norm_first=True, norm="n"),
    ],
    "spatial-transformer": [
        SpatialTransformer(small((4,), 3, (8,))(num_classes=6), small((4,), 3, (8,))(num_classes=3)),
    ],
    "plain": [
        *(small((4, 6), 3, (8,), activation=name)(num_classes=3) for name in ACTIVATIONS),
        small((4, 6), 3, (8,), pool="avg", average=2)(num_classes=3),
    ],
}
# fmt: on


def _cases() -> Iterator[tuple[str, nn.Module]]:
    for name, modules in NETWORKS.items():
        for number, module in enumerate(modules):
            yield f"{name}-{number}", module


def test_every_family_is_here() -> None:
    assert set(NETWORKS) == {family.name for family in ARCHITECTURES}


@pytest.mark.exhaustive
@pytest.mark.parametrize(("name", "network"), list(_cases()))
def test_gradient(name: str, network: nn.Module) -> None:
    random = np.random.default_rng(0)
    side = 75 if name.startswith(("inception", "alexnet")) else 16
    images = random.uniform(-1, 1, size=(1, side, side, 3))
    shapes = jax.eval_shape(network.init, jax.random.key(0), jax.ShapeDtypeStruct(images.shape, np.float32))

    def leaf(path: tuple[jax.tree_util.DictKey, ...], like: jax.ShapeDtypeStruct) -> np.ndarray:
        if path[-1].key == "var":
            return random.uniform(0.5, 2, size=like.shape)
        return random.normal(size=like.shape) / np.sqrt(max(np.prod(like.shape[:-1]), 1))

    # Attention computes its softmax in single precision, so differences need a longer step.
    step, tolerance = (1e-2, 2e-2) if "vit" in name or "clip" in name else (1e-6, 1e-5)
    if "inception" in name:
        # Its derivatives by single pixels are near 1e-8, so differences need a longer step too.
        step, tolerance = 1e-4, 1e-3
    gradients.check(network, jax.tree_util.tree_map_with_path(leaf, shapes), images, step, tolerance)
