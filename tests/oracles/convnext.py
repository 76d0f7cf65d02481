"""ConvNeXt under four publishers' names: torchvision, timm, the authors, Hugging Face."""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn


def over_channels(norm: nn.LayerNorm, x: torch.Tensor) -> torch.Tensor:
    return norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Block(nn.Module):
    """`names`: of depthwise, norm, wide, narrow and scale; dots make sub-modules."""

    def __init__(self, width: int, names: Sequence[str], flat: bool) -> None:
        super().__init__()
        parts = (
            nn.Conv2d(width, width, 7, padding=3, groups=width),
            nn.LayerNorm(width, 1e-6),
            nn.Linear(width, 4 * width),
            nn.Linear(4 * width, width),
        )
        *self.names, self.scale_name = names
        for name, part in zip(self.names, parts, strict=True):
            folder, _, leaf = name.rpartition(".")
            if folder and not hasattr(self, folder):
                self.add_module(folder, nn.Module())
            (getattr(self, folder) if folder else self).add_module(leaf, part)
        self.register_parameter(self.scale_name, nn.Parameter(torch.ones(width if flat else (width, 1, 1))))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        depthwise, norm, wide, narrow = (self.get_submodule(name) for name in self.names)
        out = narrow(F.gelu(wide(norm(depthwise(x).permute(0, 2, 3, 1))))).permute(0, 3, 1, 2)
        return x + getattr(self, self.scale_name).view(1, -1, 1, 1) * out


NAMES = {
    "torchvision": ("block.0", "block.2", "block.3", "block.5", "layer_scale"),
    "timm": ("conv_dw", "norm", "mlp.fc1", "mlp.fc2", "gamma"),
    "authors": ("dwconv", "norm", "pwconv1", "pwconv2", "gamma"),
    "Hugging Face": ("dwconv", "layernorm", "pwconv1", "pwconv2", "layer_scale_parameter"),
}


class ConvNeXt(nn.Module):
    def __init__(self, sizes: Sequence[int], widths: Sequence[int], naming: str) -> None:
        super().__init__()
        self.naming, self.count = naming, len(sizes)
        stem = nn.Sequential(nn.Conv2d(3, widths[0], 4, 4), nn.LayerNorm(widths[0], 1e-6))
        downs = [
            nn.Sequential(nn.LayerNorm(before, 1e-6), nn.Conv2d(before, after, 2, 2))
            for before, after in pairwise(widths)
        ]
        flat = naming != "torchvision"
        stages = [
            nn.Sequential(*(Block(width, NAMES[naming], flat) for _ in range(size)))
            for size, width in zip(sizes, widths, strict=True)
        ]
        norm, head = nn.LayerNorm(widths[-1], 1e-12 if naming == "Hugging Face" else 1e-6), nn.Linear(widths[-1], 7)
        # Kept outside the module tree, so that each publisher's tree alone makes the state dict.
        self.__dict__["parts"] = (stem, downs, stages, norm, head)
        if naming == "torchvision":
            order = [stem, stages[0]]
            for down, stage in zip(downs, stages[1:], strict=True):
                order += [down, stage]
            self.features = nn.Sequential(*order)
            self.classifier = nn.Sequential(norm, nn.Flatten(1), head)
        elif naming == "timm":
            self.stem = stem
            self.stages = nn.Sequential(
                *(nn.ModuleDict({"downsample": down or nn.Identity(), "blocks": stage})
                  for down, stage in zip([None, *downs], stages, strict=True))
            )  # fmt: skip
            self.head = nn.ModuleDict({"norm": norm, "fc": head})
        elif naming == "Hugging Face":
            rows = [
                nn.ModuleDict({"downsampling_layer": down or nn.Identity(), "layers": stage})
                for down, stage in zip([None, *downs], stages, strict=True)
            ]
            embeddings = nn.ModuleDict({"patch_embeddings": stem[0], "layernorm": stem[1]})
            encoder = nn.ModuleDict({"stages": nn.ModuleList(rows)})
            self.convnext = nn.ModuleDict({"embeddings": embeddings, "encoder": encoder, "layernorm": norm})
            self.classifier = head
        else:
            self.downsample_layers = nn.ModuleList([stem, *downs])
            self.stages = nn.ModuleList(stages)
            self.norm, self.head = norm, head

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        stem, downs, stages, norm, head = self.parts
        x = stages[0](over_channels(stem[1], stem[0](x)))
        for down, stage in zip(downs, stages[1:], strict=True):
            x = stage(down[1](over_channels(down[0], x)))
        return head(norm(x.mean((2, 3))))
