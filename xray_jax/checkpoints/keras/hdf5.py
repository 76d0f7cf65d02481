"""The part of HDF5 that Keras writes, read in Python with every bound checked.

libhdf5 is not asked: of 2,000 small Keras files with up to three bytes of metadata changed at random, one made it
crash and three made it loop (HDF5 2.0.0), and one bad file must not take a sweep with it. Nor is there a way to other
files: links, external storage lists and virtual data sets are not implemented, and refused by name.

Understood (HDF5 File Format Specification 3.0): superblock 0 and 1, version-1 object headers, symbol-table groups,
contiguous and compact data sets of integers and floats, attributes of numbers and strings. This is what h5py writes
unless told otherwise, to this day. Arrays are views of the file: nothing is allocated that its bytes do not hold.
"""

import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import ml_dtypes
import numpy as np

from xray_jax.checkpoints.contents import CheckpointError

SIGNATURE = b"\x89HDF\r\n\x1a\n"
METADATA_BYTES = 32 << 20
"""How much may be read beside the arrays, each reading counting as `MIN_READ` at least: damage may point in circles."""
MIN_READ = 64
MAX_DEPTH = 64
"""Of groups in groups, one of which may be in itself."""
LONGEST_NAME = 1024
"""Bytes of a member's name; a heap of names may be read from every byte on."""
_UNDEFINED = 0xFFFF_FFFF_FFFF_FFFF
_LATEST = "; save it again with Keras's or h5py's defaults (no libver='latest', track_order or compression)"

_DATASPACE, _LINK_INFO, _DATATYPE, _LINK, _EXTERNAL, _LAYOUT = 0x01, 0x02, 0x03, 0x06, 0x07, 0x08
_ATTRIBUTE, _CONTINUATION, _SYMBOL_TABLE, _ATTRIBUTE_INFO = 0x0C, 0x10, 0x11, 0x15
_SHARED = 0x02

_FLOATS = {(2, 5): np.float16, (2, 8): ml_dtypes.bfloat16, (4, 8): np.float32, (8, 11): np.float64}
"""(bytes, bits of exponent) -> dtype."""


class File:
    """A whole HDF5 file.

    Attributes:
      data: its bytes.
      root: its root group.
    """

    def __init__(self, data: Any) -> None:
        """`data`: the whole file, bytes or a uint8 array.

        Raises:
          CheckpointError: when it is not HDF5, of an unknown version, or shorter than it says.
        """
        self.data = memoryview(data)
        self._budget = METADATA_BYTES
        if self.take(0, 8) != SIGNATURE:
            raise CheckpointError("not HDF5")
        version, offset_size, length_size = self.unpack("<B4xBB", 8)
        if version not in (0, 1) or (offset_size, length_size) != (8, 8):
            raise CheckpointError(f"HDF5 superblock version {version} is not read{_LATEST}")
        base = 24 if version == 0 else 28
        start, _, end, _, _, root = self.unpack("<6Q", base)
        if start:
            raise CheckpointError("HDF5 with a user block is not read")
        if end > len(data):
            raise CheckpointError(
                f"truncated: it says that it has {end} bytes, but there are {len(data)}; copy it again"
            )
        self.root = Node(self, root, "")

    def take(self, offset: int, size: int) -> bytes:
        """`size` bytes at `offset`; raises `CheckpointError` outside of the file, or when too much was taken."""
        if size < 0 or offset < 0 or offset + size > len(self.data):
            raise CheckpointError(f"damaged HDF5: {size} bytes at {offset} lie outside the file")
        self.charge(size)
        return bytes(self.data[offset : offset + size])

    def charge(self, size: int) -> None:
        """Counts `size` bytes of structure; raises `CheckpointError` when they become too many."""
        self._budget -= max(size, MIN_READ)
        if self._budget < 0:
            raise CheckpointError(
                f"HDF5 with more than {METADATA_BYTES} bytes of structure, or one that points in circles"
            )

    def unpack(self, form: str, offset: int) -> tuple[Any, ...]:
        """The numbers at `offset`, in a layout of `struct`."""
        return struct.unpack(form, self.take(offset, struct.calcsize(form)))

    def expect(self, offset: int, signature: bytes) -> None:
        """Raises `CheckpointError` unless the four bytes at `offset` are the signature."""
        if self.take(offset, 4) != signature:
            raise CheckpointError(f"damaged HDF5: no {signature.decode()} at {offset}")


@dataclass(frozen=True)
class _Type:
    """A datatype: numpy's, or None for a variable-length string of 16-byte references."""

    dtype: np.dtype | None
    size: int


