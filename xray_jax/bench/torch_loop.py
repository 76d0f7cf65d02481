"""The baseline: the same network in plain torch, and the plain loop over the points of planes.

Written from the papers' descriptions. Needs torch (extra `test`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from flax.traverse_util import flatten_dict
from torch import nn
from torch.nn import functional

from xray_jax.models.preactresnet import PreActResNet


class _Block(nn.Module):
    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.bn1, self.bn2 = nn.BatchNorm2d(before), nn.BatchNorm2d(width)
        self.conv1 = nn.Conv2d(before, width, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        changes = stride != 1 or before != width
        self.shortcut = nn.Sequential(nn.Conv2d(before, width, 1, stride, bias=False)) if changes else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = functional.relu(self.bn1(x))
        shortcut = x if self.shortcut is None else self.shortcut(out)
        return self.conv2(functional.relu(self.bn2(self.conv1(out)))) + shortcut


class TorchPreActResNet(nn.Module):
    """BackdoorBench's pre-activation ResNet in torch; its state dict has the published names.

    Args:
      classes: width of the logits.
      sizes: blocks of each stage.
      widths: channels of each stage.
      strides: of the first block of each stage.
    """

    def __init__(self, classes: int, sizes: Sequence[int], widths: Sequence[int], strides: Sequence[int]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, widths[0], 3, 1, 1, bias=False)
        before = widths[0]
        self.stages = len(sizes)
        for stage, (size, width, stride) in enumerate(zip(sizes, widths, strides, strict=True), 1):
            blocks = [_Block(before if i == 0 else width, width, stride if i == 0 else 1) for i in range(size)]
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
            before = width
        self.linear = nn.Linear(before, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv1(x)
        for stage in range(1, self.stages + 1):
            x = getattr(self, f"layer{stage}")(x)
        return self.linear(x.mean((2, 3)))


def module_of(network: PreActResNet, classes: int, variables: Mapping[str, Any]) -> nn.Module:
    """The torch module of a linen network, with its weights.

    Args:
      network: sizes, widths and strides are taken from it.
      classes: width of the logits.
      variables: of the linen network.

    Raises:
      ValueError: the names of the two differ.
    """
    module = TorchPreActResNet(classes, network.stage_sizes, network.widths, network.strides)
    return load_linen(module, variables)


def load_linen(module: nn.Module, variables: Mapping[str, Any]) -> nn.Module:
    """Fills a torch module with the weights of the linen tree that carries the same names, and sets it to evaluation.

    Raises:
      ValueError: the names of the two differ.
    """
    state = {}
    names = {"kernel": "weight", "scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}
    for tree in variables.values():
        for path, leaf in flatten_dict(tree).items():
            array = np.array(leaf)
            if path[-1] == "kernel":
                array = array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T
            state[".".join([*path[:-1], names[path[-1]]])] = torch.from_numpy(array.copy())
    missing, extra = module.load_state_dict(state, strict=False)
    if extra or [name for name in missing if not name.endswith("num_batches_tracked")]:
        raise ValueError(f"torch and linen trees differ: missing {missing}, extra {extra}")
    return module.eval()


def label_points(
    module: nn.Module, planes: Any, plane_index: np.ndarray, coordinates: np.ndarray, batch_size: int = 128
) -> np.ndarray:
    """Labels of points of planes, `[Q]`: batch by batch, points made as they are needed, argmax on the host.

    Args:
      module: takes NCHW images.
      planes: `geometry.Planes`, NHWC.
      plane_index: `[Q]`.
      coordinates: `[Q, 2]`, along the planes' two axes.
      batch_size: images of one forward pass.
    """
    origin, axis1, axis2 = (
        torch.from_numpy(np.array(part)).permute(0, 3, 1, 2).contiguous()
        for part in (planes.origin, planes.axis1, planes.axis2)
    )
    labels = np.empty(len(plane_index), np.int64)
    with torch.inference_mode():
        for start in range(0, len(labels), batch_size):
            rows = slice(start, start + batch_size)
            which = torch.from_numpy(plane_index[rows].astype(np.int64))
            along = torch.from_numpy(np.asarray(coordinates[rows], np.float32))
            first, second = (along[:, k].reshape(-1, 1, 1, 1) for k in range(2))
            images = origin[which] + first * axis1[which] + second * axis2[which]
            labels[rows] = module(images).argmax(1).numpy()
    return labels
