"""Zip archives, read strictly: what `torch.save`, `np.savez` and Keras write, and nothing more.

Not the standard library's `zipfile`, because members must be found as byte ranges of the file, the directory must
not be parsed into objects before its size is bounded, and the two descriptions that a zip keeps of each member must
agree: a reader that believes only one of them can be shown other bytes than the tool that checked the file.
"""

import contextlib
import functools
import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from xray_jax.checkpoints.bounded_file import Source
from xray_jax.checkpoints.contents import SLACK, CheckpointError

MAGIC = b"PK\x03\x04"
MAX_DIRECTORY_BYTES = 8 << 20
"""Some 80,000 members of usual names."""

_STORED, _DEFLATED = 0, 8
_ENCRYPTED, _SIZES_FOLLOW = 0x1, 0x8
_END, _END64, _LOCATOR64, _ENTRY, _LOCAL = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07", b"PK\x01\x02", MAGIC
_END_BYTES, _END64_BYTES, _LOCATOR64_BYTES, _ENTRY_BYTES, _LOCAL_BYTES = 22, 56, 20, 46, 30
_FULL = 0xFFFFFFFF


@dataclass(frozen=True)
class Member:
    """One file of the archive.

    Attributes:
      name: its path in the archive.
      start: byte of the archive file where its data begin.
      stored: bytes that its data take there.
      size: bytes to which they unpack.
      crc: CRC-32 of these.
      deflated: whether the data are compressed.
    """

    name: str
    start: int
    stored: int
    size: int
    crc: int
    deflated: bool


class Archive:
    """A zip archive.

    Attributes:
      source: the file.
      members: name -> member.
      checksums: whether it was written with checksums at all.
    """

    def __init__(self, path: Path) -> None:
        """Reads the directory.

        Raises:
          CheckpointError: when the archive is truncated, inconsistent, encrypted, or unpacks beyond its size.
        """
        self.source = Source.of(path)
        self.members = {member.name: member for member in _read_directory(self.source)}
        # torch.serialization.set_crc32_options(False) writes zeros throughout.
        self.checksums = any(member.crc for member in self.members.values())

    def read(self, name: str) -> np.ndarray:
        """The bytes of a member, uint8, checked against its checksum."""
        member = self.members.get(name)
        if member is None:
            raise CheckpointError(f"it has no member {name[:200]!r}: damaged")
        data = self.source.read(member.start, member.stored)
        if member.deflated:
            inflate = zlib.decompressobj(-zlib.MAX_WBITS)
            # One byte more than declared, to notice a stream that is longer.
            data = np.frombuffer(inflate.decompress(data.data, member.size + 1), np.uint8)
        if len(data) != member.size or (self.checksums and zlib.crc32(data.data) != member.crc):
            raise CheckpointError(f"member {name}: its bytes do not have the stored checksum: damaged, copy it again")
        return data

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[tuple[BinaryIO, int, int]]:
        """A member as (file, start, end), its checksum verified first; a stored one is never in memory as a whole."""
        member = self.members.get(name)
        if member is None or member.deflated:
            data = self.read(name)
            yield io.BytesIO(data.data), 0, len(data)
            return
        with self.source.open() as file:
            file.seek(member.start)
            crc, left = 0, member.stored
            while self.checksums and left and (block := file.read(min(left, 1 << 20))):
                crc, left = zlib.crc32(block, crc), left - len(block)
            if self.checksums and crc != member.crc:
                raise CheckpointError(f"member {name}: its bytes do not have the stored checksum: damaged")
            yield file, member.start, member.start + member.stored


# One archive is asked for by every zip format in turn, and read by one.
@functools.lru_cache(maxsize=1)
def _read_directory(source: Source) -> tuple[Member, ...]:
    count, length, start = _read_end(source)
    if length > MAX_DIRECTORY_BYTES:
        raise CheckpointError(f"its zip directory has {length} bytes, more than {MAX_DIRECTORY_BYTES}: refused")
    directory = source.read(start, length).tobytes()
    members: list[Member] = []
    position = 0
    with source.open() as file:
        while position < length:
            member, position = _read_entry(file, directory, position, start)
            members.append(member)
    if len(members) != count or len({member.name for member in members}) != count:
        raise CheckpointError(f"its zip directory does not list {count} different members: damaged")
    end = 0
    for member in sorted(members, key=lambda member: member.start):
        # Overlapping members are how a small file unpacks to petabytes.
        if member.start < end:
            raise CheckpointError(f"member {member.name} overlaps another: refused")
        end = member.start + member.stored
    if sum(member.size for member in members) > source.size + SLACK:
        raise CheckpointError("its members unpack to far more than the file's size: refused")
    return tuple(members)


