"""Bounded reading of a file that may be hostile, damaged, or rewritten while it is read.

Positioned reads rather than a memory map: a mapped file that another process truncates kills this one with a bus
error, and its pages count as this process's memory.
"""

import os
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

import numpy as np

from xray_jax.checkpoints.contents import CheckpointError


@dataclass(frozen=True)
class Source:
    """A file, reopened for every read; holds nothing open.

    Attributes:
      path: the file.
      size: its bytes when it was first looked at.
      identity: which file it was then: device, inode, size, time of its last change in nanoseconds.
    """

    path: Path
    size: int
    identity: tuple[int, ...]

    @classmethod
    def of(cls, path: Path) -> "Source":
        """The file at `path` as it is now."""
        found = os.stat(path)
        return cls(path, found.st_size, _identity(found))

    def open(self) -> BufferedReader:
        """The file for reading. Raises `CheckpointError` when it is not the one first looked at."""
        file = open(self.path, "rb")  # noqa: SIM115 - the caller closes it
        if _identity(os.fstat(file.fileno())) != self.identity:
            file.close()
            raise CheckpointError("the file changed while it was read; try again when its writer is done")
        return file

    def read(self, offset: int, length: int) -> np.ndarray:
        """`length` bytes at `offset`, as a fresh uint8 array. The bounds are checked before it is allocated."""
        if offset < 0 or length < 0 or offset + length > self.size:
            raise CheckpointError(f"bytes {offset}..{offset + length} are beyond its end at {self.size}: truncated")
        data = np.empty(length, np.uint8)
        with self.open() as file:
            file.seek(offset)
            if file.readinto(data.data) != length:
                raise CheckpointError("the file became shorter while it was read; try again when its writer is done")
        return data


def _identity(found: os.stat_result) -> tuple[int, ...]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
