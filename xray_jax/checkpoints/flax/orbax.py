"""Orbax directories: what Flax users save, and the laboratory's checkpoints.

Written by orbax, read through tensorstore, the library below it: orbax restores whole trees, and from a damaged one it
leaves pending reads that print tracebacks. Declared shapes and chunks are checked against the bytes on disk before
anything is allocated. There are checksums of the index but not of the array data; `save` adds a digest.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flax.traverse_util import unflatten_dict

from xray_jax.checkpoints import stored_metadata
from xray_jax.checkpoints.contents import (
    MAX_JSON_BYTES,
    OPTIMISER_KEYS,
    SLACK,
    Array,
    CheckpointError,
    LazyArray,
    Tensors,
    check_budget,
    parse_json,
)
from xray_jax.checkpoints.flax import zstd_frames

NAME = "orbax"
_TREE = "_METADATA"
_STEP = "_CHECKPOINT_METADATA"
_ITEMS = ("default", "state", "params", "model", "variables")
_OCDBT = "manifest.ocdbt"
_ARRAY_TYPES = ("np.ndarray", "jax.Array", "scalar")
_EMPTY_TYPES = ("string", "None", "Dict", "List", "Tuple", "NamedTuple")


def matches(path: Path, head: bytes) -> bool:
    """A directory with orbax's tree of metadata in it."""
    return not head and _item(path) is not None


def read(path: Path) -> Tensors:
    """Arrays of the tree's model state (the optimiser's is skipped), names joined by "/", read late."""
    item = _item(path)
    assert item is not None
    size = _check_files(path, item)
    index = parse_json((item / _TREE).read_bytes(), _TREE)
    arrays: dict[str, Array] = {}
    skipped: set[str] = set()
    for keys, kind in _leaves(index):
        if kind not in _ARRAY_TYPES + _EMPTY_TYPES:
            raise CheckpointError(f"leaf {'/'.join(keys)} is of the kind {str(kind)[:40]!r}: not read, or damaged")
        if keys[0] in OPTIMISER_KEYS or kind in _EMPTY_TYPES:
            skipped.add(keys[0])
            continue
        name = "/".join(keys)
        try:
            arrays[name] = _open(item, ".".join(keys), index, size)
        except ValueError as error:
            # tensorstore's messages repeat the whole specification.
            raise CheckpointError(f"leaf {name}: {str(error).split(' [', 1)[0][:200]}") from error
    notes: tuple[str, ...] = (f"skipped in the tree: {', '.join(sorted(skipped))}",) if skipped else ()
    if item != path:
        notes += (f"read from {item.relative_to(path)}",)
    check_budget(arrays.values(), size)
    return stored_metadata.tensors(arrays, _stored(item), notes, size)


def parts(path: Path) -> list[Path]:
    """The files that are read: those of the tree, and the metadata of its step. A manager's older steps are not."""
    item = _item(path)
    assert item is not None
    inside = [entry for entry in item.rglob("*") if not entry.is_dir()]
    return inside if item == path or not (item.parent / _STEP).exists() else [*inside, item.parent / _STEP]


