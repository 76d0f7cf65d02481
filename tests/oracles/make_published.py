"""Writes `published.jsonl`: `python -m tests.oracles.make_published`, with the extra `oracles` installed.

Networks are the packages' own, with few blocks and narrow where they can be.
"""

import json
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version
from typing import Any

import timm.models as timm
import torch
import torchvision.models as tv
import transformers
from efficientnet_pytorch import EfficientNet
from torch import nn
from torchvision.models import efficientnet, inception, swin_transformer
from torchvision.models.regnet import BlockParams

from tests.oracles.published import FILE, images, weights


def _resnet(block: type[nn.Module], **options: Any) -> nn.Module:
    return timm.resnet.ResNet(block, (1, 1, 1, 1), 7, channels=(4, 8, 8, 16), **options)


def _networks() -> Iterator[tuple[str, str, Callable[[], nn.Module], tuple[int, int]]]:
    """(name, package, constructor, height and width of its images) of each network."""
    basic, bottleneck = timm.resnet.BasicBlock, timm.resnet.Bottleneck
    deep = {"stem_type": "deep", "stem_width": 4, "avg_down": True}
    tiered = {**deep, "stem_type": "deep_tiered", "cardinality": 4, "base_width": 32}
    yield "resnet-d", "timm", lambda: _resnet(basic, **deep), (62, 70)
    yield "resnext-t", "timm", lambda: _resnet(bottleneck, **tiered), (62, 70)
    yield "wide_resnet", "timm", lambda: _resnet(bottleneck, base_width=128), (32, 32)
    yield "mobilenetv2", "torchvision", lambda: tv.MobileNetV2(7, 0.25), (40, 36)
    yield "mobilenetv2-timm", "timm", lambda: timm.create_model("mobilenetv2_035", num_classes=7), (40, 36)
    yield "googlenet", "torchvision", lambda: tv.GoogLeNet(7, init_weights=False), (48, 40)
    yield "swin", "torchvision", lambda: tv.SwinTransformer([4, 4], 16, [2, 2], [2, 4], [7, 7], num_classes=7), (64, 52)
    swin = {"embed_dim": 16, "depths": (2, 2), "num_heads": (2, 4)}
    yield "swin-timm", "timm", lambda: timm.swin_transformer.SwinTransformer(56, num_classes=7, **swin), (56, 56)
    yield "swin-transformers", "transformers", lambda: _transformers("Swin", image_size=56, **swin), (56, 56)
    yield "swin_v2", "torchvision", _swin_v2, (60, 52)
    v2 = timm.swin_transformer_v2.SwinTransformerV2
    yield "swin_v2-timm", "timm", lambda: v2(48, num_classes=7, window_size=8, **swin), (48, 48)
    scaled = {**swin, "window_size": 4, "pretrained_window_sizes": [6, 2]}
    yield "swin_v2-transformers", "transformers", lambda: _transformers("Swinv2", image_size=48, **scaled), (48, 48)
    sizes = {"stem_channels": 8, "block_channels": [8, 16], "block_layers": [1, 2], "head_dim": 4}
    maxvit = partial(tv.MaxVit, (48, 48), partition_size=3, stochastic_depth_prob=0, num_classes=7, **sizes)
    yield "maxvit", "torchvision", maxvit, (48, 48)
    yield "shufflenetv2", "torchvision", lambda: tv.ShuffleNetV2([2, 1, 2], [8, 16, 24, 32, 48], 7), (40, 36)
    regnet = BlockParams([1, 2], [8, 16], [4, 8], [1.0, 1.0], [2, 2], 0.25)
    yield "regnet-y", "torchvision", lambda: tv.RegNet(regnet, 7), (32, 28)
    yield "regnet-x", "timm", lambda: timm.create_model("regnetx_002", num_classes=7), (32, 28)
    regnet_y = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 2], "groups_width": 4}
    yield "regnet-transformers", "transformers", lambda: _transformers("RegNet", **regnet_y), (32, 28)
    yield "tf_efficientnet_b0", "timm", lambda: timm.create_model("tf_efficientnet_b0", num_classes=7), (38, 32)
    yield "tf_mobilenetv3", "timm", lambda: timm.create_model("tf_mobilenetv3_small_075", num_classes=7), (38, 32)
    narrow = {"image_size": 64, "width_coefficient": 0.5, "depth_coefficient": 1.0, "hidden_dim": 640}
    yield "efficientnet-transformers", "transformers", lambda: _transformers("EfficientNet", **narrow), (64, 64)
    efficientnet = EfficientNet.from_name("efficientnet-b0", image_size=64, num_classes=7)
    yield "efficientnet-pytorch", "efficientnet_pytorch", lambda: efficientnet, (64, 64)
    yield "efficientnet_v2", "torchvision", _narrow_efficientnet_v2, (38, 32)
    two = {"num_classes": 7, "channel_multiplier": 0.25, "depth_multiplier": 0.2}
    yield "efficientnet_v2-timm", "timm", lambda: timm.create_model("efficientnetv2_s", **two), (38, 32)
    yield "efficientnet_v2_m-timm", "timm", lambda: timm.create_model("efficientnetv2_m", **two), (38, 32)
    yield "tf_efficientnetv2_b0", "timm", lambda: timm.create_model("tf_efficientnetv2_b0", **two), (38, 32)
    yield "efficientnetv2_rw_s", "timm", lambda: timm.create_model("efficientnetv2_rw_s", **two), (38, 32)
    yield "squeezenet1_0", "torchvision", lambda: tv.squeezenet1_0(num_classes=7), (64, 52)
    yield "squeezenet1_1", "torchvision", lambda: tv.squeezenet1_1(num_classes=7), (64, 52)
    yield "mobilenetv1-timm", "timm", lambda: timm.create_model("mobilenetv1_100", num_classes=7), (40, 36)
    mobile_one = {"depth_multiplier": 0.25}
    yield "mobilenetv1-transformers", "transformers", lambda: _transformers("MobileNetV1", **mobile_one), (40, 36)
    yield "inception_v3", "torchvision", _narrow_inception, (81, 75)
    tiny = {"image_size": 16, "patch_size": 8, "hidden_size": 128, "num_hidden_layers": 1, "intermediate_size": 32}
    deit = {**tiny, "num_attention_heads": 2}
    yield "deit-transformers", "transformers", lambda: _transformers("DeiT", **deit), (16, 16)
    distilled = {"img_size": 16, "patch_size": 8, "embed_dim": 128, "depth": 1, "num_heads": 2, "num_classes": 7}
    yield "deit-distilled", "timm", lambda: timm.deit.VisionTransformerDistilled(**distilled), (16, 16)
    towers = {"vision_config": {"image_size": 32, "patch_size": 8, "hidden_size": 128, "num_hidden_layers": 2}}
    towers["vision_config"] |= {"intermediate_size": 32, "num_attention_heads": 2}
    yield "clip", "transformers", lambda: _transformers("CLIP", **towers), (32, 32)
    yield "siglip", "transformers", lambda: _transformers("Siglip", **towers), (32, 32)
    mobile = {"depth_multiplier": 0.35}
    next_v2 = {"depths": (1, 2, 1, 1), "use_grn": True, "ls_init_value": None}
    yield "convnextv2", "timm", lambda: timm.convnext.ConvNeXt(num_classes=7, dims=(8, 8, 12, 16), **next_v2), (64, 48)
    next_v2_sizes = {"depths": [1, 2, 1, 1], "hidden_sizes": [8, 8, 12, 16]}
    yield "convnextv2-transformers", "transformers", lambda: _transformers("ConvNextV2", **next_v2_sizes), (64, 48)
    biased = {"use_abs_pos_emb": False, "use_rel_pos_bias": True, "init_values": 0.1, "depth": 2, "num_heads": 2}
    square = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "num_classes": 7}
    yield "beit", "timm", lambda: timm.beit.Beit(**square, **biased), (32, 32)
    sizes = {"image_size": 32, "patch_size": 8, "hidden_size": 128, "num_attention_heads": 2, "num_hidden_layers": 2}
    beit = {**sizes, "intermediate_size": 32, "use_relative_position_bias": True}
    yield "beit-transformers", "transformers", lambda: _transformers("Beit", **beit), (32, 32)
    yield "data2vec", "transformers", lambda: _transformers("Data2VecVision", **beit), (32, 32)
    dino = {"img_size": 32, "patch_size": 8, "embed_dim": 128, "num_classes": 7, "depth": 2, "num_heads": 2}
    yield "dinov2", "timm", lambda: timm.vision_transformer.VisionTransformer(init_values=1e-5, **dino), (32, 32)
    yield "dinov2-transformers", "transformers", lambda: _transformers("Dinov2", mlp_ratio=2, **sizes), (32, 32)
    yield "mobilenetv2-transformers", "transformers", lambda: _transformers("MobileNetV2", **mobile), (40, 36)


