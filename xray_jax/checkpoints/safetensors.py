"""safetensors: one file, or the index of many. The format has no checksum of its own.

Written by the library; read here, because the library maps the file and reads whole tensors, while shapes are enough
until an architecture is recognised.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from xray_jax.checkpoints import stored_metadata
from xray_jax.checkpoints.bounded_file import Source
from xray_jax.checkpoints.contents import MAX_JSON_BYTES, Array, CheckpointError, LazyArray, Tensors, parse_json
from xray_jax.files import atomic_write

NAME = "safetensors"
SUFFIXES = (".safetensors",)
INDEX_SUFFIX = ".safetensors.index.json"
_DTYPES: dict[str, Any] = {
    "F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16, "I64": np.int64,
    "I32": np.int32, "I16": np.int16, "I8": np.int8, "U64": np.uint64, "U32": np.uint32, "U16": np.uint16,
    "U8": np.uint8, "BOOL": np.bool_, "F8_E4M3": ml_dtypes.float8_e4m3fn, "F8_E5M2": ml_dtypes.float8_e5m2,
}  # fmt: skip


def matches(path: Path, head: bytes) -> bool:
    """A header of JSON behind its length, or an index of shards."""
    if path.name.endswith(INDEX_SUFFIX):
        return head.lstrip()[:1] == b"{"
    # Eight bytes of header length, then a JSON object.
    return head[8:9] == b"{" and 2 <= int.from_bytes(head[:8], "little") <= path.stat().st_size - 8


def read(path: Path) -> Tensors:
    """All arrays of the file, or of all shards of the index, read late."""
    return _read_index(path) if path.name.endswith(INDEX_SUFFIX) else _read_file(path)


def parts(path: Path) -> list[Path]:
    """The shards beside an index.

    Raises:
      CheckpointError: as `read` does of an index.
    """
    return _shards(path)[1] if path.name.endswith(INDEX_SUFFIX) else []


def save(path: str | Path, variables: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
    """Writes a linen variables tree, or arrays named otherwise, with JSON metadata as one file."""
    from safetensors import numpy as library

    arrays = {name: np.ascontiguousarray(array) for name, array in stored_metadata.host_arrays(variables).items()}
    with atomic_write(path) as file:
        file.write(library.save(arrays, metadata=stored_metadata.header(arrays, metadata)))


def _read_file(path: Path) -> Tensors:
    source = Source.of(path)
    length = int.from_bytes(source.read(0, 8).tobytes(), "little")
    if length > MAX_JSON_BYTES:
        raise CheckpointError(f"its header declares {length} bytes, more than {MAX_JSON_BYTES}: refused")
    header = parse_json(source.read(8, length).tobytes(), "its header")
    if not isinstance(header, dict):
        raise CheckpointError("its header is not a JSON object: damaged")
    stored = header.pop("__metadata__", None)
    arrays: dict[str, Array] = {}
    ranges: list[tuple[int, int]] = []
    for name, entry in header.items():
        try:
            arrays[name], extent = _array(source, 8 + length, entry)
        except (CheckpointError, KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"leaf {name}: its entry in the header is damaged ({error})") from error
        ranges.append(extent)
    # The format demands it: no holes, no overlaps, nothing behind.
    end = 0
    for start, stop in sorted(ranges):
        if start != end:
            raise CheckpointError(f"its tensors leave a hole or overlap at byte {end}: damaged")
        end = stop
    if 8 + length + end != source.size:
        raise CheckpointError(f"its tensors end at byte {8 + length + end}, the file at {source.size}: truncated")
    return stored_metadata.tensors(arrays, stored, (), source.size)


def _array(source: Source, base: int, entry: dict[str, Any]) -> tuple[LazyArray, tuple[int, int]]:
    dtype, shape, (start, stop) = np.dtype(_DTYPES[entry["dtype"]]), entry["shape"], entry["data_offsets"]
    if not all(type(n) is int and n >= 0 for n in (*shape, start, stop)):
        raise CheckpointError("sizes must be whole numbers")
    read = lambda: source.read(base + start, stop - start).view(dtype).reshape(shape)  # noqa: E731
    array = LazyArray(tuple(shape), dtype, read)
    if array.nbytes != stop - start:
        raise CheckpointError(f"{stop - start} bytes for {shape} of {dtype}")
    return array, (start, stop)


def _shards(path: Path) -> tuple[dict[str, Any], list[Path]]:
    """What an index holds, and the files that it names: all there, and beside it."""
    with open(path, "rb") as file:
        index = parse_json(file.read(MAX_JSON_BYTES + 1), path.name)
    weights = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(weights, dict) or not all(isinstance(shard, str) for shard in weights.values()):
        raise CheckpointError(f"{path.name}: expected an object with `weight_map`: tensor name -> shard file")
    shards = sorted(set(weights.values()))
    for shard in shards:
        if shard != Path(shard).name or "\\" in shard or shard in ("", ".", ".."):
            raise CheckpointError(f"{path.name}: shard {shard!r} is not a plain file name: refused")
        if not (path.parent / shard).is_file():
            raise CheckpointError(f"{path.name}: its shard {shard} is missing; put it beside the index")
    return index, [path.parent / shard for shard in shards]


def _read_index(path: Path) -> Tensors:
    index, shards = _shards(path)
    weights = index["weight_map"]
    arrays: dict[str, Array] = {}
    size = path.stat().st_size
    for shard in shards:
        part = _read_file(shard)
        arrays.update({name: part.arrays[name] for name in part.arrays if weights.get(name) == shard.name})
        size += part.size
    if missing := sorted(set(weights) - set(arrays)):
        raise CheckpointError(f"{path.name}: tensors {missing[:5]} are in none of its shards; copy the shards again")
    return stored_metadata.tensors(arrays, index.get("metadata"), (), size)
