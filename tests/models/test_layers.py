import jax
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from xray_jax.models import layers


def _images(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(2, height, width, 3)).astype(np.float32)


def _torch(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 3), (7, 7), (9, 14), (30, 8)])
def test_adaptive_average_pool(height: int, width: int) -> None:
    images = _images(height, width)
    wanted = F.adaptive_avg_pool2d(_torch(images), 7).permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(layers.adaptive_average_pool(images, 7), wanted, atol=1e-6)


@pytest.mark.parametrize("side", [7, 8])
def test_max_pool_pads_both_sides(side: int) -> None:
    images = _images(side, side)
    wanted = F.max_pool2d(_torch(images), 3, 2, 1).permute(0, 2, 3, 1).numpy()
    np.testing.assert_array_equal(layers.max_pool(images, 3, 2, padding=1), wanted)


def test_flatten_is_channels_first() -> None:
    images = _images(4, 5)
    np.testing.assert_array_equal(layers.flatten(jax.numpy.asarray(images)), _torch(images).flatten(1).numpy())


def test_gelu_is_exact() -> None:
    x = np.linspace(-5, 5, 101, dtype=np.float32)
    np.testing.assert_allclose(layers.gelu(x), F.gelu(torch.from_numpy(x)).numpy(), atol=1e-6)


def test_layer_norm_keeps_its_digits() -> None:
    """Values far from zero: a one-pass variance would cancel."""
    x = (1000 + np.random.default_rng(0).normal(size=(4, 64))).astype(np.float32)
    norm = layers.layer_norm(1e-6)()
    wanted = F.layer_norm(torch.from_numpy(x), (64,), eps=1e-6).numpy()
    np.testing.assert_allclose(norm.apply(norm.init(jax.random.key(0), x), x), wanted, atol=2e-3)


@pytest.mark.parametrize(("window", "stride"), [(3, 2), (2, 2)])
@pytest.mark.parametrize("side", [3, 4, 7, 8])
def test_pools_over_the_edge(side: int, window: int, stride: int) -> None:
    images = _images(side, side + 1)
    wanted = F.max_pool2d(_torch(images), window, stride, ceil_mode=True).permute(0, 2, 3, 1).numpy()
    np.testing.assert_array_equal(layers.max_pool_ceil(images, window, stride), wanted)
    wanted = F.avg_pool2d(_torch(images), window, window, ceil_mode=True).permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(layers.average_pool_ceil(images, window), wanted, atol=1e-6)


def test_pool_of_the_same_size() -> None:
    images = _images(5, 4)
    wanted = F.avg_pool2d(_torch(images), 3, 1, 1).permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(layers.average_pool_same(images, 3), wanted, atol=1e-6)


def test_scale_of_torchvision() -> None:
    """Images standardised by ImageNet's constants become those of [-1, 1]."""
    images = np.random.default_rng(0).uniform(size=(2, 3, 3, 3)).astype(np.float32)
    standard = (images - np.float32([0.485, 0.456, 0.406])) / np.float32([0.229, 0.224, 0.225])
    np.testing.assert_allclose(layers.torchvision_scale(standard), 2 * images - 1, atol=1e-5)
