"""torch's stream format (before torch 1.6), read without torch: five pickles, then the storages. No checksums."""

import struct
from pathlib import Path

import numpy as np

from xray_jax.checkpoints.bounded_file import Source
from xray_jax.checkpoints.contents import CheckpointError, Tensors
from xray_jax.checkpoints.torch import pickles, state_dict
from xray_jax.checkpoints.torch.pickle_values import Blob, Pickle
from xray_jax.checkpoints.torch.tensors import pairs, storage_reference

NAME = "torch-legacy"
_MAGIC = 0x1950A86A20F9469CFC6C
_SIGNS = (_MAGIC.to_bytes(10, "little"), str(_MAGIC).encode())
_PROTOCOL = 1001
_TAR = "ustar"


def matches(path: Path, head: bytes) -> bool:
    """By torch's magic number."""
    # The magic number is a pickle itself, binary or in protocol 0's decimals.
    return any(sign in head[:40] for sign in _SIGNS)


def read(path: Path) -> Tensors:
    """The state dict, its tensors lazy; see `state_dict.extract`."""
    source = Source.of(path)
    with source.open() as file:
        position = 0
        values = []
        for _ in range(5):
            pickle = pickles.read(file, position, source.size)
            values.append(pickle)
            position = pickle.end
    magic, protocol, system, content, keys = values
    if magic.value != _MAGIC or protocol.value != _PROTOCOL or pairs(system.value) is None:
        raise CheckpointError("its first pickles are not torch's: damaged")
    container = _Container(source, _locate(source, position, content, keys.value))
    return state_dict.extract(content, container, source.size)


def _locate(source: Source, position: int, content: Pickle, keys: object) -> dict[str, tuple[int, int]]:
    """Storage key -> (first byte, bytes). Storages follow the pickles in the order of `keys`, each after its count."""
    declared: dict[str, tuple[int, int]] = {}
    for reference in content.references:
        if isinstance(reference.id, tuple) and reference.id and reference.id[0] == "storage":
            dtype, key, count, _ = storage_reference(reference)
            if declared.setdefault(key, (count, dtype.itemsize)) != (count, dtype.itemsize):
                raise CheckpointError(f"storage {key} is declared twice, differently: damaged")
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys) or set(keys) != set(declared):
        raise CheckpointError("its list of storages is not the one that its tensors need: damaged")
    found: dict[str, tuple[int, int]] = {}
    for key in keys:
        count, width = declared[key]
        (stored,) = struct.unpack("<q", source.read(position, 8).data)
        if stored != count or key in found:
            raise CheckpointError(f"storage {key} has {stored} elements, {count} are declared: damaged")
        found[key] = (position + 8, count * width)
        position += 8 + count * width
        if position > source.size:
            raise CheckpointError(f"storage {key} ends at {position}, the file at {source.size}: truncated")
    if position != source.size:
        raise CheckpointError(f"{source.size - position} bytes follow its last storage: damaged")
    return found


class _Container:
    # Always, whatever machine wrote the file: torch's writer swaps.
    big_endian = False

    def __init__(self, source: Source, places: dict[str, tuple[int, int]]) -> None:
        self._source = source
        self._places = places

    def storage_bytes(self, key: str) -> int:
        if key not in self._places:
            raise CheckpointError(f"it has no storage {key[:80]!r}: damaged")
        return self._places[key][1]

    def storage(self, key: str) -> np.ndarray:
        return self._source.read(*self._places[key])

    def blob(self, blob: Blob) -> bytes:
        return self._source.read(blob.offset, blob.length).tobytes()
