"""Plain networks behind a spatial transformer."""

from functools import partial

import jax
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.oracles.compare import assert_same_logits
from xray_jax.models.spatial_transformer import transformed, variants


class TrafficSigns(nn.Module):
    """Of torch's tutorial, on colour images and with norms."""

    def __init__(self, align_corners: bool) -> None:
        super().__init__()
        self.conv1, self.bn1, self.conv2 = nn.Conv2d(3, 4, 5), nn.BatchNorm2d(4), nn.Conv2d(4, 6, 5)
        self.fc1, self.fc2 = nn.Linear(150, 12), nn.Linear(12, 7)
        between = [nn.MaxPool2d(2), nn.ReLU()]
        self.localization = nn.Sequential(nn.Conv2d(3, 4, 7), *between, nn.Conv2d(4, 5, 5), *between)
        self.fc_loc = nn.Sequential(nn.Linear(80, 8), nn.ReLU(), nn.Linear(8, 6))
        self.align_corners = align_corners

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        theta = self.fc_loc(self.localization(x).flatten(1)).view(-1, 2, 3)
        grid = F.affine_grid(theta, list(x.size()), align_corners=self.align_corners)
        x = F.grid_sample(x, grid, align_corners=self.align_corners)
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.fc2(F.relu(self.fc1(x.flatten(1))))


@pytest.mark.parametrize("align_corners", [False, True])
def test_logits(align_corners: bool) -> None:
    asked = "spatial-transformer:align_corners=true" if align_corners else None
    network = TrafficSigns(align_corners)
    found = assert_same_logits(network, (32, 32, 3), architecture=asked, expected="spatial-transformer")
    assert found.input_shape == (32, 32, 3)
    assert found.num_classes == 7
    *plain, corners = variants(found.module, found.input_shape, (32, 32, 3))
    assert {answer.align_corners for answer in corners} == {False, True}
    assert all(answer.localiser == found.module.localiser for axis in plain for answer in axis)
    assert any(note.endswith("of the outermost pixels in the spatial transformer") for note in found.notes)


@pytest.mark.parametrize("align_corners", [False, True])
def test_sampling_inside_and_outside(align_corners: bool) -> None:
    random = np.random.default_rng(0)
    images = random.normal(size=(6, 5, 7, 2)).astype(np.float32)
    maps = random.normal(size=(6, 2, 3)).astype(np.float32) * np.float32(1.5)
    maps[0] = [[1, 0, 0], [0, 1, 0]]
    moved = torch.from_numpy(images).permute(0, 3, 1, 2)
    grid = F.affine_grid(torch.from_numpy(maps), list(moved.size()), align_corners=align_corners)
    wanted = F.grid_sample(moved, grid, align_corners=align_corners).permute(0, 2, 3, 1).numpy()
    got = jax.jit(jax.vmap(partial(transformed, align_corners=align_corners)))(images, maps)
    np.testing.assert_allclose(got, wanted, atol=1e-5)
    np.testing.assert_allclose(got[0], images[0], atol=1e-5)
