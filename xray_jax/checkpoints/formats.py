"""The formats that can be read, and the choice among them by content, never by suffix alone.

A format is a `readers.Reader`, here a module each. To add one, write it and add it to `BUILT_IN`; other packages add
theirs through entry points (`readers`).
"""

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from xray_jax.checkpoints import hugging_face, npz, readers, safetensors, unsupported
from xray_jax.checkpoints.contents import CheckpointError, Tensors, check_budget
from xray_jax.checkpoints.flax import msgpack, orbax
from xray_jax.checkpoints.keras import files
from xray_jax.checkpoints.programs import jax_export, onnx
from xray_jax.checkpoints.readers import Reader, reason
from xray_jax.checkpoints.torch import plain_pickle, stream_file, zip_file
from xray_jax.classifier import Model

HEAD_BYTES = 512


BUILT_IN: tuple[Reader, ...] = (
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
)
"""In the order in which they are asked. Formats with a signature come before those that are guessed."""
SUFFIXES = frozenset(
    suffix
    for reader in (safetensors, files, npz, jax_export, onnx, msgpack, plain_pickle)
    for suffix in reader.SUFFIXES
)
"""How the names of checkpoints end: of files that are errors where they cannot be read."""


def known() -> Iterator[Reader]:
    """All readers in the order in which they are asked: the built-in ones, plugins, what only explains a refusal."""
    yield from BUILT_IN
    yield from readers.plugins(frozenset(reader.NAME for reader in (*BUILT_IN, unsupported)))
    yield unsupported


def format_of(path: str | Path) -> Reader:
    """The reader of a file's or directory's format.

    Raises:
      CheckpointError: when nothing reads it, saying what can be read.
    """
    path = Path(path)
    head = _head(path)
    for candidate in known():
        try:
            if candidate.matches(path, head):
                return candidate
        except CheckpointError as error:
            raise CheckpointError(f"{path}: {error}") from error
        except Exception as error:
            raise CheckpointError(f"{path}: cannot be read as {candidate.NAME} ({reason(error)})") from error
    readable = ", ".join(candidate.NAME for candidate in known() if candidate is not unsupported)
    kind = "directory" if path.is_dir() else "file"
    raise CheckpointError(
        f"{path}: not a checkpoint {kind} of a known format, or damaged at its start; readable: {readable}"
    )


def is_checkpoint(path: str | Path) -> bool:
    """Whether a file or folder is one by its name or by its content, sound or not; what else lies there is none."""
    return Path(path).suffix.lower() in SUFFIXES or has_known_format(path)


def has_known_format(path: str | Path) -> bool:
    """Whether a file's content is of a format that a reader knows; whether a folder is itself one checkpoint."""
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
            for each in map(contents.network, contents.networks) if contents.networks else (contents,):
                # One by one, as they are opened: several may share their storages.
                check_budget(each.arrays.values(), contents.size)
        return contents
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    except Exception as error:
        # Libraries raise all kinds for damaged input, and one bad file must not stop a sweep.
        raise CheckpointError(f"{path}: damaged {chosen.NAME} ({reason(error)}); copy or save it again") from error


def sha256(path: str | Path) -> str:
    """Content hash of a checkpoint.

    Of a file it is the file's own. It goes on over the sorted relative names and contents of other files that hold part
    of the model (weights beside an ONNX file, shards beside an index), and of the files of a folder: those that its
    reader opens, or all where no reader says which.

    Raises:
      CheckpointError: when something in it cannot be read or is neither file nor directory.
    """
    path = Path(path)
    found, total = hashed_files(path), hashlib.sha256()
    base = path if path.is_dir() else path.parent
    if not path.is_dir():
        _hash_file(path, total)
        found.remove(path)
    for name, part in sorted((part.relative_to(base).as_posix(), part) for part in found):
        encoded = name.encode(errors="surrogateescape")
        total.update(len(encoded).to_bytes(8, "little") + encoded)
        total.update((_size(part) or 0).to_bytes(8, "little"))
        _hash_file(part, total)
    return total.hexdigest()


def hashed_files(path: str | Path) -> list[Path]:
    """The files that `sha256` is of, sorted.

    Raises:
      CheckpointError: as `sha256` does.
    """
    path = Path(path)
    parts = _parts(path, _head(path))
    return sorted(parts if path.is_dir() else [path, *parts])


def _parts(path: Path, head: bytes) -> list[Path]:
    """The files of a folder, or beside a file, that are read; of what is refused all in the folder, none beside it."""
    for candidate in (orbax, hugging_face) if path.is_dir() else (safetensors, onnx):
        try:
            if candidate.matches(path, head):
                return candidate.parts(path)
        except CheckpointError:
            break
        except Exception as error:
            raise CheckpointError(
                f"{path}: damaged {candidate.NAME} ({reason(error)}); copy or save it again"
            ) from error
    return [Path(folder, name) for folder, _, names in os.walk(path) for name in names]


def _hash_file(path: Path, total: "hashlib._Hash") -> None:
    try:
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                total.update(block)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror or error})") from error


def _head(path: Path) -> bytes:
    """The first bytes of a file that is not empty; none of a directory."""
    if _size(path) is None:
        return b""
    try:
        with open(path, "rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror or error})") from error
    if not head:
        raise CheckpointError(f"{path}: the file is empty")
    return head


def _size(path: Path) -> int | None:
    """Bytes of a file; None for a directory."""
    try:
        found = path.stat()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror or error})") from error
    if stat.S_ISDIR(found.st_mode):
        return None
    # A pipe or a device would block a sweep for ever, or never end.
    if not stat.S_ISREG(found.st_mode):
        raise CheckpointError(f"{path}: neither a file nor a directory")
    return found.st_size
