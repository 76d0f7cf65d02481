"""torch's zip format (torch >= 1.6), read without torch. Checksums are verified for all that is read."""

import dataclasses
from pathlib import Path

import numpy as np

from xray_jax.checkpoints.archive import MAGIC, Archive
from xray_jax.checkpoints.contents import CheckpointError, Tensors
from xray_jax.checkpoints.torch import pickles, state_dict, torch_script
from xray_jax.checkpoints.torch.pickle_values import Blob

NAME = "torch"
_PICKLE = "data.pkl"


def matches(path: Path, head: bytes) -> bool:
    """A zip archive with one folder that holds a `data.pkl`."""
    return head.startswith(MAGIC) and _prefix(Archive(path)) is not None


def read(path: Path) -> Tensors:
    """The state dict, its tensors lazy; see `state_dict.extract`."""
    archive = Archive(path)
    prefix = _prefix(archive)
    assert prefix is not None
    container = _Container(archive, prefix)
    with archive.open(prefix + _PICKLE) as (file, start, end):
        pickle = pickles.read(file, start, end)
    if pickle.end != end:
        raise CheckpointError("its pickle ends before its member does: damaged")
    extract = torch_script.extract if prefix + torch_script.CONSTANTS in archive.members else state_dict.extract
    found = extract(pickle, container, archive.source.size)
    if archive.checksums:
        return found
    return dataclasses.replace(found, notes=(*found.notes, "written without checksums"))


def _prefix(archive: Archive) -> str | None:
    """The folder in which torch.save put everything, with its slash."""
    found = [name.removesuffix(_PICKLE) for name in archive.members if name.split("/")[1:] == [_PICKLE]]
    return found[0] if len(found) == 1 else None


class _Container:
    def __init__(self, archive: Archive, prefix: str) -> None:
        self._archive = archive
        self._prefix = prefix
        self._last: tuple[str, np.ndarray] | None = None
        order = f"{prefix}byteorder"
        # Absent in files before torch 2.1, which were little-endian.
        declared = archive.read(order).tobytes() if order in archive.members else b"little"
        if declared not in (b"little", b"big"):
            raise CheckpointError(f"its byte order is {declared[:20]!r}, expected little or big: damaged")
        self.big_endian = declared == b"big"

    def storage_bytes(self, key: str) -> int:
        member = self._archive.members.get(f"{self._prefix}data/{key}")
        if member is None:
            raise CheckpointError(f"it has no storage {key[:80]!r}: damaged")
        return member.size

    def storage(self, key: str) -> np.ndarray:
        # Tensors that share a storage usually follow each other.
        if self._last is None or self._last[0] != key:
            self._last = None
            self._last = (key, self._archive.read(f"{self._prefix}data/{key}"))
        return self._last[1]

    def blob(self, blob: Blob) -> bytes:
        member = self._archive.members[self._prefix + _PICKLE]
        if member.deflated:
            return self._archive.read(member.name)[blob.offset : blob.offset + blob.length].tobytes()
        return self._archive.source.read(blob.offset, blob.length).tobytes()
