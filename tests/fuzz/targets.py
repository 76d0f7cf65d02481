"""What is fuzzed: each reader, as the scanner calls it, up to the point where arrays and a network are there."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np

from tests.fuzz import bundle
from tests.fuzz.rehearsal import Rehearsal
from xray_jax import samples
from xray_jax.checkpoints import formats, loading, stored_metadata
from xray_jax.checkpoints.contents import CheckpointError, LazyArray, Tensors
from xray_jax.checkpoints.programs import jax_export
from xray_jax.sweep import checkpoint_list

MAX_BYTES = 16 << 20
"""Of arrays that exist only to be recognised."""


@dataclass(frozen=True)
class Target:
    """One kind of file.

    Attributes:
      place: writes an input as a file or folder inside of a folder, and returns its path.
      read: reads a path.
      error: what it may raise.
    """

    place: Callable[[bytes, Path], Path]
    read: Callable[[Path], object]
    error: type[Exception] = CheckpointError


def _named(name: str) -> Callable[[bytes, Path], Path]:
    def place(data: bytes, folder: Path) -> Path:
        (folder / name).write_bytes(data)
        return folder / name

    return place


def _zipped(name: str) -> Callable[[bytes, Path], Path]:
    return lambda data, folder: bundle.as_zip(data, folder / name)


def _folder(name: str) -> Callable[[bytes, Path], Path]:
    return lambda data, folder: bundle.as_folder(data, folder / name)


_SUFFIXES = ("", ".bin", ".pth", ".ckpt", ".pkl", ".h5", ".keras", ".npz", ".onnx", ".msgpack", ".safetensors", ".tar")


def _any(data: bytes, folder: Path) -> Path:
    """The first byte chooses the suffix."""
    path = folder / f"a{_SUFFIXES[data[0] % len(_SUFFIXES)] if data else ''}"
    path.write_bytes(data[1:])
    return path


def read_contents(path: Path) -> None:
    """All arrays of a file of weights, or a model."""
    contents = formats.read(path)
    if not isinstance(contents, Tensors):
        return
    for array in contents.arrays.values():
        try:
            np.asarray(array)
        except CheckpointError as error:
            raise CheckpointError(f"{path}: {error}") from error.__cause__


REHEARSAL = Rehearsal()


def place_exported(data: bytes, folder: Path) -> Path:
    """A program, and the process that looks at it first."""
    REHEARSAL.start()
    return _named("a.jaxexport")(data, folder)


def read_exported(path: Path) -> None:
    """A program of `jax.export`."""
    with mock.patch.object(jax_export, "_rehearse", REHEARSAL):
        formats.read(path)


def read_manifest(path: Path) -> None:
    """Its entries, and what they are called."""
    for entry in checkpoint_list.collect(str(path)):
        if entry.remote is not None:
            _ = entry.where, entry.remote.address.name, entry.remote.address.has_query


def recognise(path: Path) -> None:
    """The network of a file of which only names, shapes and metadata are there: a JSON object of two."""
    try:
        content = json.loads(path.read_bytes())
        arrays = {name: _zeros(shape) for name, shape in content["arrays"].items()}
        metadata = dict(content["metadata"])
    except (ValueError, AttributeError, TypeError, KeyError, RecursionError):
        # The input is this function's own.
        return
    if sum(array.nbytes for array in arrays.values()) > MAX_BYTES:
        return
    try:
        loading.classifier(stored_metadata.tensors(arrays, metadata, (), 0), None, None, None, None)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error


def _zeros(shape: list[int]) -> LazyArray:
    sizes = tuple(shape)
    if len(sizes) > 8 or not all(type(length) is int and 0 <= length < 1 << 31 for length in sizes):
        raise ValueError(f"{shape} is no shape")
    return LazyArray(sizes, np.dtype(np.float32), lambda: np.zeros(sizes, np.float32))


TARGETS: dict[str, Target] = {
    "zip": Target(_named("a.pt"), read_contents),
    "npz": Target(_zipped("a.npz"), read_contents),
    "safetensors": Target(_named("a.safetensors"), read_contents),
    "torch": Target(_zipped("a.pt"), read_contents),
    "torch-legacy": Target(_named("a.pth"), read_contents),
    "pickle": Target(_named("a.pkl"), read_contents),
    "keras": Target(_zipped("a.keras"), read_contents),
    "h5": Target(_named("a.h5"), read_contents),
    "msgpack": Target(_named("a.msgpack"), read_contents),
    "orbax": Target(_folder("a"), read_contents),
    "hub": Target(_folder("a"), read_contents),
    "onnx": Target(_named("a.onnx"), read_contents),
    "jax-export": Target(place_exported, read_exported),
    "recognition": Target(_named("a.json"), recognise),
    "any": Target(_any, read_contents),
    "manifest": Target(_named("a.jsonl"), read_manifest, checkpoint_list.ManifestError),
    "samples": Target(_zipped("a.npz"), samples.read, samples.SamplesError),
    "images": Target(_folder("a"), samples.read, samples.SamplesError),
}
"""By the name that `--reader` takes."""