def _swin_v2() -> nn.Module:
    v2 = {"block": swin_transformer.SwinTransformerBlockV2, "downsample_layer": swin_transformer.PatchMergingV2}
    return tv.SwinTransformer([4, 4], 16, [2, 2], [2, 4], [8, 8], num_classes=7, **v2)


def _narrow_efficientnet_v2() -> nn.Module:
    fused, separable = efficientnet.FusedMBConvConfig, efficientnet.MBConvConfig
    stages = [fused(1, 3, 1, 8, 8, 2), fused(4, 3, 2, 8, 8, 2), fused(4, 3, 2, 8, 16, 1)]
    stages += [separable(4, 3, 2, 16, 16, 2), separable(6, 3, 1, 16, 24, 1), separable(6, 3, 2, 24, 24, 1)]
    return tv.EfficientNet(stages, 0.0, num_classes=7, norm_layer=partial(nn.BatchNorm2d, eps=1e-3), last_channel=40)


def _narrow_inception() -> nn.Module:
    def narrow(inside: int, outside: int, **options: Any) -> nn.Module:
        return inception.BasicConv2d(inside if inside == 3 else inside // 8, outside // 8, **options)

    parts = (inception.InceptionA, inception.InceptionB, inception.InceptionC, inception.InceptionD)
    blocks = [partial(part, conv_block=narrow) for part in (*parts, inception.InceptionE)]
    network = tv.Inception3(7, True, False, [narrow, *blocks, inception.InceptionAux], False)
    network.fc = nn.Linear(2048 // 8, 7)
    return network


def _transformers(name: str, **sizes: Any) -> nn.Module:
    config = getattr(transformers, f"{name}Config")(num_labels=7, **sizes)
    return getattr(transformers, f"{name}ForImageClassification")(config)


def _line(name: str, package: str, network: nn.Module, image: tuple[int, int]) -> dict[str, Any]:
    shapes = {}
    for key, tensor in network.state_dict().items():
        # Integers are counters and tables of positions, which follow from the sizes.
        if tensor.is_floating_point():
            shapes[key] = list(tensor.shape)
            tensor.copy_(torch.from_numpy(weights(key, tuple(tensor.shape))))
    with torch.no_grad():
        logits = network.eval()(torch.from_numpy(images(*image)).permute(0, 3, 1, 2))
    logits = getattr(logits, "logits", logits).tolist()
    by = f"{package} {version(package)}"
    return {"network": name, "by": by, "image": image, "logits": logits, "shapes": shapes}


def main() -> None:
    """Writes all lines anew."""
    lines = [json.dumps(_line(name, package, make(), image)) for name, package, make, image in _networks()]
    FILE.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
