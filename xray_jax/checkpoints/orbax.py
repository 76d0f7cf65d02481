"""Orbax directories: what Flax users save, and this package's native checkpoints.

Declared shapes and chunk sizes are checked against the bytes on disk before anything is allocated. Orbax keeps
checksums of its index but not of the array data; native checkpoints carry a digest of their own.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from xray_jax.checkpoints import native
from xray_jax.checkpoints.contents import MAX_JSON_BYTES, SLACK, CheckpointError, Tensors, parse_json, unflatten

NAME = "orbax"
_TREE = "_METADATA"
_STEP = "_CHECKPOINT_METADATA"
_ITEMS = ("default", "state", "params", "model", "variables")
_OPTIMISER = ("opt_state", "optimizer", "optimiser")


def matches(path: Path, head: bytes) -> bool:
    return not head and _item(path) is not None


def read(path: Path) -> Tensors:
    """Arrays of the tree's model state (the optimiser's is skipped), names joined by "/"."""
    import orbax.checkpoint as ocp

    item = _item(path)
    assert item is not None
    size = _check_files(path)
    with ocp.PyTreeCheckpointer() as checkpointer:
        declared = checkpointer.metadata(str(item)).item_metadata.tree
        leaves, _ = jax.tree_util.tree_flatten_with_path(declared)
        structure = jax.tree.structure(declared)
        names = [jax.tree_util.keystr(where, simple=True, separator="/") for where, _ in leaves]
        kept = [_is_weight(name, leaf) for name, (_, leaf) in zip(names, leaves, strict=True)]
        _check_sizes([leaf for (_, leaf), keep in zip(leaves, kept, strict=True) if keep], size)
        items = [leaf if keep else ocp.PLACEHOLDER for (_, leaf), keep in zip(leaves, kept, strict=True)]
        restore = [ocp.RestoreArgs(restore_type=np.ndarray) for _ in leaves]
        restored = checkpointer.restore(
            str(item), item=jax.tree.unflatten(structure, items), restore_args=jax.tree.unflatten(structure, restore)
        )
    values = jax.tree.leaves(restored, is_leaf=lambda leaf: leaf is ocp.PLACEHOLDER)
    arrays = {name: value for name, value, keep in zip(names, values, kept, strict=True) if keep}
    skipped = sorted({name.split("/")[0] for name, keep in zip(names, kept, strict=True) if not keep})
    notes: tuple[str, ...] = (f"skipped in the tree: {', '.join(skipped)}",) if skipped else ()
    if item != path:
        notes += (f"read from {item.relative_to(path)}",)
    return native.tensors(arrays, _stored(item), notes, size)


def save(path: str | Path, variables: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
    """Writes a linen variables tree with JSON metadata as an orbax directory, replacing what is there."""
    import orbax.checkpoint as ocp

    arrays = native.host_arrays(variables)
    with ocp.PyTreeCheckpointer() as checkpointer:
        checkpointer.save(
            str(Path(path).absolute()),
            unflatten(arrays),
            force=True,
            custom_metadata=native.header(arrays, metadata),
        )


def _item(path: Path) -> Path | None:
    """The directory that holds the tree: `path`, an item in it, or the same in the newest step of a manager."""
    if (path / _TREE).is_file():
        return path
    for name in _ITEMS:
        if (path / name / _TREE).is_file():
            return path / name
    steps = [entry for entry in path.iterdir() if entry.name.isdecimal() and entry.is_dir() and not entry.is_symlink()]
    for step in sorted(steps, key=lambda entry: int(entry.name), reverse=True)[:1]:
        return next((step / name for name in ("", *_ITEMS) if (step / name / _TREE).is_file()), None)
    return None


def _check_files(path: Path) -> int:
    """Bytes on disk, after refusing what orbax never writes and what would be read unbounded."""
    size = 0
    for entry in path.rglob("*"):
        if entry.is_symlink():
            raise CheckpointError(f"{entry.relative_to(path)} is a symbolic link: refused in an orbax directory")
        if entry.is_file():
            length = entry.stat().st_size
            if entry.name in (_TREE, _STEP, "_sharding") and length > MAX_JSON_BYTES:
                raise CheckpointError(f"{entry.name} has {length} bytes, more than {MAX_JSON_BYTES}: refused")
            size += length
    return size


def _is_weight(name: str, leaf: Any) -> bool:
    return getattr(leaf, "dtype", None) is not None and hasattr(leaf, "shape") and name.split("/")[0] not in _OPTIMISER


def _check_sizes(leaves: list[Any], size: int) -> None:
    declared = 0
    for leaf in leaves:
        storage = getattr(leaf, "storage", None)
        chunk = storage.chunk_shape if storage is not None and storage.chunk_shape else leaf.shape
        items = max(math.prod(leaf.shape), math.prod(chunk))
        declared += items * np.dtype(leaf.dtype).itemsize
    if declared > size + SLACK:
        raise CheckpointError(f"it declares {declared} bytes of arrays, {size} are on disk: refused")


def _stored(item: Path) -> Any:
    """The custom metadata of the step: in the tree's own directory, or one above it for an item of a step."""
    for folder in (item, item.parent):
        if (folder / _STEP).is_file():
            found = parse_json((folder / _STEP).read_bytes(), _STEP)
            return found.get("custom_metadata") if isinstance(found, dict) else None
    return None
