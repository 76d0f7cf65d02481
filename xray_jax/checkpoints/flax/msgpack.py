"""Flax msgpack files (`flax.serialization.to_bytes`).

Decoded here rather than by a library, because containers of empty containers would unpack to sixty times the file:
this walk counts what it makes, and its arrays are views of the bytes that were read. The format has no checksum.
"""

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from xray_jax.checkpoints import stored_metadata
from xray_jax.checkpoints.bounded_file import Source
from xray_jax.checkpoints.contents import OPTIMISER_KEYS, CheckpointError, Tensors, flatten
from xray_jax.files import atomic_write

NAME = "msgpack"
SUFFIXES = (".msgpack", ".flax", ".mpk")
_FIRST_KEYS = (b"params", b"batch_stats", b"xray_jax")

_MAX_OBJECTS = 1 << 20
_MAX_DEPTH = 64
_NDARRAY, _COMPLEX, _SCALAR = 1, 2, 3
_CHUNKED = "__msgpack_chunked_array__"
# Plain numbers and booleans only: a dtype name from a file must never reach numpy's parser as it is.
_PLAIN = (np.bool_, np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64)
_FLOAT = (np.float16, np.float32, np.float64, ml_dtypes.bfloat16)
_DTYPES = {np.dtype(kind).name: np.dtype(kind) for kind in _PLAIN + _FLOAT}

_FIXED = {0xC0: None, 0xC2: False, 0xC3: True}
_NUMBERS = {
    0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I",
    0xCF: ">Q", 0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q",
}  # fmt: skip
_SIZED = {
    0xC4: ("bin", ">B"), 0xC5: ("bin", ">H"), 0xC6: ("bin", ">I"),
    0xC7: ("ext", ">B"), 0xC8: ("ext", ">H"), 0xC9: ("ext", ">I"),
    0xD9: ("str", ">B"), 0xDA: ("str", ">H"), 0xDB: ("str", ">I"),
    0xDC: ("array", ">H"), 0xDD: ("array", ">I"), 0xDE: ("map", ">H"), 0xDF: ("map", ">I"),
}  # fmt: skip


def matches(path: Path, head: bytes) -> bool:
    """A map at the top, with the suffix or a first key that flax writes."""
    # A map at the top. That is a weak sign, so it needs the suffix too, or a first key that flax writes.
    if not head or not (0x80 <= head[0] <= 0x8F or head[0] in (0xDE, 0xDF)):
        return False
    return path.suffix.lower() in SUFFIXES or any(key in head[:48] for key in _FIRST_KEYS)


def read(path: Path) -> Tensors:
    """Arrays of the tree's model state (the optimiser's is skipped), names joined by "/"."""
    source = Source.of(path)
    data = source.read(0, source.size).data
    decoder = _Decoder(data)
    tree = decoder.value()
    if not isinstance(tree, dict):
        raise CheckpointError("expected a map of names at the top")
    if decoder.position != len(data):
        raise CheckpointError(f"{len(data) - decoder.position} bytes follow the end of the tree: damaged")
    stored = {stored_metadata.KEY: tree.pop(stored_metadata.KEY, None)}
    leaves = {name: leaf for name, leaf in flatten(tree).items() if name.split("/")[0] not in OPTIMISER_KEYS}
    arrays = {name: leaf for name, leaf in leaves.items() if isinstance(leaf, np.ndarray)}
    skipped = sorted(set(tree) - {name.split("/")[0] for name in arrays})
    notes = (f"skipped in the tree: {', '.join(map(str, skipped))}",) if skipped else ()
    return stored_metadata.tensors(arrays, stored, notes, len(data))


