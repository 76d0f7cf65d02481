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


def test_grey_sets_have_one_channel_and_a_validation_split_is_the_test_split(
    tmp_path: Path, images: np.ndarray
) -> None:
    grey = images[:, :28, :28, :1].repeat(3, axis=-1)
    for split in ("train", "test"):
        write_mosaic(tmp_path, f"fashionmnist-{split}-0", grey, np.arange(10))
    np.testing.assert_array_equal(data.read("fashionmnist", tmp_path).train_images, grey[..., :1])
    large = images.repeat(2, 1).repeat(2, 2)
    for split in ("train", "val"):
        write_mosaic(tmp_path, f"tinyimagenet10-{split}-0", large, np.arange(10))
    np.testing.assert_array_equal(data.read("tinyimagenet10", tmp_path).test_images, large)


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
    with pytest.raises(data.DataError, match=r"no cifar10-train-\*\.webp"):
        data.read("cifar10", tmp_path)
    write_mosaic(tmp_path, "cifar10-train-0", images, np.arange(10))
    with pytest.raises(data.DataError, match="each below 10"):
        data.read("cifar10", tmp_path)


SIZES = {
    "cifar10": (50000, 10000, (32, 32, 3), 10),
    "cifar100": (20000, 10000, (32, 32, 3), 100),
    "fashionmnist": (17000, 10000, (28, 28, 1), 10),
    "gtsrb": (13992, 12630, (32, 32, 3), 43),
    "mnist": (60000, 10000, (28, 28, 1), 10),
    "tinyimagenet10": (5000, 500, (64, 64, 3), 10),
}


@pytest.mark.skipif(not SHARED.exists(), reason="no ../shared/data beside the checkout")
@pytest.mark.exhaustive
@pytest.mark.parametrize("name", data.MOSAICS)
def test_the_shared_sets_have_the_published_sizes(name: str) -> None:
    train, test, shape, classes = SIZES[name]
    found = data.read(name, SHARED)
    assert found.train_images.shape == (train, *shape)
    assert found.test_images.shape == (test, *shape)
    for labels in (found.train_labels, found.test_labels):
        np.testing.assert_array_equal(np.unique(labels), np.arange(classes))
    if name == "mnist":
        assert np.bincount(found.test_labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


def test_a_set_is_resized(tmp_path: Path, images: np.ndarray) -> None:
    flat = images[:, :1, :1].repeat(32, 1).repeat(32, 2)
    for split in ("train", "test"):
        write_mosaic(tmp_path, f"gtsrb-{split}-0", flat, np.arange(10))
    found = data.read("gtsrb@48", tmp_path)
    np.testing.assert_array_equal(found.train_images, flat[:, :1, :1].repeat(48, 1).repeat(48, 2))
    assert found.test_images.shape == (10, 48, 48, 3)
    assert (found.name, found.num_classes, found.flip, found.preprocess) == ("gtsrb@48", 43, False, "gtsrb")


def test_a_grey_set_is_resized(tmp_path: Path, images: np.ndarray) -> None:
    for split in ("train", "test"):
        write_mosaic(tmp_path, f"mnist-{split}-0", images[:, :28, :28], np.arange(10))
    assert data.read("mnist@32", tmp_path).train_images.shape == (10, 32, 32, 1)


@pytest.mark.parametrize("side", ["", "0", "wide", "-3", "9999"])
def test_a_side_that_is_none_is_refused(tmp_path: Path, images: np.ndarray, side: str) -> None:
    for split in ("train", "test"):
        write_mosaic(tmp_path, f"cifar10-{split}-0", images, np.arange(10))
    with pytest.raises(data.DataError, match="side of 1 to 512 pixels"):
        data.read(f"cifar10@{side}", tmp_path)