class Node:
    """A group or data set. Children and attributes are read when asked for.

    Attributes:
      path: its place in the file, "" for the root.
    """

    def __init__(self, file: File, address: int, path: str) -> None:
        if path.count("/") > MAX_DEPTH:
            raise CheckpointError(f"HDF5 groups nested more than {MAX_DEPTH} deep: refused")
        file.charge(len(path))
        self._file = file
        self.path = path
        self._messages = list(_messages(file, address))
        kinds = {kind for kind, _ in self._messages}
        if kinds & {_LINK_INFO, _LINK}:
            raise CheckpointError(f"HDF5 group {path or '/'} is of the new style, with links{_LATEST}")

    @property
    def is_group(self) -> bool:
        """Whether it is a group, and no data set."""
        return self._find(_SYMBOL_TABLE) is not None

    def _find(self, kind: int) -> bytes | None:
        return next((body for found, body in self._messages if found == kind), None)

    @cached_property
    def children(self) -> Mapping[str, int]:
        """Name -> address of a group's members, in the file's (alphabetic) order."""
        table = self._find(_SYMBOL_TABLE)
        if table is None:
            raise CheckpointError(f"HDF5: {self.path or '/'} is not a group")
        tree, heap = _fields("<QQ", table)
        self._file.expect(heap, b"HEAP")
        size, _, names = self._file.unpack("<QQQ", heap + 8)
        heap_names = self._file.take(names, size)
        members: dict[str, int] = {}
        for node in self._leaves(tree, None):
            self._file.expect(node, b"SNOD")
            (count,) = self._file.unpack("<H", node + 6)
            for entry in range(count):
                name_offset, address, cache = self._file.unpack("<QQI", node + 8 + 40 * entry)
                name_end = heap_names.find(b"\0", name_offset, name_offset + LONGEST_NAME)
                if name_end < 0:
                    raise CheckpointError(f"HDF5: a name in {self.path or '/'} has no end within {LONGEST_NAME} bytes")
                name = heap_names[name_offset:name_end].decode()
                if cache == 2:
                    raise CheckpointError(f"HDF5: {self.path}/{name} is a symbolic link: refused")
                members[name] = address
        return members

    def _leaves(self, address: int, above: int | None) -> Iterator[int]:
        self._file.expect(address, b"TREE")
        kind, level, used = self._file.unpack("<BBH", address + 4)
        # Levels must fall, so that no damage makes a loop.
        if kind != 0 or (above is not None and level != above - 1):
            raise CheckpointError(f"damaged HDF5: group {self.path or '/'} has a broken index")
        for entry in range(used):
            (child,) = self._file.unpack("<Q", address + 32 + 16 * entry)
            if level:
                yield from self._leaves(child, level)
            else:
                yield child

    def __contains__(self, name: str) -> bool:
        return self.is_group and name in self.children

    def __getitem__(self, name: str) -> "Node":
        address = self.children.get(name)
        if address is None:
            raise CheckpointError(f"HDF5: {self.path or '/'} has no {name!r}")
        return Node(self._file, address, f"{self.path}/{name}")

    def walk(self) -> Iterator[tuple[str, "Node"]]:
        """Every data set below, with its path relative to this group."""
        for name in self.children:
            child = self[name]
            if child.is_group:
                yield from ((f"{name}/{path}", node) for path, node in child.walk())
            else:
                yield name, child

    def attributes(self) -> dict[str, Any]:
        """Strings as str, arrays of strings as lists of str, numbers as numpy arrays."""
        if (info := self._find(_ATTRIBUTE_INFO)) is not None:
            offset = 2 + 2 * (info[1] & 1)
            if _fields("<Q", info[offset:])[0] != _UNDEFINED:
                raise CheckpointError(f"HDF5: {self.path or '/'} stores its attributes densely{_LATEST}")
        return dict(self._attribute(body) for kind, body in self._messages if kind == _ATTRIBUTE)

    def _attribute(self, body: bytes) -> tuple[str, Any]:
        version, flags, name_size, type_size, space_size = _fields("<BBHHH", body)
        if version not in (1, 2, 3) or (version > 1 and flags):
            raise CheckpointError(f"HDF5: attribute of {self.path or '/'} has an unknown form")
        align = 8 if version == 1 else 1
        offset = 9 if version == 3 else 8
        parts = []
        for size in (name_size, type_size, space_size):
            parts.append(body[offset : offset + size])
            offset += -(-size // align) * align
        name = parts[0].split(b"\0", 1)[0].decode()
        shape = _shape(parts[2])
        kind = _type(parts[1], f"attribute {name} of {self.path or '/'}")
        count = 0 if shape is None else math.prod(shape)
        data = body[offset : offset + count * kind.size]
        if len(data) != count * kind.size:
            raise CheckpointError(f"damaged HDF5: attribute {name} of {self.path or '/'} is cut short")
        if kind.dtype is None:
            values = [self._string(data[16 * k : 16 * k + 16]) for k in range(count)]
        elif kind.dtype.kind == "S":
            values = [text.decode() for text in np.frombuffer(data, kind.dtype)]
        else:
            return name, np.frombuffer(data, kind.dtype).reshape(shape or (count,))
        return name, values[0] if shape == () else values

    def _string(self, reference: bytes) -> str:
        """A variable-length string: its length, its heap's address and its index there."""
        length, heap, wanted = _fields("<IQI", reference)
        if length == 0:
            return ""
        self._file.expect(heap, b"GCOL")
        (size,) = self._file.unpack("<Q", heap + 8)
        offset, end = heap + 16, heap + size
        while offset + 16 <= end:
            index, used = self._file.unpack("<H6xQ", offset)
            if index == wanted:
                if length > used:
                    break
                return self._file.take(offset + 16, length).split(b"\0", 1)[0].decode()
            offset += 16 + -(-used // 8) * 8
        raise CheckpointError(f"damaged HDF5: a string of {self.path or '/'} is not where it should be")

    def array(self) -> np.ndarray:
        """A data set's values, a view of the file.

        Raises:
          CheckpointError: for kinds of data sets that Keras does not write, and for sizes that do not add up.
        """
        where = f"HDF5 data set {self.path}"
        if self._find(_EXTERNAL) is not None:
            raise CheckpointError(f"{where} is stored in another file: refused")
        space, kind_body, layout = (self._find(kind) for kind in (_DATASPACE, _DATATYPE, _LAYOUT))
        if space is None or kind_body is None or layout is None:
            raise CheckpointError(f"{where} is not complete")
        shape = _shape(space)
        kind = _type(kind_body, where)
        if shape is None or kind.dtype is None or kind.dtype.kind == "S":
            raise CheckpointError(f"{where} does not hold numbers")
        size = math.prod(shape) * kind.size
        version, storage = _fields("<BB", layout)
        if version not in (3, 4):
            raise CheckpointError(f"{where} has a layout of version {version}{_LATEST}")
        if storage == 0:
            (stored,) = _fields("<H", layout[2:])
            data: Any = layout[4 : 4 + stored]
            offset = 0
        elif storage == 1:
            offset, stored = _fields("<QQ", layout[2:])
            data = self._file.data
        else:
            names = {2: "in chunks", 3: "virtually, in other files"}
            raise CheckpointError(f"{where} is stored {names.get(storage, 'in an unknown way')}{_LATEST}")
        if size == 0:
            return np.zeros(shape, kind.dtype)
        if stored != size or offset + size > len(data):
            raise CheckpointError(f"damaged {where}: shape {shape} needs {size} bytes, {stored} are stored at {offset}")
        return np.frombuffer(data, kind.dtype, math.prod(shape), offset).reshape(shape)


def _messages(file: File, address: int) -> Iterator[tuple[int, bytes]]:
    """The messages of an object header, continuation blocks included."""
    version, count, size = file.unpack("<BxH4xI", address)
    if version != 1:
        raise CheckpointError(f"HDF5 object header of version {version} at {address} is not read{_LATEST}")
    blocks = [(address + 16, size)]
    for offset, length in blocks:
        end = offset + length
        while offset + 8 <= end and count > 0:
            kind, body_size, flags = file.unpack("<HHB", offset)
            body = file.take(offset + 8, body_size)
            count -= 1
            offset += 8 + body_size
            if offset > end:
                raise CheckpointError(f"damaged HDF5: a message runs over its header at {address}")
            if kind == _CONTINUATION:
                blocks.append(_fields("<QQ", body))
            elif kind and flags & _SHARED:
                raise CheckpointError(f"HDF5 with a shared message (a committed type) at {address} is not read")
            elif kind:
                yield kind, body


def _fields(form: str, body: bytes) -> tuple[Any, ...]:
    if len(body) < struct.calcsize(form):
        raise CheckpointError("damaged HDF5: a message is cut short")
    return struct.unpack_from(form, body)


def _shape(body: bytes) -> tuple[int, ...] | None:
    """A dataspace's shape; None for a null one."""
    version, rank, _, kind = _fields("<BBBB", body)
    if version not in (1, 2) or rank > 32:
        raise CheckpointError(f"damaged HDF5: a dataspace of version {version} and rank {rank}")
    if version == 2 and kind == 2:
        return None
    return _fields(f"<{rank}Q", body[8 if version == 1 else 4 :])


def _type(body: bytes, where: str) -> _Type:
    head, bits, size = _fields("<BBxxI", body)
    kind = head & 0x0F
    order = ">" if bits & 1 else "<"
    if kind == 0 and size in (1, 2, 4, 8):
        return _Type(np.dtype(f"{order}{'i' if bits & 8 else 'u'}{size}"), size)
    if kind == 1:
        exponent = _fields("<5xB", body[8:])[0]
        if (size, exponent) in _FLOATS and not bits & 0x40:
            return _Type(np.dtype(_FLOATS[size, exponent]).newbyteorder(order), size)
    if kind == 3:
        return _Type(np.dtype(f"S{size}"), size)
    if kind == 9 and bits & 0x0F == 1 and size == 16:
        return _Type(None, 16)
    if kind == 8 and len(body) > 8 and body[8] & 0x0F != 8:
        # An enumeration (h5py's bool) is its base type.
        return _type(body[8:], where)
    raise CheckpointError(f"{where} is neither numbers nor strings (HDF5 type class {kind}): not read")
