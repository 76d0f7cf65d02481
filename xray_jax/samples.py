"""Clean labelled images: read and checked."""

import dataclasses
import math
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".ppm", ".tif", ".tiff")
MAX_BYTES = 8 << 30
MAX_PIXELS = 1 << 24
"""Of one image, 4096 x 4096: a few bytes can ask for any number."""
SHIPPED = {"cifar10": "demo/samples.npz"}
"""Sets that ship with the package, by the name that `read` takes: 200 CIFAR-10 test images."""
_MAX_LABEL = 2**31 - 1
_DEEP = ("I", "F")
"""How Pillow's names of pixels begin that have more than 8 bits a channel: converted, they would be clipped."""
_SETS = f"the package has these sets: {', '.join(SHIPPED)}"


class SamplesError(ValueError):
    """The samples cannot be used; the message names the file and says what was expected."""


@dataclass(frozen=True)
class Samples:
    """Clean images with ground-truth labels.

    Attributes:
      images: float32 `[M, H, W, C]` in [0, 1], C = 1 or 3 (RGB).
      labels: int32 `[M]`, ground truth.
      source: where they come from, for rows.
    """

    images: np.ndarray
    labels: np.ndarray
    source: str = ""

    def __post_init__(self) -> None:
        images, labels = self.images, self.labels
        where = f"samples {self.source or '(given as arrays)'}"
        if images.ndim != 4 or images.shape[-1] not in (1, 3):
            raise SamplesError(f"{where}: images must be [M, H, W, C] with C = 1 or 3, got shape {images.shape}")
        if labels.shape != images.shape[:1]:
            raise SamplesError(f"{where}: {len(images)} images but labels of shape {labels.shape}")
        if not np.issubdtype(labels.dtype, np.integer):
            raise SamplesError(f"{where}: labels must be integers, got {labels.dtype}")
        if len(labels) and labels.min() < 0:
            raise SamplesError(f"{where}: labels must not be negative, got {labels.min()}")
        if not np.isfinite(images).all():
            raise SamplesError(f"{where}: images contain NaN or infinite values")
        if len(images) and (images.min() < 0 or images.max() > 1):
            raise SamplesError(
                f"{where}: float images must lie in [0, 1], got {images.min():.3g} .. {images.max():.3g}; "
                "give raw pixels, the preprocessing is the checkpoint's (--preprocess)"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        """How many there are, of how many classes and what size, and no pixels."""
        shape, classes = " x ".join(map(str, self.images.shape[1:])), len(np.unique(self.labels))
        return f"<Samples {Path(self.source).name or 'of arrays'}: {len(self)} images {shape}, {classes} classes>"

    def check_classes(self) -> None:
        """Refuses samples that say nothing of a model: it may give all of one class the same label.

        Raises:
          SamplesError: they are of fewer than two classes, or there are none.
        """
        if (classes := len(np.unique(self.labels))) < 2:
            raise SamplesError(
                f"samples {self.source or '(given as arrays)'}: {len(self)} images of {classes} classes; expected "
                "labelled images of at least two classes, best a few hundred of all that the model knows"
            )

    def subset(self, index: np.ndarray) -> "Samples":
        return dataclasses.replace(self, images=self.images[index], labels=self.labels[index])


def from_arrays(images: np.ndarray, labels: np.ndarray, source: str = "") -> Samples:
    """uint8 (0-255) or float (0-1) images, `[M, H, W, C]` or grey `[M, H, W]`, and integer labels `[M]`."""
    images = np.asarray(images)
    if images.ndim == 3:
        images = images[..., None]
    if images.dtype == np.uint8:
        images = images.astype(np.float32) / 255
    elif np.issubdtype(images.dtype, np.floating):
        images = images.astype(np.float32)
    else:
        raise SamplesError(f"samples {source}: images must be uint8 or float, got {images.dtype}")
    labels = np.asarray(labels)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if np.issubdtype(labels.dtype, np.integer):
        if labels.size and int(labels.max()) > _MAX_LABEL:
            raise SamplesError(f"samples {source}: label {labels.max()} is beyond {_MAX_LABEL}")
        labels = labels.astype(np.int32)
    return Samples(images, labels, source)


def read(path: str | Path) -> Samples:
    """Reads an `.npz` with `images` and `labels`, or a folder with one sub-folder of images a class.

    Sub-folders that are all numbers give those labels; otherwise labels number the sorted names. What systems leave
    behind, `.hidden` sub-folders and `__MACOSX`, is no class.

    Args:
      path: the file or folder, or a name of `SHIPPED`; a file or folder of such a name comes first.

    Raises:
      SamplesError: naming the path and what was expected.
    """
    name, path = str(path), Path(path).expanduser()
    if name in SHIPPED and not path.exists():
        shipped = _read_npz(Path(str(resources.files("xray_jax"))) / SHIPPED[name])
        return dataclasses.replace(shipped, source=name)
    try:
        if path.is_dir():
            return _read_folder(path)
        if path.suffix == ".npz":
            return _read_npz(path)
    except OSError as error:
        raise SamplesError(f"samples {path}: cannot be read: {error}") from error
    if not path.exists():
        raise SamplesError(f"samples {path}: no such file or folder, and {_SETS}")
    raise SamplesError(f"samples {path}: expected an .npz with `images` and `labels`, or a folder of class folders")


def _read_npz(path: Path) -> Samples:
    try:
        # Opened here: of a broken archive, numpy would leave the file open.
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            if missing := {"images", "labels"} - set(archive.files):
                raise SamplesError(f"samples {path}: no array {sorted(missing)}; found {sorted(archive.files)}")
            declared = sum(info.file_size for info in archive.zip.infolist())
            if declared > MAX_BYTES:
                raise SamplesError(f"samples {path}: unpacks to {declared} bytes, more than {MAX_BYTES}")
            return from_arrays(_array(archive, "images"), _array(archive, "labels"), str(path))
    except SamplesError:
        raise
    except FileNotFoundError as error:
        raise SamplesError(f"samples {path}: no such file, and {_SETS}") from error
    except Exception as error:  # numpy and zipfile raise many kinds for broken archives
        raise SamplesError(f"samples {path}: not a readable .npz ({type(error).__name__}: {error})") from error


def _array(archive: Any, name: str) -> np.ndarray:
    """An array of numpy's archive, of which all is there: numpy takes the memory that a header asks for first."""
    member = name if name in archive.zip.namelist() else f"{name}.npy"
    with archive.zip.open(member) as file:
        version = npy.read_magic(file)
        parse = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = parse(file)
    if math.prod(shape) * dtype.itemsize > (there := archive.zip.getinfo(member).file_size):
        raise ValueError(f"{name} say that they are {shape} of {dtype}, in {there} bytes: damaged")
    return np.asarray(archive[name])


def _read_folder(path: Path) -> Samples:
    from PIL import Image

    folders = sorted(
        entry
        for entry in path.iterdir()
        if entry.is_dir() and not entry.name.startswith(".") and entry.name != "__MACOSX"
    )
    if not folders:
        raise SamplesError(f"samples {path}: expected one sub-folder of images a class, found none")
    named = [folder.name for folder in folders if not folder.name.isdecimal()]
    if 0 < len(named) < len(folders):
        raise SamplesError(
            f"samples {path}: sub-folders that are numbers beside {named[0]!r}: labels would be unclear; name all "
            "classes, number all, or move what is none"
        )
    images: list[np.ndarray] = []
    labels: list[int] = []
    for position, folder in enumerate(folders):
        for file in sorted(entry for entry in folder.iterdir() if entry.suffix.lower() in IMAGE_SUFFIXES):
            try:
                with Image.open(file) as image:
                    if math.prod(image.size) > MAX_PIXELS:
                        width, height = image.size
                        raise SamplesError(f"{width} x {height} pixels, more than {MAX_PIXELS} in all: resize it")
                    if image.mode.startswith(_DEEP):
                        raise SamplesError(f"pixels of kind {image.mode}: save it with 8 bits a channel")
                    pixels = np.asarray(image if image.mode == "L" else image.convert("RGB"))
            except Exception as error:  # Pillow raises many kinds for broken images
                raise SamplesError(f"samples {file}: not a readable image ({error})") from error
            pixels = pixels[..., None] if pixels.ndim == 2 else pixels
            if images and pixels.shape != images[0].shape:
                raise SamplesError(f"samples {file}: shape {pixels.shape}, the first image has {images[0].shape}")
            images.append(pixels)
            labels.append(position if named else int(folder.name))
    if not images:
        raise SamplesError(f"samples {path}: no images ({', '.join(IMAGE_SUFFIXES)}) in its sub-folders")
    return from_arrays(np.stack(images), np.asarray(labels), str(path))
