"""The image sets that zoos are trained on, as uint8 arrays.

A set is either an `.npz` (`train_images`, `train_labels`, `test_images`, `test_labels`) or WebP mosaics in a folder:
`<set>-train-<part>.webp` and `<set>-test-<part>.webp` (or `-val-`), tiles in row order, with `<...>.labels.npy` beside
each. `NAME@SIDE` is the set NAME with its images resized to SIDE pixels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from xray_jax import preprocess
from xray_jax.preprocess import Preprocess


@dataclass(frozen=True)
class Mosaics:
    """What a set of mosaics holds.

    Attributes:
      side: of one square tile, in pixels.
      num_classes: labels are below it.
      preprocess: name of the preset that the set's models are trained with.
      flip: whether training may mirror the images; a mirrored digit or traffic sign is another class.
      grey: the files repeat one channel three times; it is taken once.
    """

    side: int
    num_classes: int
    preprocess: str
    flip: bool = True
    grey: bool = False


MOSAICS: Mapping[str, Mosaics] = {
    "cifar10": Mosaics(32, 10, "cifar10"),
    "cifar100": Mosaics(32, 100, "cifar100"),
    "fashionmnist": Mosaics(28, 10, "mnist", grey=True),
    "gtsrb": Mosaics(32, 43, "gtsrb", flip=False),
    "mnist": Mosaics(28, 10, "mnist", flip=False, grey=True),
    "tinyimagenet10": Mosaics(64, 10, "tiny"),
}
"""Name of a set -> what its mosaics hold. The test split of Tiny-ImageNet is its validation split."""
MAX_SIDE = 512
"""Pixels that images may be resized to: the whole set is held in memory."""


class DataError(ValueError):
    """An image set cannot be read; the message names the path and says what was expected."""


@dataclass(frozen=True)
class ImageSet:
    """A labelled image set in two splits.

    Attributes:
      name: of the set.
      train_images: uint8 `[M, H, W, C]`, C = 1 or 3 (RGB).
      train_labels: int32 `[M]`.
      test_images: uint8 `[K, H, W, C]`.
      test_labels: int32 `[K]`.
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
        return self._known.preprocess if self._known else "0-1"

    @property
    def normalise(self) -> Preprocess:
        """From pixel values in [0, 1] to the input space of this set's models."""
        return preprocess.parse(self.preprocess)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, C) of one image."""
        height, width, channels = self.train_images.shape[1:]
        return height, width, channels

    @property
    def flip(self) -> bool:
        """Whether training may mirror the images."""
        return self._known is not None and self._known.flip

    @property
    def _known(self) -> Mosaics | None:
        return MOSAICS.get(self.name.partition("@")[0])


def read(name: str, folder: str | Path) -> ImageSet:
    """Reads the set `name` from `folder`: `<folder>/<name>.npz`, or mosaics in `<folder>` or `<folder>/images`.

    Args:
      name: of the set; `NAME@SIDE` has its images resized to SIDE by SIDE pixels.
      folder: that holds it.

    Raises:
      DataError: for a set that is not there or does not fit together, or a side that is no number of pixels.
    """
    folder = Path(folder).expanduser()
    original, resized, side = name.partition("@")
    if resized:
        return _resized(read(original, folder), name, side)
    if (archive := folder / f"{name}.npz").exists():
        return _read_npz(name, archive)
    if name not in MOSAICS:
        raise DataError(f"data set {name!r}: no {archive}, and no known set of mosaics (known: {sorted(MOSAICS)})")
    places = [place for place in (folder, folder / "images") if next(place.glob(f"{name}-*.webp"), None)]
    if not places:
        raise DataError(f"data set {name!r}: no {name}-*.webp in {folder} or {folder / 'images'}; give --data")
    train, test = (_read_mosaics(places[0], name, splits) for splits in (("train",), ("test", "val")))
    return _checked(name, *train, *test, MOSAICS[name].num_classes)


def _read_mosaics(folder: Path, name: str, splits: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of the first of `splits` that is there."""
    parts = next((found for split in splits if (found := sorted(folder.glob(f"{name}-{split}-*.webp")))), None)
    if parts is None:
        raise DataError(f"data set {name!r}: no {name}-{splits[0]}-*.webp in {folder}")
    side, channels = MOSAICS[name].side, 1 if MOSAICS[name].grey else 3
    images, labels = [], []
    for part in parts:
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
        images.append(tiles[: len(found), ..., :channels])
        labels.append(found)
    return np.concatenate(images), np.concatenate(labels)


def _resized(images: ImageSet, name: str, side: str) -> ImageSet:
    """`images` at `side` pixels, under the name `name`."""
    if not side.isdecimal() or not 1 <= int(side) <= MAX_SIDE:
        raise DataError(f"data set {name!r}: expected a side of 1 to {MAX_SIDE} pixels behind the @, got {side!r}")

    def resize(split: np.ndarray) -> np.ndarray:
        out = np.empty((len(split), int(side), int(side), split.shape[-1]), np.uint8)
        for image, place in zip(split, out, strict=True):
            picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
            place[...] = np.asarray(picture.resize((int(side), int(side)), Image.Resampling.BILINEAR)).reshape(
                place.shape
            )
        return out

    return replace(images, name=name, train_images=resize(images.train_images), test_images=resize(images.test_images))


def _read_npz(name: str, path: Path) -> ImageSet:
    keys = ("train_images", "train_labels", "test_images", "test_labels")
    try:
        with np.load(path, allow_pickle=False) as archive:
            train_images, train_labels, test_images, test_labels = (archive[key] for key in keys)
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"data set {path}: expected arrays {', '.join(keys)}: {error}") from error
    known = MOSAICS.get(name)
    classes = known.num_classes if known else int(max(train_labels.max(), test_labels.max())) + 1
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