def save(path: str | Path, variables: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
    """Writes a linen variables tree with JSON metadata; `flax.serialization.msgpack_restore` reads it too."""
    from flax import serialization

    arrays = stored_metadata.host_arrays(variables)
    tree = {**variables, **stored_metadata.header(arrays, metadata)}
    with atomic_write(path) as file:
        file.write(serialization.msgpack_serialize(serialization.to_state_dict(tree)))


class _Decoder:
    """The part of msgpack that flax writes, over one buffer. Every length is checked against what is left."""

    def __init__(self, data: memoryview) -> None:
        self.data = data
        self.position = 0
        self.objects = 0

    def value(self, depth: int = 0) -> Any:
        self.objects += 1
        if depth > _MAX_DEPTH or self.objects > _MAX_OBJECTS:
            raise CheckpointError(f"more than {_MAX_DEPTH} levels or {_MAX_OBJECTS} entries: refused")
        tag = self.take(1)[0]
        if tag <= 0x7F or tag >= 0xE0:
            return tag if tag <= 0x7F else tag - 256
        if tag in _FIXED:
            return _FIXED[tag]
        if tag in _NUMBERS:
            return self.number(_NUMBERS[tag])
        if tag in _SIZED:
            kind, width = _SIZED[tag]
            return self.sized(kind, self.number(width), depth)
        if 0xD4 <= tag <= 0xD8:
            return self.sized("ext", 1 << (tag - 0xD4), depth)
        if tag <= 0xBF:
            kind = "map" if tag <= 0x8F else "array" if tag <= 0x9F else "str"
            return self.sized(kind, tag & (0x1F if kind == "str" else 0x0F), depth)
        raise CheckpointError(f"byte {tag:#x} at {self.position - 1} is no msgpack: damaged")

    def sized(self, kind: str, length: int, depth: int) -> Any:
        if kind == "map":
            entries: dict[Any, Any] = {}
            for _ in range(length):
                key = self.value(depth + 1)
                if not isinstance(key, str) or key in entries:
                    raise CheckpointError(f"key {str(key)[:80]!r} is no string or occurs twice: damaged")
                entries[key] = self.value(depth + 1)
            return _join_chunks(entries) if _CHUNKED in entries else entries
        if kind == "array":
            return [self.value(depth + 1) for _ in range(length)]
        if kind == "str":
            return str(self.take(length), "utf-8")
        if kind == "bin":
            return self.take(length)
        code = self.take(1)[0]
        body = self.take(length)
        if code in (_NDARRAY, _SCALAR):
            return _array(body, depth + 1)
        if code == _COMPLEX:
            return None
        raise CheckpointError(f"extension type {code} is none of flax's: refused")

    def number(self, width: str) -> Any:
        return struct.unpack(width, self.take(struct.calcsize(width)))[0]

    def take(self, length: int) -> memoryview:
        start, self.position = self.position, self.position + length
        if self.position > len(self.data):
            raise CheckpointError(f"{length} bytes expected at {start}, {len(self.data) - start} are left: truncated")
        return self.data[start : self.position]


def _array(body: memoryview, depth: int) -> np.ndarray:
    """flax's ndarray: a msgpack triple of shape, dtype name and bytes in C order."""
    inner = _Decoder(body)
    triple = inner.value(depth)
    if not isinstance(triple, list) or len(triple) != 3 or inner.position != len(body):
        raise CheckpointError("an array is not a triple of shape, dtype and bytes: damaged")
    shape, name, raw = triple
    # V2 is how numpy spells bfloat16 when it does not know it.
    dtype = _DTYPES.get("bfloat16" if name == "V2" else name) if isinstance(name, str) else None
    if dtype is None:
        raise CheckpointError(f"an array has the dtype {str(name)[:40]!r}; known: {', '.join(_DTYPES)}")
    if not isinstance(raw, memoryview) or not isinstance(shape, list) or not _are_sizes(shape):
        raise CheckpointError(f"an array of shape {str(shape)[:80]} has no bytes: damaged")
    return np.frombuffer(raw, dtype).reshape(shape)


def _join_chunks(entries: Mapping[str, Any]) -> np.ndarray:
    """Arrays above a gigabyte come as flat chunks."""
    chunks, shape = entries.get("chunks"), entries.get("shape")
    if not isinstance(chunks, Mapping) or not isinstance(shape, Mapping):
        raise CheckpointError("a chunked array lacks its chunks or its shape: damaged")
    parts: list[Any] = [chunks.get(str(k)) for k in range(len(chunks))]
    sizes: list[Any] = [shape.get(str(k)) for k in range(len(shape))]
    if not parts or not all(isinstance(part, np.ndarray) and part.ndim == 1 for part in parts) or not _are_sizes(sizes):
        raise CheckpointError("a chunked array's chunks are no flat arrays, or its shape is none: damaged")
    return np.concatenate(parts).reshape(sizes)


def _are_sizes(shape: list[Any]) -> bool:
    # A bool is an int to Python, and no size to numpy.
    return all(type(length) is int and length >= 0 for length in shape)
