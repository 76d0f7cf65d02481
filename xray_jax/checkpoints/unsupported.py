"""Unsupported files, often mistaken for checkpoints or holding one in a form that is not read, and the way out."""

from pathlib import Path
from typing import NoReturn

from xray_jax.checkpoints.contents import CheckpointError

NAME = "unsupported"

_SAVED_MODEL = "a TensorFlow SavedModel, which is not read: export it to ONNX (tf2onnx) or save it from Keras as .keras"
_PACKED = "compressed or packed: unpack it first"
_TAR = f"a tar archive, {_PACKED}; if a torch of 2016 wrote it, save its state dict with a newer one"
_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (
        257,
        b"ustar",
        _TAR,
    ),
    (
        0,
        b"PK\x03\x04",
        "a zip archive of none of the known kinds (programs of torch before 1.4 are not read); if it only "
        "packs a checkpoint, unpack it first",
    ),
    (0, b"\x1f\x8b", _PACKED),
    (0, b"\xfd7zXZ\x00", _PACKED),
    (0, b"7z\xbc\xaf\x27\x1c", _PACKED),
    (0, b"BZh", _PACKED),
    (0, b"\x28\xb5\x2f\xfd", _PACKED),
    (0, b"Rar!", _PACKED),
    (0, b"version https://git-lfs", "a Git LFS pointer, not the file itself: run `git lfs pull` where it comes from"),
    (0, b"<!DOCTYPE", "an HTML page: the download gave an error page instead of the file"),
    (0, b"<!doctype", "an HTML page: the download gave an error page instead of the file"),
    (0, b"<html", "an HTML page: the download gave an error page instead of the file"),
)


def matches(path: Path, head: bytes) -> bool:
    """By the signatures of what is often mistaken for a checkpoint."""
    return _what(path, head) is not None


def read(path: Path) -> NoReturn:
    """Always raises `CheckpointError`: what the file is, and how to get at the checkpoint."""
    head = b""
    if not path.is_dir():
        with open(path, "rb") as file:
            head = file.read(512)
    raise CheckpointError(f"it is {_what(path, head)}")


def _what(path: Path, head: bytes) -> str | None:
    if not head:
        return _SAVED_MODEL if (path / "saved_model.pb").is_file() else None
    return next((what for start, sign, what in _SIGNATURES if head.startswith(sign, start)), None)
