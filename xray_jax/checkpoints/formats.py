"""The formats that can be read, and the choice among them by content, never by suffix alone.

A format is a module with `NAME`, `matches` and `read`. To add one, write it and add it to `FORMATS`.
"""

import hashlib
import os
import stat
from pathlib import Path
from typing import Protocol

from xray_jax.checkpoints import hugging_face, npz, safetensors, unsupported
from xray_jax.checkpoints.contents import CheckpointError, Tensors, check_budget
from xray_jax.checkpoints.flax import msgpack, orbax
from xray_jax.checkpoints.keras import files
from xray_jax.checkpoints.programs import jax_export, onnx
from xray_jax.checkpoints.torch import plain_pickle, stream_file, zip_file
from xray_jax.classifier import Model

HEAD_BYTES = 512


class Format(Protocol):
    """One on-disk format. Nothing in a file is ever executed, and no allocation exceeds what the file can hold.

    Attributes:
      NAME: for rows, messages and people.
    """

    @property
    def NAME(self) -> str: ...

    def matches(self, path: Path, head: bytes) -> bool:
        """Whether `path` is of this format. `head`: its first 512 bytes, empty for a directory. Reads little."""
        ...

    def read(self, path: Path) -> Tensors | Model:
        """Its arrays, or a model where the file holds the computation too (then with the identity `Preprocess`).

        Raises:
          CheckpointError: saying what is wrong; any other exception counts as a damaged file.
        """
        ...


FORMATS: tuple[Format, ...] = (
    orbax,
    hugging_face,
    safetensors,
    files,
    zip_file,
    stream_file,
    npz,
    jax_export,
    onnx,
    msgpack,
    plain_pickle,
    unsupported,
)
"""In the order in which they are asked. Formats with a signature come before those that are guessed."""


def format_of(path: str | Path) -> Format:
    """The format of a file or directory.

    Raises:
      CheckpointError: when nothing reads it, saying what can be read.
    """
    path = Path(path)
    head = _head(path)
    for candidate in FORMATS:
        try:
            if candidate.matches(path, head):
                return candidate
        except CheckpointError as error:
            raise CheckpointError(f"{path}: {error}") from error
        except Exception as error:
            raise CheckpointError(f"{path}: cannot be read as {candidate.NAME} ({_reason(error)})") from error
    known = ", ".join(candidate.NAME for candidate in FORMATS if candidate is not unsupported)
    kind = "directory" if path.is_dir() else "file"
    raise CheckpointError(
        f"{path}: not a checkpoint {kind} of a known format, or damaged at its start; readable: {known}"
    )


def is_checkpoint_folder(path: str | Path) -> bool:
    """Whether a folder is itself one checkpoint (orbax, Hugging Face), rather than a folder of them."""
    try:
        format_of(path)
    except CheckpointError:
        return False
    return True


def read(path: str | Path) -> Tensors | Model:
    """Arrays and metadata of any readable checkpoint, or a whole model.

    Raises:
      CheckpointError: naming the file, for whatever is wrong with it.
    """
    path = Path(path)
    chosen = format_of(path)
    try:
        contents = chosen.read(path)
        if isinstance(contents, Tensors):
            if not contents.arrays:
                raise CheckpointError("it holds no arrays; save the network's weights")
            check_budget(contents.arrays.values(), contents.size)
        return contents
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    except Exception as error:
        # Libraries raise all kinds for damaged input, and one bad file must not stop a sweep.
        raise CheckpointError(f"{path}: damaged {chosen.NAME} ({_reason(error)}); copy or save it again") from error


def sha256(path: str | Path) -> str:
    """Content hash of a file; of a directory, over the sorted relative names and contents of its files.

    Raises:
      CheckpointError: when something in it cannot be read or is neither file nor directory.
    """
    path = Path(path)
    _head(path)
    total = hashlib.sha256()
    if not path.is_dir():
        _hash_file(path, total)
        return total.hexdigest()
    entries = sorted(
        (Path(folder, name) for folder, _, names in os.walk(path) for name in names),
        key=lambda entry: entry.relative_to(path).as_posix(),
    )
    for entry in entries:
        name = entry.relative_to(path).as_posix().encode(errors="surrogateescape")
        total.update(len(name).to_bytes(8, "little") + name)
        total.update(_head_size(entry).to_bytes(8, "little"))
        _hash_file(entry, total)
    return total.hexdigest()


def _hash_file(path: Path, total: "hashlib._Hash") -> None:
    try:
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                total.update(block)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror or error})") from error


def _head_size(path: Path) -> int:
    _head(path)
    return path.stat().st_size


def _head(path: Path) -> bytes:
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            return b""
        # A pipe or a device would block a sweep for ever, or never end.
        if not stat.S_ISREG(mode):
            raise CheckpointError(f"{path}: neither a file nor a directory")
        with open(path, "rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror or error})") from error
    if not head:
        raise CheckpointError(f"{path}: the file is empty")
    return head


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
