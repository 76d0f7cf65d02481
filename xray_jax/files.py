"""Files written whole or not at all: a reader sees the old content or the new, never half of it."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

SUFFIX = ".part"
"""How the name of an unfinished file ends; it begins with a dot and the name of the file that it is to become."""
_LONGEST_NAME = 200


@contextmanager
def atomic_write(
    path: str | Path, mode: str = "wb", *, encoding: str | None = None, fsync: bool = False
) -> Iterator[IO[Any]]:
    """A new file beside `path`, which takes the place of `path` when the block ends well.

    When the block raises, the new file is removed and what was at `path` is as before. A process killed in the block
    leaves `path` as before too, and beside it a hidden file that ends in `.part`. Several processes may write the same
    path: each writes a file of its own, and the last to finish stands. A device or a pipe is written directly.

    Args:
      path: of the file; its folder must exist.
      mode: "wb", or "w" for text.
      encoding: of text; None is UTF-8.
      fsync: waits until the content is on the disk before it replaces, so that a power failure cannot leave an empty
        file. Costs a disk's latency; a killed process needs no such care.

    Yields:
      The new file, open for writing.

    Raises:
      ValueError: any other mode.
      OSError: the file cannot be written or cannot take its place.
    """
    if mode not in ("wb", "w"):
        raise ValueError(f"mode {mode!r}: a file is written whole, with 'wb' or 'w'")
    path, encoding = Path(path), encoding if mode == "wb" else encoding or "utf-8"
    if path.exists() and not path.is_file() and not path.is_dir():
        with open(path, mode, encoding=encoding) as file:
            yield file
        return
    partial = path.with_name(f".{path.name[:_LONGEST_NAME]}.{secrets.token_hex(4)}{SUFFIX}")
    try:
        # "x" refuses a file or link that is already there.
        with open(partial, mode.replace("w", "x"), encoding=encoding) as file:
            yield file
            file.flush()
            if fsync:
                os.fsync(file.fileno())
        partial.replace(path)
    except BaseException as error:
        with suppress(OSError):
            partial.unlink()
        if isinstance(error, OSError) and error.filename == str(partial):
            # Nobody has heard of the file beside it.
            error.filename, error.filename2 = str(path), None
        raise
