"""One process at a time appends to a row file: two would take each other's rows and attempts away."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from xray_jax.rows.line import ResultsError


def lock(file: int, path: Path) -> None:
    """Locks an open file until it is closed, however its process ends.

    Where the file system has no locks, that is said, and the file is not locked; nor is it on Windows.

    Args:
      file: descriptor, open for writing.
      path: of the file, for messages.

    Raises:
      ResultsError: another process has locked it.
    """
    try:
        import fcntl  # of Unix only
    except ImportError:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ResultsError(
            f"{path}: another scan is writing rows there; wait for its end, or choose another --out"
        ) from error
    except OSError as error:
        said = f"{path}: cannot be locked ({error.strerror}); start no second scan with this --out meanwhile"
        print(said, file=sys.stderr)


@contextmanager
def while_replaced(path: Path) -> Iterator[None]:
    """Keeps a file that is there, and may be written to, locked in the block that puts another in its place.

    Raises:
      ResultsError: a scan is writing to it, whose further rows would go with the old file.
    """
    try:
        file = os.open(path, os.O_WRONLY) if path.is_file() else None
    except OSError:
        # Whether the folder takes another is for the block to find out.
        file = None
    if file is None:
        yield
        return
    try:
        lock(file, path)
        yield
    finally:
        os.close(file)
