"""Image sets: mosaics written here come back tile by tile."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.places import SHARED
from xray_jax.lab import data


def write_mosaic(folder: Path, name: str, images: np.ndarray, labels: np.ndarray, columns: int = 3) -> None:
    """Tiles in row order, the last row filled up with black ones."""
    side = images.shape[1]
    rows = -(-len(images) // columns)
    mosaic = np.zeros((rows * side, columns * side, 3), np.uint8)
    for number, image in enumerate(images):
        top, left = number // columns * side, number % columns * side
        mosaic[top : top + side, left : left + side] = image
    Image.fromarray(mosaic).save(folder / f"{name}.webp", lossless=True)
    np.save(folder / f"{name}.labels.npy", labels.astype(np.uint8))


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (10, 32, 32, 3)).astype(np.uint8)


def test_mosaics_come_back_tile_by_tile_and_parts_in_order(tmp_path: Path, images: np.ndarray) -> None:
    labels = np.arange(10)
    write_mosaic(tmp_path, "cifar10-train-0", images[:4], labels[:4])
    write_mosaic(tmp_path, "cifar10-train-1", images[4:7], labels[4:7])
    write_mosaic(tmp_path, "cifar10-test-0", images[7:], labels[7:])
    found = data.read("cifar10", tmp_path)
    np.testing.assert_array_equal(found.train_images, images[:7])
    np.testing.assert_array_equal(found.train_labels, labels[:7])
    np.testing.assert_array_equal(found.test_images, images[7:])
    np.testing.assert_array_equal(found.test_labels, labels[7:])
    assert (found.num_classes, found.flip, found.preprocess) == (10, True, "cifar10")


def test_a_set_without_a_training_split_holds_out_every_fifth_image(tmp_path: Path, images: np.ndarray) -> None:
    write_mosaic(tmp_path, "gtsrb-test-0", images, np.arange(10))
    found = data.read("gtsrb", tmp_path)
    assert found.test_labels.tolist() == [0, 5]
    assert found.train_labels.tolist() == [1, 2, 3, 4, 6, 7, 8, 9]
    assert not found.flip


def test_an_npz_is_read(tmp_path: Path, images: np.ndarray) -> None:
    labels = np.arange(10) % 3
    np.savez(tmp_path / "own.npz", train_images=images[:6], train_labels=labels[:6], test_images=images[6:],
             test_labels=labels[6:])  # fmt: skip
    found = data.read("own", tmp_path)
    np.testing.assert_array_equal(found.train_images, images[:6])
    assert found.num_classes == 3


def test_what_is_missing_is_named(tmp_path: Path, images: np.ndarray) -> None:
    with pytest.raises(data.DataError, match=r"nothing.*known"):
        data.read("nothing", tmp_path)
    with pytest.raises(data.DataError, match=r"no cifar10-\*\.webp"):
        data.read("cifar10", tmp_path)
    np.savez(tmp_path / "own.npz", train_images=images)
    with pytest.raises(data.DataError, match="train_labels"):
        data.read("own", tmp_path)
    write_mosaic(tmp_path, "cifar10-test-0", images, np.full(10, 10))
    with pytest.raises(data.DataError, match="each below 10"):
        data.read("cifar10", tmp_path)


@pytest.mark.skipif(not SHARED.exists(), reason="no ../shared/data beside the checkout")
def test_the_shared_sets_have_the_published_sizes() -> None:
    found = data.read("tinyimagenet10", SHARED)
    assert found.train_images.shape == (400, 64, 64, 3)
    assert found.test_images.shape == (100, 64, 64, 3)
    grey = data.read("mnist", SHARED)
    assert grey.train_images.shape == (60000, 28, 28, 1)
    assert np.bincount(grey.test_labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
