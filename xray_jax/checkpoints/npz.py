"""numpy archives of named arrays, without pickle. Zip checksums are verified for every array that is read."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from xray_jax.checkpoints import stored_metadata
from xray_jax.checkpoints.archive import MAGIC, Archive
from xray_jax.checkpoints.contents import CheckpointError, LazyArray, Tensors

NAME = "npz"
SUFFIXES = (".npz",)
_SUFFIX = ".npy"
_MAX_HEADER_BYTES = 4096


def matches(path: Path, head: bytes) -> bool:
    """A zip archive of `.npy` members only."""
    return head.startswith(MAGIC) and all(name.endswith(_SUFFIX) for name in Archive(path).members)


def read(path: Path) -> Tensors:
    """Its arrays by name; a text array called `xray_jax` is stored metadata."""
    archive = Archive(path)
    arrays: dict[str, LazyArray] = {}
    stored: dict[str, Any] = {}
    for member in archive.members:
        name = member.removesuffix(_SUFFIX)
        try:
            array = _array(archive, member)
        except (ValueError, EOFError) as error:
            raise CheckpointError(f"array {name}: {error}") from error
        if name == stored_metadata.KEY and array.dtype.kind == "U":
            stored[stored_metadata.KEY] = str(np.asarray(array))
        elif array.dtype.kind in "fiubcV":
            arrays[name] = array
    notes = () if archive.checksums else ("written without checksums",)
    return stored_metadata.tensors(arrays, stored, notes, archive.source.size)


def _array(archive: Archive, member: str) -> LazyArray:
    with archive.open(member) as (file, start, end):
        file.seek(start)
        head = io.BytesIO(file.read(min(end - start, _MAX_HEADER_BYTES)))
    version = npy.read_magic(head)
    if version not in ((1, 0), (2, 0)):
        raise CheckpointError(f"npy version {version} is not read")
    parse = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = parse(head, max_header_size=_MAX_HEADER_BYTES)
    if dtype.hasobject:
        raise CheckpointError("it holds pickled objects: refused; save plain arrays")
    offset = head.tell()

    def load() -> np.ndarray:
        return np.ndarray(shape, dtype, archive.read(member), offset, order="F" if fortran else "C")

    array = LazyArray(shape, dtype, load)
    if array.nbytes != end - start - offset:
        raise CheckpointError(f"{end - start - offset} bytes for {shape} of {dtype}: damaged")
    return array
