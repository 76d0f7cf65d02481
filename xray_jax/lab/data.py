"""The image sets that zoos are trained on, as uint8 arrays.

A set is either an `.npz` (`train_images`, `train_labels`, `test_images`, `test_labels`) or lossless WebP mosaics in a
folder: `<set>-train-<part>.webp` and `<set>-test-<part>.webp` (tiles in row order) with `<...>.labels.npy` beside each.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from xray_jax import preprocess
from xray_jax.preprocess import Preprocess

TILE = {"cifar10": 32, "cifar100": 32, "gtsrb": 32, "mnist": 28, "tinyimagenet10": 64}
"""Side of one tile in a set's mosaics, in pixels."""
CLASSES = {"cifar10": 10, "cifar100": 100, "gtsrb": 43, "mnist": 10, "tinyimagenet10": 10}
FLIPPED = ("cifar10", "cifar100", "tinyimagenet10")
"""Sets whose images may be mirrored in training; a mirrored digit or traffic sign is another class."""
PRESETS = {"cifar10": "cifar10", "cifar100": "cifar100", "gtsrb": "gtsrb", "mnist": "mnist", "tinyimagenet10": "tiny"}
HOLD_OUT = 5
"""Of a set without a training split every fifth image is held out as the test split."""


class DataError(ValueError):
    """An image set cannot be read; the message names the path and says what was expected."""


@dataclass(frozen=True)
class ImageSet:
    """A labelled image set in two splits.

    Attributes:
      name: of the set.
      train_images, test_images: uint8 `[M, H, W, C]`, C = 1 or 3 (RGB).
      train_labels, test_labels: int32 `[M]`.
      num_classes: labels are below it.
    """

    name: str
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    num_classes: int

    @property
    def preprocess(self) -> str:
        """Name of the preset that this set's models are trained with."""
        return PRESETS.get(self.name, "0-1")

    @property
    def normalise(self) -> Preprocess:
        return preprocess.parse(self.preprocess)

    @property
    def flip(self) -> bool:
        """Whether training may mirror the images."""
        return self.name in FLIPPED


def read(name: str, folder: str | Path) -> ImageSet:
    """Reads the set `name` from `folder`: `<folder>/<name>.npz`, or mosaics in `<folder>` or `<folder>/images`.

    Raises:
      DataError: for a set that is not there or does not fit together.
    """
    folder = Path(folder).expanduser()
    if (archive := folder / f"{name}.npz").exists():
        return _read_npz(name, archive)
    if name not in TILE:
        raise DataError(f"data set {name!r}: no {archive}, and no known set of mosaics (known: {sorted(TILE)})")
    places = [place for place in (folder, folder / "images") if next(place.glob(f"{name}-*.webp"), None)]
    if not places:
        raise DataError(f"data set {name!r}: no {name}-*.webp in {folder} or {folder / 'images'}; give --data")
    tests = [split for split in ("test", "val") if next(places[0].glob(f"{name}-{split}-*.webp"), None)]
    if not tests:
        raise DataError(f"data set {name!r}: no {name}-test-*.webp in {places[0]}")
    test_images, test_labels = _read_mosaics(places[0], name, tests[0])
    if next(places[0].glob(f"{name}-train-*.webp"), None):
        train_images, train_labels = _read_mosaics(places[0], name, "train")
    else:
        held_out = np.arange(len(test_labels)) % HOLD_OUT == 0
        train_images, train_labels = test_images[~held_out], test_labels[~held_out]
        test_images, test_labels = test_images[held_out], test_labels[held_out]
    return _checked(name, train_images, train_labels, test_images, test_labels, CLASSES[name])


def _read_mosaics(folder: Path, name: str, split: str) -> tuple[np.ndarray, np.ndarray]:
    side = TILE[name]
    images, labels = [], []
    for part in sorted(folder.glob(f"{name}-{split}-*.webp")):
        # Pillow's guard against decompression bombs counts pixels of one picture; a mosaic of 12,500 tiles is larger.
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, 1 << 28
        try:
            mosaic = np.asarray(Image.open(part).convert("RGB"))
            found = np.load(part.with_name(part.name.replace(".webp", ".labels.npy")), allow_pickle=False)
        except (OSError, ValueError) as error:
            raise DataError(f"data set {name!r}: {part} or its labels cannot be read: {error}") from error
        finally:
            Image.MAX_IMAGE_PIXELS = limit
        rows, columns = mosaic.shape[0] // side, mosaic.shape[1] // side
        tiles = mosaic[: rows * side, : columns * side].reshape(rows, side, columns, side, 3)
        tiles = tiles.swapaxes(1, 2).reshape(-1, side, side, 3)
        if len(found) > len(tiles):
            raise DataError(f"data set {name!r}: {part} has {len(tiles)} tiles but {len(found)} labels")
        images.append(tiles[: len(found), ..., :1] if name == "mnist" else tiles[: len(found)])
        labels.append(found)
    return np.concatenate(images), np.concatenate(labels)


def _read_npz(name: str, path: Path) -> ImageSet:
    keys = ("train_images", "train_labels", "test_images", "test_labels")
    try:
        with np.load(path, allow_pickle=False) as archive:
            train_images, train_labels, test_images, test_labels = (archive[key] for key in keys)
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"data set {path}: expected arrays {', '.join(keys)}: {error}") from error
    classes = CLASSES.get(name, int(max(train_labels.max(), test_labels.max())) + 1)
    return _checked(name, train_images, train_labels, test_images, test_labels, classes)


def _checked(
    name: str, train_images: np.ndarray, train_labels: np.ndarray, test_images: np.ndarray, test_labels: np.ndarray,
    num_classes: int,
) -> ImageSet:  # fmt: skip
    for split, images, labels in (("train", train_images, train_labels), ("test", test_images, test_labels)):
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] not in (1, 3):
            raise DataError(f"data set {name!r}: {split} images must be uint8 [M, H, W, 1 or 3], got "
                            f"{images.dtype} {images.shape}")  # fmt: skip
        if labels.shape != images.shape[:1] or not len(labels) or labels.max() >= num_classes:
            raise DataError(f"data set {name!r}: {split} has {len(images)} images and labels of shape {labels.shape}, "
                            f"expected as many labels, each below {num_classes}")  # fmt: skip
    return ImageSet(
        name, train_images, train_labels.astype(np.int32), test_images, test_labels.astype(np.int32), num_classes
    )