def _read_end(source: Source) -> tuple[int, int, int]:
    """Count of members, bytes of the directory and where it starts, from the records at the end of the file."""
    size = source.size
    start = max(0, size - _END_BYTES - 0xFFFF)
    tail = source.read(start, size - start).tobytes()
    where = tail.rfind(_END)
    if where < 0 or where + _END_BYTES > len(tail):
        raise CheckpointError("a zip archive without its end: truncated, copy it again")
    disk, disk2, count, count2, length, offset, comment = struct.unpack_from("<4H2LH", tail, where + 4)
    if where + _END_BYTES + comment != len(tail) or disk or disk2 or count != count2:
        raise CheckpointError("the end of its zip archive is inconsistent: damaged")
    end = start + where
    locator = where - _LOCATOR64_BYTES
    if locator >= 0 and tail[locator : locator + 4] == _LOCATOR64:
        end = start + locator - _END64_BYTES
        record = source.read(end, _END64_BYTES).tobytes()
        where64 = struct.unpack_from("<LQL", tail, locator + 4)
        if record[:4] != _END64 or where64 != (0, end, 1):
            raise CheckpointError("the zip64 end of its archive is inconsistent: damaged")
        fields = struct.unpack_from("<QHHLLQQQQ", record, 4)
        long = fields[6:9]
        for short, full, known in zip((count, length, offset), (0xFFFF, _FULL, _FULL), long, strict=True):
            if short not in (known, full):
                raise CheckpointError("the two ends of its zip archive disagree: damaged")
        count, length, offset = long
    if offset + length != end:
        raise CheckpointError("its zip directory does not lie where its end says: damaged, or data is prepended")
    return count, length, offset


def _read_entry(file: BinaryIO, directory: bytes, position: int, limit: int) -> tuple[Member, int]:
    """The member at `position` of the directory, whose data must end before `limit`, and where the next one is."""
    if directory[position : position + 4] != _ENTRY or position + _ENTRY_BYTES > len(directory):
        raise CheckpointError("its zip directory is damaged")
    flags, method, _, _, crc, stored, size, name_bytes, extra_bytes, comment_bytes, disk, _, _, local = (
        struct.unpack_from("<8x2H2H3L5HLL", directory, position)
    )
    name_end = position + _ENTRY_BYTES + name_bytes
    raw = directory[position + _ENTRY_BYTES : name_end]
    extra = directory[name_end : name_end + extra_bytes]
    if len(extra) != extra_bytes or disk not in (0, 0xFFFF):
        raise CheckpointError("its zip directory is damaged")
    size, stored, local = _widen(extra, size, stored, local)
    name = raw.decode("utf-8", "surrogateescape")
    if flags & _ENCRYPTED or method not in (_STORED, _DEFLATED):
        raise CheckpointError(f"member {name}: encrypted, or compressed by another method than deflate: refused")
    if method == _STORED and stored != size:
        raise CheckpointError(f"member {name}: stored bytes and size differ: damaged")
    if local >= limit:
        raise CheckpointError(f"member {name}: lies beyond the data: damaged")
    file.seek(local)
    header = file.read(_LOCAL_BYTES + name_bytes)
    if len(header) != _LOCAL_BYTES + name_bytes:
        raise CheckpointError(f"member {name}: lies beyond the data: damaged")
    flags2, method2, _, _, crc2, stored2, size2, name_bytes2, extra_bytes2 = struct.unpack_from("<6x4H3L2H", header)
    same = header[:4] == _LOCAL and header[_LOCAL_BYTES:] == raw
    same = same and (flags2, method2, name_bytes2) == (flags, method, name_bytes)
    if not flags & _SIZES_FOLLOW:
        same = same and crc2 == crc and size2 in (size, _FULL) and stored2 in (stored, _FULL)
    if not same:
        raise CheckpointError(f"member {name}: its two headers disagree: damaged")
    start = local + _LOCAL_BYTES + name_bytes + extra_bytes2
    if start + stored > limit:
        raise CheckpointError(f"member {name}: reaches beyond the data: damaged")
    return Member(name, start, stored, size, crc, method == _DEFLATED), name_end + extra_bytes + comment_bytes


def _widen(extra: bytes, size: int, stored: int, local: int) -> tuple[int, int, int]:
    """Fields that do not fit 32 bits are in the extra field of type 1, in this order."""
    position = 0
    while position + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, position)
        body = extra[position + 4 : position + 4 + length]
        if kind == 1 and len(body) == length and length % 8 in (0, 4):
            wide = list(struct.unpack_from(f"<{length // 8}Q", body))
            needed = sum(value == _FULL for value in (size, stored, local))
            if len(wide) < needed:
                raise CheckpointError("a zip64 field of its directory is too short: damaged")
            size, stored, local = (wide.pop(0) if value == _FULL else value for value in (size, stored, local))
        position += 4 + length
    return size, stored, local