def save(path: str | Path, variables: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
    """Writes a linen variables tree with JSON metadata as an orbax directory, replacing what is there."""
    import orbax.checkpoint as ocp

    arrays = stored_metadata.host_arrays(variables)
    with ocp.PyTreeCheckpointer() as checkpointer:
        checkpointer.save(
            str(Path(path).absolute()),
            unflatten_dict(arrays, sep="/"),
            force=True,
            custom_metadata=stored_metadata.header(arrays, metadata),
        )


def _item(path: Path) -> Path | None:
    """The directory that holds the tree: `path`, an item in it, or the same in a manager's newest step with one."""
    if (path / _TREE).is_file():
        return path
    for name in _ITEMS:
        if (path / name / _TREE).is_file():
            return path / name
    steps = [entry for entry in path.iterdir() if entry.name.isdecimal() and entry.is_dir() and not entry.is_symlink()]
    newest_first = sorted(steps, key=lambda entry: int(entry.name), reverse=True)
    items = (step / name for step in newest_first for name in ("", *_ITEMS))
    return next((item for item in items if (item / _TREE).is_file()), None)


def _check_files(path: Path, item: Path) -> int:
    """Bytes of the tree on disk, after refusing what orbax never writes and what would unpack without bound."""
    files: list[Path] = []
    for entry in {*parts(path), *item.rglob("*"), item, item.parent} - {path, path.parent}:
        if entry.is_symlink():
            raise CheckpointError(f"{entry.relative_to(path)} is a symbolic link: refused in an orbax directory")
        if entry.is_file():
            files.append(entry)
    size = sum(file.stat().st_size for file in files)
    for file in files:
        if file.name in (_TREE, _STEP) and file.stat().st_size > MAX_JSON_BYTES:
            raise CheckpointError(f"{file.name} has more than {MAX_JSON_BYTES} bytes: refused")
        if zstd_frames.largest(file.read_bytes()) > size + SLACK:
            raise CheckpointError(
                f"{file.relative_to(path)} unpacks to far more than the {size} bytes on disk: refused"
            )
    return size


def _leaves(index: Any) -> list[tuple[list[str], Any]]:
    """Keys and kind of each leaf of the tree.

    Raises:
      CheckpointError: its metadata are not what orbax writes.
    """
    try:
        tree = index["tree_metadata"].values()
        keys = [[str(part["key"]) for part in entry["key_metadata"]] for entry in tree]
        kinds = [entry["value_metadata"]["value_type"] for entry in tree]
    except (AttributeError, KeyError, TypeError) as error:
        raise CheckpointError(f"{_TREE} is not what orbax writes ({type(error).__name__}: {error}): damaged") from error
    if not all(keys):
        raise CheckpointError(f"{_TREE} has a leaf without a name: damaged")
    return list(zip(keys, kinds, strict=True))


def _open(item: Path, name: str, index: dict[str, Any], size: int) -> LazyArray:
    """One array of the tree. Only its metadata are read now."""
    import tensorstore

    store: dict[str, Any] = {"driver": "file", "path": f"{item.absolute()}/{name}/"}
    if (item / _OCDBT).is_file():
        store = {"driver": "ocdbt", "base": {"driver": "file", "path": f"{item.absolute()}/"}, "path": f"{name}/"}
    spec = {
        "driver": "zarr3" if index.get("use_zarr3") else "zarr",
        "kvstore": store,
        # Chunks of zeros are left out only by writers that say so; others' missing chunks are lost ones.
        "fill_missing_data_reads": not index.get("store_array_data_equal_to_fill_value", False),
    }
    found = tensorstore.open(spec, open=True, read=True).result()
    # The codec's own `to_json`: the whole specification's leaks what it returns (tensorstore 0.1).
    codec = found.codec.to_json() if found.codec is not None else {}
    used = {part.get("name") or part.get("id") for part in _compression(codec)}
    if unknown := used - {"zstd", None}:
        raise CheckpointError(f"leaf {name}: compressed by {sorted(map(str, unknown))}, orbax uses zstd: refused")
    dtype = found.dtype.numpy_dtype
    chunk = found.chunk_layout.read_chunk.shape or ()
    if math.prod(length or 1 for length in chunk) * dtype.itemsize > size + SLACK:
        raise CheckpointError(f"its chunks of {tuple(chunk)} unpack to more than the {size} bytes on disk: refused")
    return LazyArray(tuple(found.shape), dtype, lambda: found.read().result())


def _compression(metadata: Any) -> list[dict[str, Any]]:
    """The compressors of a zarr (version 2: one or none) or zarr3 (any nesting of codecs) array."""
    codecs = [metadata.get("compressor") or {}, *metadata.get("codecs", [])]
    harmless = ("bytes", "transpose", "crc32c", "sharding_indexed")
    inner = [codec.get("configuration", {}) for codec in codecs if codec.get("name") == "sharding_indexed"]
    nested = [found for configuration in inner for found in _compression(configuration)]
    return [codec for codec in codecs if codec.get("name") not in harmless] + nested


def _stored(item: Path) -> Any:
    """The custom metadata of the step: in the tree's own directory, or one above it for an item of a step."""
    for folder in (item, item.parent):
        if (folder / _STEP).is_file():
            found = parse_json((folder / _STEP).read_bytes(), _STEP)
            return found.get("custom_metadata") if isinstance(found, dict) else None
    return None
