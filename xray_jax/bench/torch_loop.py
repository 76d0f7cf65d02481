"""The baseline: the plain loop over the points of planes in torch.

Written from the papers' descriptions. Needs torch (extra `test`).
"""

from typing import Any

import numpy as np
import torch
from torch import nn


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
