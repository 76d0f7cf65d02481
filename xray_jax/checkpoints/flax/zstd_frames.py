"""How large the zstd frames in some bytes can unpack, found without unpacking them.

tensorstore decompresses whole frames before it looks at them, so forty kilobytes of an orbax directory can become a
gigabyte. Frames are walked block by block (RFC 8878, section 3.1.1): a block tells its own size, and what it unpacks to
when it is stored or repeated; a compressed one never unpacks to more than 128 KiB.
"""

_MAGIC = b"\x28\xb5\x2f\xfd"
_MAX_BLOCK = 128 << 10
_RAW, _REPEATED, _COMPRESSED = 0, 1, 2


def largest(data: bytes) -> int:
    """An upper bound, in bytes, of what any one frame in `data` unpacks to; 0 when there is none.

    Every occurrence of the signature counts as a frame: in compressed data by chance, which only loosens the bound.
    """
    most = 0
    where = data.find(_MAGIC)
    while where >= 0:
        most = max(most, _bound(data, where + len(_MAGIC)))
        where = data.find(_MAGIC, where + 1)
    return most


def _bound(data: bytes, position: int) -> int:
    """Of the frame whose header is at `position`; what is missing of a truncated frame unpacks to nothing."""
    descriptor = int.from_bytes(data[position : position + 1], "little")
    single_segment = bool(descriptor & 0x20)
    size_bytes = (int(single_segment), 2, 4, 8)[descriptor >> 6]
    position += 1
    window = _MAX_BLOCK
    if not single_segment:
        exponent, mantissa = divmod(int.from_bytes(data[position : position + 1], "little"), 8)
        window = (1 << (10 + exponent)) // 8 * (8 + mantissa)
        position += 1
    position += (0, 1, 2, 4)[descriptor & 3]
    if single_segment:
        window = int.from_bytes(data[position : position + size_bytes], "little") + (256 if size_bytes == 2 else 0)
    position += size_bytes
    total, last = 0, False
    while not last and position + 3 <= len(data):
        header = int.from_bytes(data[position : position + 3], "little")
        last, kind, size = bool(header & 1), (header >> 1) & 3, header >> 3
        if kind not in (_RAW, _REPEATED, _COMPRESSED):
            break
        total += min(window, _MAX_BLOCK) if kind == _COMPRESSED else size
        position += 3 + (1 if kind == _REPEATED else size)
    return total
