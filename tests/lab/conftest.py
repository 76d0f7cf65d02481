"""A tiny image set and a tiny network: everything of the lab runs in seconds."""

from collections.abc import Iterator

import jax
import numpy as np
import pytest

from xray_jax.lab.data import ImageSet


def make_images(count: int, seed: int, classes: int = 4, side: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """Noise with one bright horizontal band a class: learnable in an epoch or two."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, count).astype(np.int32)
    images = generator.integers(0, 90, (count, side, side, 3)).astype(np.uint8)
    band = side // classes
    for image, label in zip(images, labels, strict=True):
        image[label * band : (label + 1) * band, : side // 2] += 120
    return images, labels


@pytest.fixture(autouse=True, scope="module")
def usual_types() -> Iterator[None]:
    """Optax multiplies by booleans and Flax's batch norm mixes precisions: training is not strict about types."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture(scope="session")
def bands() -> ImageSet:
    train, test = make_images(600, 0), make_images(200, 1)
    return ImageSet("bands", *train, *test, 4)
